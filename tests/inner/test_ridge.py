# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ridge regression in its two forms, and the labels it would like best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import errors
from distill_jax.inner import ridge

rng = np.random.default_rng(0)


def problem(num_support, num_features, dtype=float):
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
    return draw(num_support, num_features), draw(5, num_features), draw(num_support, 3)


SIZES = [(7, 4), (4, 7), (6, 6)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("value", [1e-6, 1e-2, 1.0])
def test_the_two_forms_give_the_same_predictions_and_gradients(sizes, value, x64):
    support, target, y = problem(*sizes)
    dual, primal = ridge.predict, ridge.predict_primal
    # Rank-deficient systems lose the digits that the ridge has fewer of.
    tolerance = 1e-8 if value > 1e-6 else 1e-6
    np.testing.assert_allclose(
        dual(support, target, y, ridge=value),
        primal(support, target, y, ridge=value),
        atol=tolerance,
    )
    slopes = [
        jax.grad(lambda *args, f=f: jnp.sum(f(*args, ridge=value) ** 2), (0, 1, 2))(
            support, target, y
        )
        for f in (dual, primal)
    ]
    if value > 1e-6:
        for one, other in zip(*slopes, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("sizes", SIZES)
def test_both_forms_equal_numpy_in_both_precisions(sizes, dtype, x64):
    support, target, y = problem(*sizes, dtype)
    f_s, f_t, y_s = (np.asarray(leaf, np.float64) for leaf in (support, target, y))
    shift = 0.1 * np.trace(f_s @ f_s.T) / len(f_s) * np.eye(len(f_s))
    expected = f_t @ f_s.T @ np.linalg.solve(f_s @ f_s.T + shift, y_s)
    tolerance = 1e-12 if dtype == jnp.float64 else 1e-5
    for form in (ridge.predict, ridge.predict_primal):
        predicted = form(support, target, y, ridge=0.1)
        assert predicted.dtype == dtype
        np.testing.assert_allclose(predicted, expected, atol=tolerance)


def test_the_ridge_is_a_multiple_of_the_mean_diagonal():
    support, target, y = problem(4, 7)
    for form in (ridge.predict, ridge.predict_primal):
        np.testing.assert_allclose(
            form(support, target, y, ridge=0.1),
            form(100 * support, 100 * target, y, ridge=0.1),
            rtol=1e-3,
        )


def test_a_singular_kernel_is_refused_with_its_remedy():
    with pytest.raises(
        errors.InputError, match=r"2x2 kernel is singular.*larger `ridge`"
    ):
        ridge.dual_weights(jnp.ones((2, 2)), jnp.eye(2), ridge=0.0)
    f = jnp.ones((3, 2))
    for form in (ridge.predict, ridge.predict_primal):
        with pytest.raises(errors.InputError, match="singular in float32"):
            form(f, f, jnp.ones((3, 1)), ridge=0.0)
        assert np.isfinite(form(f, f, jnp.ones((3, 1)), ridge=1e-3)).all()
    with pytest.raises(errors.InputError, match="singular"):
        ridge.solve_labels(
            jnp.ones((1, 2, 2)), jnp.ones((1, 3, 2)), jnp.ones((3, 1)), ridge=0.0
        )


def test_under_jit_a_singular_kernel_gives_no_number():
    weights = jax.jit(lambda k: ridge.dual_weights(k, jnp.eye(2), ridge=0.0))
    assert not np.isfinite(weights(jnp.ones((2, 2)))).any()


def test_what_cannot_work_is_refused_in_a_sentence():
    one = jnp.ones((1, 1))
    for value in (-1e-6, float("nan")):
        with pytest.raises(errors.InputError, match=r"`ridge` is .*such as 1e-6"):
            ridge.kernel_predict(one, one, one, ridge=value)
        with pytest.raises(errors.InputError, match="`ridge` is"):
            ridge.predict_primal(one, one, one, ridge=value)
    with pytest.raises(errors.InputError, match="not finite"):
        ridge.dual_weights(jnp.nan * one, one, ridge=0.1)
    with pytest.raises(errors.InputError, match=r"P = 1 for one kernel"):
        ridge.solve_labels(one, one, one, ridge=0.1)
    with pytest.raises(errors.InputError, match="`label_ridge` is -1"):
        ridge.solve_labels(one[None], one[None], one, ridge=0.1, label_ridge=-1)


def stack(num_networks, num_support=4, num_targets=9):
    """Kernels of several feature maps, the targets' labels, both kinds of weights."""
    f_s = rng.normal(size=(num_networks, num_support, 6))
    f_t = rng.normal(size=(num_networks, num_targets, 6))
    y = rng.normal(size=(num_targets, 3))
    w, v = rng.uniform(0.5, 2, num_networks), rng.uniform(0.0, 2, num_targets)
    return f_s @ f_s.transpose(0, 2, 1), f_t @ f_s.transpose(0, 2, 1), y, w, v


def maps(k_ss, k_ts, value):
    """A_n of every kernel, in numpy."""
    num = k_ss.shape[1]
    shift = lambda k: value * np.trace(k) / num * np.eye(num)
    return [t @ np.linalg.inv(s + shift(s)) for s, t in zip(k_ss, k_ts, strict=True)]


@pytest.mark.parametrize("num_networks", [1, 3])
def test_the_best_labels_equal_those_of_least_squares(num_networks, x64):
    k_ss, k_ts, y, w, v = stack(num_networks)
    rows = np.concatenate(
        [
            np.sqrt(w_n * v)[:, None] * a
            for w_n, a in zip(w, maps(k_ss, k_ts, 0.1), strict=True)
        ]
    )
    right = np.concatenate([np.sqrt(w_n * v)[:, None] * y for w_n in w])
    expected = np.linalg.lstsq(rows, right)[0]
    args = [jnp.asarray(leaf) for leaf in (k_ss, k_ts, y)]
    options = {"network_weight": jnp.asarray(w), "weight": jnp.asarray(v)}
    found = ridge.solve_labels(*args, ridge=0.1, label_ridge=0.0, **options)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    jitted = jax.jit(ridge.solve_labels, static_argnames=("ridge", "label_ridge"))
    np.testing.assert_allclose(
        jitted(*args, ridge=0.1, label_ridge=0.0, **options), expected, atol=1e-8
    )


def test_no_perturbation_of_the_best_labels_lowers_the_loss(x64):
    k_ss, k_ts, y, w, _ = stack(3)
    args = [jnp.asarray(leaf) for leaf in (k_ss, k_ts, y)]
    found = ridge.solve_labels(
        *args, ridge=0.1, label_ridge=0.01, network_weight=jnp.asarray(w)
    )
    pairs = list(zip(w, maps(k_ss, k_ts, 0.1), strict=True))
    shift = 0.01 / 4 * sum(w_n * np.trace(a_n.T @ a_n) for w_n, a_n in pairs)

    def loss(labels):
        fits = [w_n * np.sum((a_n @ labels - y) ** 2) for w_n, a_n in pairs]
        return sum(fits) + shift * np.sum(labels**2)

    best = loss(np.asarray(found))
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(20):
            assert loss(found + size * rng.normal(size=found.shape)) > best


def test_targets_of_weight_zero_do_not_move_the_labels(x64):
    k_ss, k_ts, y, _, _ = stack(2)
    args = [jnp.asarray(leaf) for leaf in (k_ss, k_ts, y)]
    weight = jnp.array([1.0] * 6 + [0.0] * 3)
    few = [args[0], args[1][:, :6], args[2][:6]]
    np.testing.assert_allclose(
        ridge.solve_labels(*args, ridge=0.1, weight=weight),
        ridge.solve_labels(*few, ridge=0.1),
        atol=1e-10,
    )


def test_equal_weights_are_the_default_and_only_their_ratio_counts(x64):
    k_ss, k_ts, y, _, _ = stack(2)
    args = [jnp.asarray(leaf) for leaf in (k_ss, k_ts, y)]
    np.testing.assert_allclose(
        ridge.solve_labels(*args, ridge=0.1),
        ridge.solve_labels(*args, ridge=0.1, network_weight=jnp.full(2, 7.0)),
        atol=1e-10,
    )
