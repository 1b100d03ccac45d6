# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

from distill_jax import base, data, errors, nets, scores, tasks

DIGITS = data.load("digits")


def examples_of(count: int) -> base.Examples:
    x = data.normalize(DIGITS.spec.normalizer, DIGITS.train.x[:count])
    x = x.astype(jnp.result_type(float))
    return base.Examples(x, jax.nn.one_hot(DIGITS.train.y[:count], 10, dtype=x.dtype))


def made(net: nets.Net, count: int = 6):
    """A task, random variables in the type of the examples, and examples."""
    task = tasks.classification(net, DIGITS.spec)
    examples = examples_of(count)
    widen = lambda leaf: leaf.astype(examples.x.dtype)
    return task, jax.tree.map(widen, task.init(jax.random.key(1), None)), examples


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "net",
    [nets.mlp(10, hidden=(7,)), nets.convnet(10, width=4, depth=2)],
    ids=["perceptron", "convolutions"],
)
def test_grand_is_the_norm_of_the_gradient_of_one_example_after_the_other(x64, net):
    task, variables, examples = made(net)
    found = jax.jit(lambda *args: scores.grand(task, *args))(variables, examples)

    @jax.jit
    def loss_of(params, i):  # One of a batch.
        losses, _ = task.train_loss(
            variables._replace(params=params), jax.random.key(0), examples, None
        )
        return losses[i]

    gradient_of = jax.jit(jax.grad(loss_of))
    for i in range(len(examples.y)):
        gradient = jax.tree.leaves(gradient_of(variables.params, i))
        norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in gradient))
        assert found[i] == pytest.approx(norm, rel=1e-9)
    test_util.check_grads(lambda params: loss_of(params, 0), (variables.params,), 1)


def test_grand_of_a_linear_classifier_is_el2n_times_the_input(x64):
    task, variables, examples = made(nets.mlp(10, hidden=()))
    length = np.sqrt(scores.input_norm(task, variables, examples) ** 2 + 1)
    np.testing.assert_allclose(
        scores.grand(task, variables, examples),
        scores.el2n(task, variables, examples) * length,
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        scores.grand(task, variables, examples),
        scores.last_layer_grand(task, variables, examples),
        rtol=1e-9,
    )


def test_the_last_layer_has_the_norm_of_its_own_gradient(x64):
    task, variables, examples = made(nets.convnet(10, width=4, depth=2))

    def loss(dense, example):
        whole = {**variables.params, "dense": dense}
        one = jax.tree.map(lambda leaf: leaf[None], example)
        return scores.loss(task, variables._replace(params=whole), one)[0]

    dense = variables.params["dense"]
    gradients = jax.vmap(jax.grad(loss), (None, 0))(
        dense, base.Examples(examples.x, examples.y)
    )
    squares = [np.sum(np.square(leaf).reshape(6, -1), 1) for leaf in gradients.values()]
    np.testing.assert_allclose(
        scores.last_layer_grand(task, variables, examples), np.sqrt(sum(squares))
    )


def test_scores_of_logits_are_those_of_numpy():
    task, variables, examples = made(nets.mlp(10, hidden=(7,)), 40)
    z = np.asarray(task.predict(variables, examples.x, None), np.float64)
    y, rows = np.asarray(examples.y), np.arange(40)
    own = y.argmax(axis=1)
    others = z.copy()
    others[rows, own] = -np.inf
    p = softmax(z)
    expected = {
        "loss": -np.log(p[rows, own]),
        "el2n": np.sqrt(((p - y) ** 2).sum(axis=1)),
        "margin": others.max(axis=1) - z[rows, own],
        "misclassified": z.argmax(axis=1) != own,
        "input_norm": np.sqrt((np.asarray(examples.x) ** 2).sum(axis=(1, 2, 3))),
    }
    assert 0 < expected["misclassified"].sum() < 40
    for name, values in expected.items():
        found = scores.SCORES[name](task, variables, examples, None)
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(expected["margin"] > 0, expected["misclassified"])


def test_soft_labels_count_whole():
    task, variables, examples = made(nets.mlp(10, hidden=(7,)))
    p = jax.nn.softmax(task.predict(variables, examples.x, None))
    certain = examples._replace(y=p)  # The labels that the network gives itself.
    np.testing.assert_allclose(scores.el2n(task, variables, certain), 0, atol=1e-6)
    np.testing.assert_allclose(scores.grand(task, variables, certain), 0, atol=1e-5)


def test_a_dead_network_has_finite_scores():
    task, variables, examples = made(nets.mlp(10, hidden=(7,)))
    dead = jax.tree.map(jnp.zeros_like, variables)
    for name, score in scores.SCORES.items():
        assert np.isfinite(score(task, dead, examples, None)).all(), name


def test_a_task_without_features_has_no_last_layer():
    task, variables, examples = made(nets.mlp(10, hidden=(7,)))
    with pytest.raises(errors.InputError, match="use `el2n` or `grand`"):
        scores.last_layer_grand(task._replace(features=None), variables, examples)
