# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from distill_jax import base, data, errors, experts, nets, scores, tasks
from distill_jax.compute import parallel

LONG = pytest.mark.long(timeout=600)
DIGITS = data.load("digits")
SOURCE = data.to_source(DIGITS)
TASK = tasks.classification(nets.mlp(10, hidden=(16,)), DIGITS.spec)


def two_epochs(**options):
    return experts.Training(
        **{"num_epochs": 2, "momentum": 0.9, "weight_decay": 5e-4, **options}
    )


@pytest.fixture(scope="module")
def networks():
    """Four, after two epochs."""
    train = jax.jit(
        lambda key, source: experts.train_experts(
            key, TASK, source, two_epochs(learning_rate=0.1), num_experts=4
        )
    )
    return train(jax.random.key(0), SOURCE)


def rated(networks, source=SOURCE, task=TASK, **options):
    rate = lambda networks, source: scores.rate(task, networks, source, **options)
    return jax.jit(rate)(networks, source)


def test_they_are_means_over_networks_and_their_standard_errors(networks):
    found = rated(networks, score="loss")
    x = data.normalize(SOURCE.normalizer, SOURCE.x)
    examples = base.Examples(x, jax.nn.one_hot(SOURCE.y, 10))
    each = np.stack(
        [
            scores.loss(TASK, jax.tree.map(lambda leaf: leaf[e], networks), examples)
            for e in range(4)
        ]
    )
    np.testing.assert_allclose(found.value, each.mean(axis=0), rtol=2e-4, atol=1e-5)
    error = each.std(axis=0, ddof=1) / 2
    np.testing.assert_allclose(found.standard_error, error, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("chunk_size", [7, 320, 2000])
def test_chunks_change_nothing(networks, chunk_size):
    np.testing.assert_allclose(
        rated(networks, chunk_size=chunk_size).value, rated(networks).value, rtol=1e-4
    )


def test_an_example_keeps_its_score_wherever_it_stands(networks):
    order = np.random.default_rng(0).permutation(SOURCE.y.shape[0])
    shuffled = SOURCE._replace(x=SOURCE.x[order], y=SOURCE.y[order])
    np.testing.assert_allclose(
        rated(networks, shuffled).value, rated(networks).value[order], rtol=1e-4
    )


def test_untrained_networks_know_nothing_and_trained_ones_agree(networks):
    untrained = experts.train_experts(
        jax.random.key(1), TASK, SOURCE, two_epochs(num_epochs=0), num_experts=2
    )
    before = rated(untrained, score="loss").value
    after = rated(networks, score="loss").value
    assert abs(before.mean() - np.log(10)) < 0.2
    assert after.mean() < np.log(10)
    rank = stats.spearmanr(after, rated(networks, score="el2n").value).statistic
    assert rank > 0.95


def test_labels_may_be_targets(networks):
    soft = SOURCE._replace(y=jax.nn.one_hot(SOURCE.y, 10))
    np.testing.assert_allclose(
        rated(networks, soft).value, rated(networks).value, rtol=1e-5
    )


def test_a_score_of_ones_own(networks):
    brightness = lambda task, variables, examples, context: examples.x.mean((1, 2, 3))
    found = rated(networks, score=brightness)
    x = data.normalize(SOURCE.normalizer, SOURCE.x)
    np.testing.assert_allclose(found.value, x.mean((1, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-6)


def test_one_network_tells_no_error(networks):
    one = jax.tree.map(lambda leaf: leaf[:1], networks)
    assert np.isnan(rated(one, score="el2n").standard_error).all()


@pytest.mark.parametrize(
    ("num_networks", "num_devices"),  # Networks fill the devices, or share examples.
    [
        (4, 4),
        (3, 8),
        pytest.param(3, 4, marks=LONG),
        pytest.param(4, 8, marks=LONG),
    ],
)
def test_many_devices_give_the_numbers_of_one(x64, num_networks, num_devices):
    few = data.to_source(DIGITS, "validation")
    # In float64 throughout: pixels too, which are normalised in float32 else.
    double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), few.normalizer)
    few = few._replace(normalizer=double)
    task = tasks.classification(nets.convnet(10, width=4, depth=2), DIGITS.spec)

    def both(key, source):
        networks = experts.train_experts(
            key,
            task,
            source,
            two_epochs(num_epochs=1, batch_size=100),
            num_experts=num_networks,
        )
        return scores.rate(task, networks, source, chunk_size=100)

    key = jax.random.key(0)
    mesh = parallel.device_mesh(num_devices, axis="any")
    together = jax.jit(parallel.over_mesh(both, mesh))(key, few)
    alone = jax.jit(both)(key, few)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_bad_input():
    networks = experts.train_experts(
        jax.random.key(1), TASK, SOURCE, two_epochs(num_epochs=0), num_experts=1
    )
    with pytest.raises(errors.InputError, match=r'no score "grend".*"grand"'):
        scores.rate(TASK, networks, SOURCE, score="grend")
    with pytest.raises(errors.InputError, match="`chunk_size` must be at least 1"):
        scores.rate(TASK, networks, SOURCE, chunk_size=0)
    with pytest.raises(errors.InputError, match="`num_experts` must be a whole number"):
        experts.train_experts(
            jax.random.key(0), TASK, SOURCE, two_epochs(), num_experts=0
        )
    for name, least in (("num_epochs", 0), ("batch_size", 1)):
        with pytest.raises(errors.InputError, match=f"`{name}` of the experts must be"):
            two_epochs(**{name: least - 1})
    assert jnp.isfinite(jax.tree.leaves(networks)[0]).all()


def test_networks_are_trained_under_the_former_name():
    with pytest.warns(DeprecationWarning, match=r"experts\.train_experts"):
        former = scores.train_networks(
            jax.random.key(0), TASK, SOURCE, num_networks=2, num_epochs=1
        )
    now = experts.train_experts(
        jax.random.key(0), TASK, SOURCE, two_epochs(num_epochs=1), num_experts=2
    )
    jax.tree.map(np.testing.assert_array_equal, former, now)
