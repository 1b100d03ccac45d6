# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Functions from labels to labels, against loops of numpy over random tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from distill_jax import errors
from distill_jax.labels import metrics, transforms

SIZES = [(2, 1), (3, 7), (10, 20), (50, 5)]  # classes, rows


def table(num_classes, num_rows, seed=0, has_ties=False):
    """Rows of mass one; with ties, of few distinct values."""
    rng = np.random.default_rng(seed)
    raw = rng.gamma(0.5, size=(num_rows, num_classes)) + 1e-3
    if has_ties:
        raw = rng.integers(1, 4, size=(num_rows, num_classes)).astype(float)
    return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


def order_of(row):
    """Positions, largest first, of equals the first class first."""
    return sorted(range(len(row)), key=lambda c: (-row[c], c))


@pytest.mark.parametrize("has_ties", [False, True])
@pytest.mark.parametrize(("num_classes", "num_rows"), SIZES)
def test_swap_rank_is_the_loop_and_keeps_all_values(num_classes, num_rows, has_ties):
    labels = table(num_classes, num_rows, has_ties=has_ties)
    for i in {1, 2, (num_classes + 1) // 2, num_classes}:
        expected = labels.copy()
        for row in expected:
            order = order_of(row)
            a, b = order[i - 1], order[-1]
            row[a], row[b] = row[b], row[a]
        swapped = np.asarray(transforms.swap_rank(labels, i))
        np.testing.assert_array_equal(swapped, expected)
        np.testing.assert_array_equal(np.sort(swapped), np.sort(labels))
        np.testing.assert_allclose(
            metrics.entropy(swapped), metrics.entropy(labels), atol=1e-6
        )
        if not has_ties:
            changed = (swapped != labels).sum(axis=1)
            assert set(changed) == ({2} if i < num_classes else {0})
            again = transforms.swap_rank(swapped, i)
            # The i-th largest is where the smallest was: the same exchange undoes it.
            np.testing.assert_array_equal(again, labels)
    np.testing.assert_array_equal(transforms.swap_rank(labels, num_classes), labels)


def test_swap_rank_commutes_with_renamed_classes_and_takes_a_traced_rank():
    labels = table(12, 6, seed=1)
    renamed = np.random.default_rng(2).permutation(12)
    for i in (1, 4, 11):
        one = transforms.permute_classes(transforms.swap_rank(labels, i), renamed)
        other = transforms.swap_rank(transforms.permute_classes(labels, renamed), i)
        np.testing.assert_array_equal(one, other)
    grid = jnp.arange(1, 13)
    mapped = jax.jit(jax.vmap(transforms.swap_rank, (None, 0)))(labels, grid)
    for i, found in zip(grid, mapped, strict=True):
        np.testing.assert_array_equal(found, transforms.swap_rank(labels, int(i)))


def test_swap_ranks_exchanges_any_two():
    labels = table(9, 4, seed=3)
    found = np.asarray(transforms.swap_ranks(labels, 2, 5))
    for row, was in zip(found, labels, strict=True):
        order = order_of(was)
        assert row[order[1]] == was[order[4]]
        assert row[order[4]] == was[order[1]]
        rest = [c for c in range(9) if c not in (order[1], order[4])]
        np.testing.assert_array_equal(row[rest], was[rest])


@pytest.mark.parametrize("has_ties", [False, True])
@pytest.mark.parametrize(("num_classes", "num_rows"), SIZES)
def test_top_k_keeps_exactly_k(num_classes, num_rows, has_ties):
    labels = table(num_classes, num_rows, seed=4, has_ties=has_ties)
    uniform = np.full_like(labels, 1 / num_classes)
    masses = []
    for k in range(num_classes + 1):
        kept = np.asarray(transforms.top_k(labels, k))
        assert ((kept > 0).sum(axis=1) == k).all()
        assert ((np.asarray(transforms.top_k(uniform, k)) > 0).sum(axis=1) == k).all()
        expected = np.zeros_like(labels)
        for row, was in zip(expected, labels, strict=True):
            chosen = order_of(was)[:k]
            row[chosen] = was[chosen]
        np.testing.assert_array_equal(kept, expected)
        np.testing.assert_array_equal(transforms.top_k(kept, k), kept)
        masses.append(kept.sum(axis=1))
        whole = transforms.top_k(labels, k, renormalize=True)
        np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(transforms.top_k(labels, num_classes), labels)
    assert (np.diff(masses, axis=0) >= 0).all()
    first = transforms.top_k(labels, 1).argmax(axis=1)
    np.testing.assert_array_equal(first, labels.argmax(axis=1))
    traced = jax.jit(transforms.top_k)(labels, jnp.array(1))
    np.testing.assert_array_equal(traced, transforms.top_k(labels, 1))


def test_shuffling_keeps_the_top_and_moves_the_tail_anywhere():
    labels = table(6, 3, seed=5)
    keys = jax.random.split(jax.random.key(0), 3000)
    shuffle = jax.jit(jax.vmap(lambda key: transforms.shuffle_non_top(key, labels)))
    drawn = np.asarray(shuffle(keys))
    top = labels.argmax(axis=1)
    assert (drawn.argmax(axis=2) == top).all()
    assert (np.sort(drawn, axis=2) == np.sort(labels, axis=1)).all()
    assert not (drawn[0] == drawn[1]).all()
    moved = (drawn[:, 0] != labels[0]).any(axis=1) != (drawn[:, 1] != labels[1]).any(
        axis=1
    )
    assert moved.any()  # Rows have orders of their own.
    for row in range(3):
        tail = np.delete(labels[row], top[row])
        found = np.delete(drawn[:, row], top[row], axis=1)
        error = tail.std() / np.sqrt(len(keys))
        assert (np.abs(found.mean(axis=0) - tail.mean()) < 5 * error).all()
    two = np.asarray(transforms.shuffle_non_top(keys[0], labels, keep=2))
    for row, was in zip(two, labels, strict=True):
        first = order_of(was)[:2]
        np.testing.assert_array_equal(row[first], was[first])
    all_of_it = transforms.shuffle_non_top(keys[0], labels, keep=6)
    np.testing.assert_array_equal(all_of_it, labels)


@pytest.mark.parametrize("renormalize", [False, True])
def test_mass_of_a_class_leaves_the_images_of_others(renormalize):
    labels = table(5, 20, seed=6)
    classes = np.arange(20) % 5
    found = np.asarray(
        transforms.remove_class_mass(labels, classes, 2, renormalize=renormalize)
    )
    own = classes == 2
    np.testing.assert_array_equal(found[own], labels[own])
    assert (found[~own, 2] == 0).all()
    left = 1 - labels[~own, 2]
    expected = 1.0 if renormalize else left
    np.testing.assert_allclose(found[~own].sum(axis=1), expected, rtol=1e-5)
    ratio = found[~own][:, [0, 1, 3, 4]] / labels[~own][:, [0, 1, 3, 4]]
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(4), rtol=1e-4)
    taken = transforms.remove_class_mass(labels, classes, 2, keep_own=False)
    assert (np.asarray(taken)[:, 2] == 0).all()
    traced = jax.jit(
        lambda c: transforms.remove_class_mass(labels, classes, c, renormalize=True)
    )(2)
    assert np.isfinite(traced).all()


