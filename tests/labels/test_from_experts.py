# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import pytest

from distill_jax import data as data_lib
from distill_jax import errors, experts, labels, nets, selection, tasks


@pytest.fixture(scope="module")
def digits():
    data = data_lib.load("digits")
    return data, tasks.classification(nets.mlp(10, hidden=(16,)), data.spec)


TRAINING = experts.Training(num_epochs=20, learning_rate=0.2, batch_size=64)


def test_labels_of_an_expert_belong_to_their_images(digits):
    data, task = digits
    index = selection.random_subsets(jax.random.key(2), data, 4, num_draws=3)
    soft = labels.expert_labels(
        jax.random.key(3), task, data, TRAINING, data.train.x[index], epochs=[20, 1, 5]
    )
    assert soft.epochs == (1, 5, 20)
    assert soft.labels.shape == (3, 3, 40, 10)
    np.testing.assert_allclose(soft.labels.sum(-1), 1, rtol=1e-5)
    agree = (soft.labels.argmax(-1) == data.train.y[index]).mean(axis=(1, 2))
    assert agree[2] > 0.9  # Shuffled against the images this would be a tenth.
    assert soft.appraisal.accuracy.shape == (21,)
    assert agree[0] < agree[2]


def test_they_are_the_softmax_of_the_network_of_that_epoch(digits):
    data, task = digits
    key, training = jax.random.key(3), experts.Training(num_epochs=2)
    images = data.test.x[:7]
    soft = labels.expert_labels(key, task.retarget("centred"), data, training, images)
    expert = experts.train_expert(key, task, data_lib.to_source(data), training)
    x = data_lib.normalize(data.spec.normalizer, images)
    logits = task.predict(experts.at_epoch(expert, 2), x, None)
    np.testing.assert_allclose(soft.labels[-1], jax.nn.softmax(logits), atol=1e-5)
    again = labels.expert_labels(key, task, data, training, images, epochs=[0, 2])
    np.testing.assert_allclose(again.labels[-1], soft.labels[-1], atol=1e-6)
    others = labels.expert_labels(
        key, task, data, training, data.train.x[:7], epochs=[0, 2]
    )
    assert others.compile_seconds == 0


def test_epochs_are_spaced_in_their_logarithm():
    assert labels.epoch_grid(40) == [1, 2, 4, 9, 19, 40]
    assert labels.epoch_grid(2) == [1, 2]
    assert labels.epoch_grid(0) == [0]


@pytest.mark.parametrize("epochs", [[50], [-1], []])
def test_epochs_outside_the_training_are_told(epochs):
    with pytest.raises(errors.InputError, match="name epochs from 0 to 40"):
        labels.epoch_grid(40, epochs)


@pytest.mark.parametrize("shape", [(8, 8, 1), (3, 28, 28, 1), (64,)])
def test_images_of_another_shape_are_told(digits, shape):
    data, task = digits
    with pytest.raises(errors.InputError, match=r"\('number', 8, 8, 1\)"):
        labels.expert_labels(
            jax.random.key(0), task, data, TRAINING, np.zeros(shape, np.uint8)
        )


def test_labels_of_an_expert_that_diverged_are_refused(digits):
    data, task = digits
    training = experts.Training(num_epochs=2, learning_rate=1e30)
    ask = lambda **options: labels.expert_labels(
        jax.random.key(3), task, data, training, data.test.x[:7], **options
    )
    with pytest.raises(errors.DivergedError, match="not finite after epoch 1, since"):
        ask()
    assert np.isfinite(ask(epochs=[0]).labels).all()  # Asked before it diverges.
    assert np.isnan(ask(allow_diverged=True).labels).all()
