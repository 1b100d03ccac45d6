# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import errors, evaluation
from distill_jax.evaluation import optimizers, protocol


def steps_of(made, rate, gradients, start=1.0):
    """The values of a single parameter under given gradients."""
    optimizer = optimizers.make_optimizer(made, 4, rate)
    param = jnp.array([start])
    state, values = optimizer.init(param), []
    for gradient in gradients:
        update, state = optimizer.update(jnp.array([gradient]), state, param)
        param = param + update
        values.append(float(param[0]))
    return values


def test_sgd_follows_the_formula_with_drop_and_restart():
    made = evaluation.Protocol(
        num_steps=6, schedule="step_drop", momentum=0.9, weight_decay=0.1
    )
    gradients = [1.0, -0.5, 2.0, 0.3, 0.1, -1.0]
    weight, buffer, expected = 1.0, 0.0, []
    for step, gradient in enumerate(gradients):
        if step == 4:  # 5 // 2 + 2
            buffer = 0.0
        buffer = 0.9 * buffer + gradient + 0.1 * weight
        weight -= 0.2 * (0.1 if step >= 4 else 1.0) * buffer
        expected.append(weight)
    np.testing.assert_allclose(steps_of(made, 0.2, gradients), expected, rtol=1e-5)


def test_late_drops_come_after_two_thirds_and_five_sixths():
    made = evaluation.Protocol(
        num_epochs=10, batch_size=2, schedule="late_drops", decay_rate=0.2
    )
    factor, restart = optimizers.make_schedule(made, 4)
    found = [float(factor(jnp.array(step))) for step in range(20)]
    expected = [1.0] * 12 + [0.2] * 4 + [0.04] * 4  # 2 * 10 // 3 and 5 * 10 // 6 epochs
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert restart is None


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_adds_the_decay_to_the_gradient_and_adamw_does_not(name):
    made = evaluation.Protocol(num_steps=3, optimizer=name, weight_decay=0.1)
    weight, first, second, expected = 1.0, 0.0, 0.0, []
    for step, gradient in enumerate([1.0, -0.5, 2.0], start=1):
        gradient += 0.1 * weight if name == "adam" else 0.0
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        move = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        weight -= 0.2 * (move + (0.1 * weight if name == "adamw" else 0.0))
        expected.append(weight)
    found = steps_of(made, 0.2, [1.0, -0.5, 2.0])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_staircase_is_that_of_the_soft_label_code():
    made = evaluation.Protocol(
        num_epochs=13, schedule="staircase", decay_rate=0.3, batch_size=4
    )
    factor, restart = optimizers.make_schedule(made, 7)  # Two steps an epoch.
    assert restart is None
    found = [float(factor(jnp.array(step))) for step in range(26)]
    expected = [0.3 ** ((step // 2) // (12 // 4)) for step in range(26)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_cosine_and_warm_up_begin_and_end_where_they_should():
    made = evaluation.Protocol(num_steps=100, schedule="cosine")
    factor, _ = optimizers.make_schedule(made, 4)
    assert float(factor(0)) == 1.0
    assert float(factor(50)) == pytest.approx(0.5, abs=1e-6)
    made = dataclasses.replace(made, schedule="warmup_cosine", warmup_steps=20)
    factor, _ = optimizers.make_schedule(made, 4)
    found = [float(factor(step)) for step in (0, 10, 20, 60, 100)]
    np.testing.assert_allclose(found, [0, 0.5, 1, 0.5, 0], atol=1e-6)


def test_the_number_of_steps_counts_the_short_last_batch():
    made = evaluation.Protocol(num_epochs=3, batch_size=4)
    assert [optimizers.num_steps(made, n) for n in (3, 4, 5, 9)] == [3, 3, 6, 9]


def test_frepo_interpolates_between_its_points():
    table = {10: 1000, 100: 2000, 500: 5000, 1000: 10000, 2000: 40000, 5000: 40000}
    for num_examples, num_steps in table.items():
        assert protocol.frepo_protocol(num_examples).num_steps == num_steps
    assert protocol.frepo_protocol(1).num_steps == 1000
    assert protocol.frepo_protocol(9999).num_steps == 40000
    halfway = round(np.sqrt(10 * 100))
    found = protocol.frepo_protocol(halfway).num_steps
    assert found == pytest.approx(np.sqrt(1000 * 2000), rel=0.01)
    assert 2000 < protocol.frepo_protocol(200).num_steps < 5000


def test_named_protocols_differ_where_the_papers_do():
    assert protocol.dc_protocol().augmentation == "none"
    assert protocol.dsa_protocol().augmentation == "color_crop_cutout_flip_scale_rotate"
    assert "flip" not in protocol.mtt_protocol(use_flip=False).augmentation
    assert protocol.mtt_protocol().augmentation_align_corners
    assert not protocol.dsa_protocol().augmentation_align_corners
    assert protocol.frepo_protocol(10).targets == "centred"
    idc = protocol.idc_protocol()
    assert (idc.batch_size, idc.num_epochs, idc.mixing_probability) == (64, 1000, 0.5)
    assert idc.augmentation == "idc:color_crop_flip_scale_rotate"
    assert protocol.frepo_protocol(10, use_flip=True).augmentation.endswith("_flip")


def test_a_protocol_is_plain_data():
    for made in (
        protocol.datm_protocol(),
        protocol.frepo_protocol(10),
        protocol.soft_label_protocol(),
    ):
        stored = json.loads(json.dumps(dataclasses.asdict(made)))
        assert evaluation.Protocol(**stored) == made
        assert hash(made) == hash(evaluation.Protocol(**stored))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "no length of training; give either"),
        ({"num_epochs": 3, "num_steps": 3}, "num_epochs and num_steps; give either"),
        (
            {"num_steps": 0},
            "`num_steps` of a protocol must be a whole number, at",
        ),
        (
            {"num_epochs": 2.5},
            "`num_epochs` of a protocol must be a whole .* 2.5",
        ),
        (
            {"num_steps": 5, "batch_size": 0},
            "`batch_size` of a protocol must .* got 0",
        ),
        ({"num_steps": 5, "learning_rate": 0.0}, "`learning_rate` of a protocol is 0"),
        ({"num_steps": 5, "momentum": 1.0}, "`momentum` of a protocol is 1.0"),
        ({"num_steps": 5, "weight_decay": -1.0}, "`weight_decay` of a protocol is -1"),
        ({"num_steps": 5, "decay_rate": 0.0}, "`decay_rate` of a protocol is 0.0"),
        ({"num_steps": 5, "optimizer": "adma"}, 'Did you mean "adam"'),
        ({"num_steps": 5, "schedule": "cosin"}, '"cosine"'),
        ({"num_steps": 5, "mixing": "mixip"}, 'Did you mean "mixup"'),
        ({"num_steps": 5, "targets": "centered"}, 'Did you mean "centred"'),
        ({"num_steps": 5, "augmentation": "croop_flip"}, "crop"),
    ],
)
def test_what_cannot_work_is_told_at_construction(fields, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        evaluation.Protocol(**fields)


def test_a_warm_up_as_long_as_the_training_is_refused():
    made = dataclasses.replace(protocol.frepo_protocol(10), num_steps=500)
    with pytest.raises(errors.InputError, match="The warm-up of 500 steps leaves"):
        optimizers.make_optimizer(made, 10, 0.1)


def test_a_traced_learning_rate_works():
    made = evaluation.Protocol(num_steps=2, momentum=0.0, weight_decay=0.0)

    @jax.jit
    def move(rate):
        optimizer = optimizers.make_optimizer(made, 4, rate)
        param = jnp.array([1.0])
        return optimizer.update(param, optimizer.init(param), param)[0]

    np.testing.assert_allclose(move(jnp.array(0.25)), [-0.25])