def test_a_row_all_of_whose_mass_goes_becomes_uniform_over_the_others():
    labels = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], np.float32)
    classes = np.array([0, 2])
    found = transforms.remove_class_mass(labels, classes, 2, renormalize=True)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0], [1, 0, 0]])
    bare = transforms.remove_class_mass(labels, classes, 2)
    np.testing.assert_array_equal(bare[0], 0)


def test_dropped_classes_weigh_nothing():
    weight = transforms.drop_class(jnp.array([0, 1, 2, 1]), 1)
    assert weight.tolist() == [1, 0, 1, 0]


def test_temperatures_go_from_one_hot_to_uniform():
    logits = np.random.default_rng(7).normal(size=(8, 11)).astype(np.float32) * 3
    soft = transforms.from_logits(logits)
    np.testing.assert_allclose(soft, scipy.special.softmax(logits, axis=1), rtol=1e-5)
    np.testing.assert_allclose(transforms.from_logits(logits + 100), soft, atol=1e-5)
    grid = np.geomspace(0.1, 50, 30)
    entropies = [
        np.asarray(metrics.entropy(transforms.from_logits(logits, T))) for T in grid
    ]
    assert (np.diff(entropies, axis=0) > 0).all()
    np.testing.assert_allclose(transforms.from_logits(logits, 1e6), 1 / 11, atol=1e-5)
    cold = np.asarray(transforms.from_logits(logits, 1e-6))
    np.testing.assert_array_equal(cold, np.eye(11)[logits.argmax(axis=1)])
    half = transforms.from_logits(logits, 2.0)
    np.testing.assert_allclose(half, scipy.special.softmax(logits / 2, 1), rtol=1e-5)
    big = jnp.array([1e4, 0.0, -1e4])
    for T in (0.1, 1.0, 4.0):
        gradient = jax.grad(lambda z, T=T: transforms.from_logits(z, T)[0])(big)
        assert np.isfinite(gradient).all()


