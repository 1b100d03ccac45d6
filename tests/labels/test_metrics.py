# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What labels tell, against numpy and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from distill_jax import errors, labels
from distill_jax.labels import metrics, transforms


def problem(num_classes=7, num_rows=12, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.dirichlet(np.full(num_classes, 0.5), size=num_rows)
    logits = rng.normal(size=(num_rows, num_classes)) * 2
    return jnp.asarray(labels), jnp.asarray(logits)


def test_entropy_lies_between_one_hot_and_uniform(x64):
    labels, logits = problem()
    found = np.asarray(metrics.entropy(labels))
    np.testing.assert_allclose(found, scipy.stats.entropy(labels, axis=1), rtol=1e-10)
    assert (found >= 0).all()
    assert (found <= np.log(7)).all()
    np.testing.assert_allclose(metrics.entropy(jnp.full(7, 1 / 7)), np.log(7))
    one_hot = jnp.eye(7)
    assert metrics.entropy(one_hot).tolist() == [0] * 7
    assert np.isfinite(jax.grad(lambda y: metrics.entropy(y).sum())(one_hot)).all()
    np.testing.assert_allclose(
        metrics.entropy_from_logits(logits),
        metrics.entropy(transforms.from_logits(logits)),
        rtol=1e-10,
    )
    np.testing.assert_allclose(metrics.effective_classes(one_hot), 1)


def test_cross_entropy_is_divergence_and_entropy(x64):
    labels, logits = problem()
    losses = metrics.cross_entropy(labels, logits, reduction="none")
    z = transforms.from_logits(logits)
    np.testing.assert_allclose(
        losses, metrics.kl(labels, z) + metrics.entropy(labels), rtol=1e-10
    )
    np.testing.assert_allclose(
        metrics.kl(labels, z), scipy.stats.entropy(labels, z, axis=1), rtol=1e-10
    )
    classes = labels.argmax(axis=1)
    hard = metrics.cross_entropy(transforms.harden(labels), logits, reduction="none")
    np.testing.assert_allclose(
        hard,
        optax.softmax_cross_entropy_with_integer_labels(logits, classes),
        rtol=1e-10,
    )
    weights = jnp.arange(12.0)
    np.testing.assert_allclose(
        metrics.cross_entropy(labels, logits, weights),
        np.average(losses, weights=weights),
        rtol=1e-10,
    )


def test_the_gradient_of_the_cross_entropy_counts_the_mass_of_a_row(x64):
    labels, logits = problem()
    cut = transforms.top_k(labels, 2)  # Rows of mass below one.
    gradient = jax.grad(
        lambda z: metrics.cross_entropy(cut, z, reduction="none").sum()
    )(jnp.asarray(logits))
    p = np.asarray(transforms.from_logits(logits))
    expected = np.asarray(cut).sum(axis=1, keepdims=True) * p - cut
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)


def test_confusion_density_is_the_mean_label_of_each_class():
    labels, _ = problem(num_classes=5, num_rows=17)
    classes = np.arange(17) % 4  # Class 4 has no image.
    found = metrics.confusion_density(
        jnp.asarray(labels), jnp.asarray(classes), 5, blank_diagonal=False
    )
    for c in range(4):
        np.testing.assert_allclose(
            found[c], labels[classes == c].mean(axis=0), rtol=1e-5
        )
    assert (np.asarray(found[4]) == 0).all()
    blank = metrics.confusion_density(jnp.asarray(labels), jnp.asarray(classes), 5)
    assert (np.diag(blank) == 0).all()


def test_structure_is_a_correlation_off_the_true_classes():
    labels, _ = problem(seed=1)
    other, _ = problem(seed=2)
    classes = np.arange(12) % 7
    off = np.arange(7)[None] != classes[:, None]
    expected = scipy.stats.pearsonr(
        np.asarray(labels)[off], np.asarray(other)[off]
    ).statistic
    found = metrics.structure_score(labels, other, classes)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(
        metrics.structure_score(labels, labels, classes), 1, rtol=1e-5
    )
    # The true class does not count, however sure of it one table is.
    surer = np.where(off, labels, 99.0)
    np.testing.assert_allclose(
        metrics.structure_score(surer, other, classes), expected, rtol=1e-4
    )
    assert np.isnan(metrics.structure_score(np.eye(7), np.eye(7), np.arange(7)))


def test_agreement_top_mass_and_storage():
    labels, _ = problem(seed=3)
    classes = labels.argmax(axis=1)
    assert metrics.agreement(labels, classes) == 1
    assert metrics.agreement(labels, labels) == 1
    half = np.where(np.arange(12) < 6, classes, (classes + 1) % 7)
    assert metrics.agreement(labels, half) == 0.5
    np.testing.assert_allclose(
        metrics.top_mass(jnp.asarray(labels), 3),
        np.sort(labels, axis=1)[:, -3:].sum(axis=1),
        rtol=1e-5,
    )
    assert metrics.label_storage_bytes(100, 1000, "float16", views=300) == 60_000_000
    assert metrics.label_storage_bytes(100, 10, top_k=2) == 100 * 2 * 5
    with pytest.raises(errors.InputError, match="num_images"):
        metrics.label_storage_bytes(0, 10)
    with pytest.raises(errors.InputError, match="no reduction"):
        metrics.cross_entropy(labels, labels, reduction="sum")


def test_rank_correlation_is_that_of_scipy(x64):
    rng = np.random.default_rng(0)
    classes = np.array([0, 2, 1, 3, 3])
    one = rng.integers(0, 4, size=(5, 4)) / 4  # with ties
    other = one + 0.3 * rng.normal(size=(5, 4))
    off = np.arange(4)[None] != classes[:, None]
    found = metrics.structure_score(one, other, classes, by_rank=True)
    expected = scipy.stats.spearmanr(one[off], other[off]).statistic
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    hard = np.eye(4)[classes]
    assert np.isnan(metrics.structure_score(hard, other, classes, by_rank=True))


def test_a_comparison_is_of_shapes_and_not_of_mass(x64):
    rng = np.random.default_rng(1)
    expert = rng.dirichlet(np.ones(4), size=8)
    classes = np.repeat(np.arange(4), 2)
    heavy = expert * rng.uniform(1, 4, size=(8, 1))
    found = labels.compare(heavy, expert, classes, smoothing=0.0)
    np.testing.assert_allclose(found.divergence, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.entropy, found.reference_entropy)
    np.testing.assert_allclose(found.mass, heavy.sum(1).mean())
    assert found.agreement_with_reference == 1.0
    assert 0 < found.pearson < 1
    hard = labels.compare(np.eye(4)[classes], expert, classes)
    assert np.isfinite(hard.divergence)
    assert np.isinf(
        labels.compare(np.eye(4)[classes], expert, classes, smoothing=0.0).divergence
    )
    assert hard.agreement_with_classes == 1.0
    density = metrics.confusion_density(expert, classes, 4)
    score = metrics.structure_score(
        metrics.confusion_density(heavy, classes, 4), density, np.arange(4)
    )
    np.testing.assert_allclose(found.confusion_correlation, score)


def test_tables_of_other_images_are_not_compared():
    with pytest.raises(errors.InputError, match=r"shape \(3, 3\) are compared with"):
        labels.compare(np.eye(3), np.eye(4), np.arange(3))
    with pytest.raises(errors.InputError, match=r"`classes` has the shape \(2,\)"):
        labels.compare(np.eye(3), np.eye(3), np.arange(2))
