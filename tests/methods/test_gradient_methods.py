# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The gradient-matching methods: what they refuse, set, and are composed of."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import data, errors, methods, nets, tasks
from distill_jax.methods import ingredients, published

GRADIENT_METHODS = ["dc", "dsa", "dcc", "dsac", "idc"]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def task(digits):
    net = nets.convnet(10, width=2, depth=1)
    return tasks.classification(net, digits.spec)


def task_for(name, shape, bounds=([0.0], [1.0]), net="convnet"):
    """A task that says it is of a data set, without the data."""
    spec = data.DataSpec(name, shape, 10, ("c",) * 10, None, "")
    made = {
        "convnet": lambda: nets.convnet(10, width=2, depth=1),
        "mlp": lambda: nets.mlp(10, hidden=(4,)),
    }
    made = tasks.classification(made[net](), spec)
    return made._replace(facts=dataclasses.replace(made.facts, bounds=bounds))


@pytest.mark.parametrize(
    ("kind", "count", "expected"),
    [
        ("dc", 1, (1, 1)),
        ("dc", 10, (10, 50)),
        ("dc", 20, (20, 25)),
        ("dc", 30, (30, 20)),
        ("dc", 40, (40, 15)),
        ("dc", 50, (50, 10)),
        ("dcc", 1, (10, 5)),
        ("dcc", 10, (10, 50)),
        ("dcc", 50, (50, 10)),
    ],
)
def test_published_loops(kind, count, expected):
    assert published.loops(kind, count) == expected


def test_loops_between_the_published_are_interpolated_with_a_warning():
    with pytest.warns(UserWarning, match="No loops were published for 25 images"):
        found = published.loops("dc", 25)
    assert 20 < found.num_matches < 30
    assert 20 < found.num_epochs < 25
    with pytest.warns(UserWarning, match="50 matches"):
        assert published.loops("dc", 500) == (50, 10)


def test_given_loops_need_no_published_ones():
    assert published.loops("dc", 7, num_matches=3, num_epochs=2) == (3, 2)


def test_rates_follow_network_data_and_count():
    colour = task_for("cifar10", (32, 32, 3), ([-2.0] * 3, [2.0] * 3))
    grey = task_for("mnist", (28, 28, 1))
    assert published.picture_rate("dc", colour, 10) == 0.1
    assert published.picture_rate("dc", task_for("mnist", (4,), net="mlp"), 1) == 0.01
    assert published.picture_rate("dm", colour, 50) == 1
    assert published.picture_rate("dm", colour, 100) == 10
    assert published.picture_rate("dm", grey, 100) == 1
    np.testing.assert_allclose(published.picture_rate("idc", colour, 50), 0.025 * 16)
    expected = 1e-4 * 0.1 * (28 / 32) ** 2
    np.testing.assert_allclose(published.picture_rate("idc", grey, 1), expected)


def test_digits_are_not_mirrored_and_mnist_has_its_own_evaluation():
    mnist, fashion = (
        task_for(name, (28, 28, 1)) for name in ("mnist", "fashion_mnist")
    )
    assert "flip" not in ingredients.strategy(mnist, "auto")
    assert "flip" in ingredients.strategy(fashion, "auto")
    assert ingredients.strategy(mnist, "flip") == "flip"
    plain = methods.dc(mnist, num_per_class=1).protocol
    assert (plain.augmentation, plain.num_epochs) == ("dc:crop_scale_rotate", 1001)
    assert methods.dc(fashion, num_per_class=1).protocol.augmentation == "none"
    assert "flip" not in methods.dsa(mnist, num_per_class=1).protocol.augmentation


def test_a_given_protocol_is_left_as_it_is(task):
    protocol = dj.evaluation.Protocol(num_steps=3, augmentation="crop")
    for name in ("dc", "dsa", "idc"):
        recipe = methods.NAMES[name](task, num_per_class=1, protocol=protocol)
        assert recipe.protocol == protocol


@pytest.mark.parametrize("name", GRADIENT_METHODS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ({"network_learning_rate": -1.0}, "`network_learning_rate` must be positive"),
        ({"momentum": 1.0}, "`momentum` must be at least 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"distance": "cosin"}, 'no distance "cosin"'),
        ({"augmentation": "crop_fold"}, 'no augmentation "fold"'),
        ({"initialisation": "zeros"}, 'no initialisation "zeros"'),
        ({"factor": 0}, "`factor` must be at least 1"),
        ({"num_matches": 0}, "`num_matches` must be a whole number, at least 1"),
    ],
)
def test_bad_options_are_refused(task, name, options, message):
    with pytest.raises(errors.InputError, match=message):
        methods.NAMES[name](task, num_per_class=1, **options)


def test_an_augmentation_that_does_not_fit_the_examples_is_refused():
    table = task_for("table", (4,), net="mlp")
    with pytest.raises(errors.InputError, match="pictures of shape"):
        methods.dsa(table, num_per_class=1, augmentation="crop")
    methods.dc(table, num_per_class=1)  # Without augmentation all is well.
    recipe = methods.dsa(table, num_per_class=1)  # What is not said is what fits.
    assert recipe.protocol.augmentation == "none"


def test_more_pictures_than_a_class_has_are_refused(digits, task):
    recipe = methods.dsa(task, num_per_class=50, augmentation="none")
    many = methods.dsa(
        task, num_per_class=500, num_matches=1, num_epochs=1, augmentation="none"
    )
    assert recipe.initial_fn(jax.random.key(0), digits).x.shape[0] == 500
    with pytest.raises(errors.InputError, match="`num_per_class` is 500, but class"):
        many.initial_fn(jax.random.key(0), digits)


def test_a_class_without_training_examples_is_refused(digits, task):
    keep = digits.train.y != 3
    train = data.Arrays(digits.train.x[keep], digits.train.y[keep])
    short = dataclasses.replace(digits, train=train)
    with pytest.raises(errors.InputError, match="class 3"):
        methods.dc(task, num_per_class=1).source_fn(short)


def test_pictures_of_idc_stay_between_black_and_white(digits, task):
    recipe = methods.idc(
        task, num_per_class=1, batch_size=4, learning_rate=1e3, num_train_examples=32
    )
    state, _ = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
    low, high = data.pixel_bounds(digits.spec.normalizer)
    x = state.latent.learned["x"]
    assert float(x.min()) == pytest.approx(low[0])
    assert float(x.max()) == pytest.approx(high[0])


def test_dcc_is_dc_while_it_warms_up(digits, task):
    shared = {
        "num_per_class": 1,
        "batch_size": 4,
        "num_matches": 2,
        "num_epochs": 1,
        "initialisation": "real",
    }
    runs = [
        methods.dc(task, **shared),
        methods.dcc(task, **shared, warm_up=(99, 99)),
        methods.dcc(task, **shared, warm_up=(0, 0)),
    ]
    ends = [
        dj.run(recipe, digits, num_steps=3, key=jax.random.key(0))[0] for recipe in runs
    ]
    dc, warm, collective = (state.latent.learned["x"] for state in ends)
    np.testing.assert_allclose(dc, warm, rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(dc - collective).max()) > 1e-3