def test_the_entropy_rises_with_the_temperature_by_its_derivative(x64):
    logits = jnp.asarray(np.random.default_rng(8).normal(size=9))
    entropy = lambda T: metrics.entropy(transforms.from_logits(logits, T))
    for T in (0.5, 1.0, 3.0):
        slope = jax.grad(entropy)(T)
        numeric = (entropy(T + 1e-6) - entropy(T - 1e-6)) / 2e-6
        np.testing.assert_allclose(slope, numeric, rtol=1e-6)
        assert slope > 0


def test_ensembles_are_means_of_what_they_say():
    rng = np.random.default_rng(9)
    logits = rng.normal(size=(4, 6, 7)).astype(np.float32) * 2
    each = scipy.special.softmax(logits, axis=-1)
    for how in ("logit_mean", "prob_mean", "log_prob_mean"):
        one = transforms.ensemble_logits(np.repeat(logits[:1], 3, 0), how=how)
        np.testing.assert_allclose(one, each[0], rtol=1e-5)
        both = transforms.ensemble_logits(logits, how=how)
        turned = transforms.ensemble_logits(logits[::-1], how=how)
        np.testing.assert_allclose(both, turned, rtol=1e-5)
        chosen = transforms.ensemble_logits(
            logits, how=how, weights=jnp.array([0.0, 0.0, 5.0, 0.0])
        )
        np.testing.assert_allclose(chosen, each[2], rtol=1e-4)
        np.testing.assert_allclose(both.sum(axis=-1), 1, rtol=1e-5)
    geometric = np.exp(np.log(each).mean(axis=0))
    geometric /= geometric.sum(axis=-1, keepdims=True)
    for how in ("logit_mean", "log_prob_mean"):
        found = transforms.ensemble_logits(logits, how=how)
        np.testing.assert_allclose(found, geometric, rtol=1e-4)
    probable = transforms.ensemble_logits(logits, how="prob_mean")
    np.testing.assert_allclose(probable, each.mean(axis=0), rtol=1e-5)
    # Concave: a mean of probabilities is never surer than its members on average.
    members = np.asarray(metrics.entropy(each)).mean(axis=0)
    assert (np.asarray(metrics.entropy(probable)) >= members - 1e-6).all()
    # The mean of logits can be: so who averages logits there is found out.
    opposed = np.array([[[0.0, 8.0, 9.0]], [[9.0, 8.0, 0.0]]], np.float32)
    sure = metrics.entropy(transforms.ensemble_logits(opposed))
    unsure = metrics.entropy(transforms.ensemble_logits(opposed, how="prob_mean"))
    assert float(sure[0]) < float(unsure[0])


def test_sharpening_is_another_temperature_of_the_same_logits():
    logits = np.random.default_rng(10).normal(size=(5, 8)).astype(np.float32)
    soft = transforms.from_logits(logits)
    for T in (0.5, 2.0, 4.0):
        found = transforms.sharpen(soft, T)
        expected = transforms.from_logits(logits, T)
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    gradient = jax.grad(lambda y: transforms.sharpen(y, 2.0)[1])(jnp.array([0.5, 0.5]))
    assert np.isfinite(gradient).all()


def test_noise_without_structure_has_the_shares_that_were_asked_for():
    classes = np.arange(200) % 10
    noisy = np.asarray(transforms.noisy_true_class(jax.random.key(0), classes, 10, 0.8))
    rows = np.arange(200)
    np.testing.assert_allclose(noisy[rows, classes], 0.8, rtol=1e-5)
    np.testing.assert_allclose(noisy.sum(axis=1), 1, rtol=1e-5)
    assert (noisy >= 0).all()
    others = noisy[classes != 3, 3]
    assert abs(others.mean() - 0.2 / 9) < 5 * others.std() / np.sqrt(len(others))


def test_noise_is_mixed_into_the_surest_labels():
    labels = table(6, 10, seed=11)
    mixed = transforms.mix_noise_lowest_entropy(jax.random.key(0), labels, 0.3, 0.5)
    changed = np.flatnonzero((np.asarray(mixed) != labels).any(axis=1))
    surest = np.argsort(metrics.entropy(labels))[:3]
    assert set(changed) == set(surest.tolist())
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-5)


def test_smoothing_hardening_and_clipping():
    labels = table(4, 6, seed=12)
    np.testing.assert_allclose(
        transforms.smooth(labels, 0.2), 0.8 * labels + 0.05, rtol=1e-6
    )
    hard = transforms.harden(labels)
    np.testing.assert_array_equal(hard, np.eye(4)[labels.argmax(axis=1)])
    between = transforms.interpolate(hard, labels, 0.25)
    np.testing.assert_allclose(between, 0.75 * hard + 0.25 * labels, rtol=1e-6)
    clipped = np.asarray(transforms.clip_small(labels, 0.1))
    np.testing.assert_array_equal(clipped, np.where(labels < 0.1, 0, labels))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: transforms.swap_rank(y, 0), "`i` is 0, but labels of 3 classes"),
        (lambda y: transforms.swap_rank(y, 4), "entries 1 to 3"),
        (lambda y: transforms.swap_ranks(y, 1, 9), "`j` is 9"),
        (lambda y: transforms.top_k(y, 4), "`k` is 4"),
        (lambda y: transforms.top_k(y, -1), "entries 0 to 3"),
        (
            lambda y: transforms.shuffle_non_top(jax.random.key(0), y, 7),
            "`keep` is 7",
        ),
        (lambda y: transforms.from_logits(y, 0.0), "temperature is 0.0"),
        (lambda y: transforms.sharpen(y, -1.0), "above 0"),
        (lambda y: transforms.smooth(y, 1.5), "`amount` is a share"),
        (lambda y: transforms.ensemble_logits(y[None], how="mean"), "no ensemble"),
        (
            lambda y: transforms.ensemble_logits(y[None], weights=jnp.ones(2)),
            "1 experts, but weights of shape",
        ),
        (
            lambda y: transforms.ensemble_logits(y[None], weights=jnp.array([-1.0])),
            "none may be below 0",
        ),
        (
            lambda y: transforms.remove_class_mass(y, jnp.array([0, 1]), 3),
            "no class 3",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(call, message):
    with pytest.raises(errors.InputError, match=message):
        call(jnp.asarray(table(3, 2)))
