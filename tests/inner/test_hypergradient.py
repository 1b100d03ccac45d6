# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Implicit differentiation against closed forms, unrolling and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from distill_jax import errors
from distill_jax.inner import hypergradient, solvers

DECAY = 0.1


def squared_error(w, x, y):
    return 0.5 * jnp.mean(jnp.sum((x @ w - y) ** 2, axis=1))


def cross_entropy(w, x, y):
    return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(x @ w), axis=1))


def through_optimum(outer, inner, params, synthetic, *, product_fn=None, **options):
    """With the options of the solver one by one."""
    return hypergradient.through_optimum(
        outer,
        inner,
        params,
        synthetic,
        solver_options=solvers.SolverOptions(**options),
        product_fn=product_fn,
    )


class Problem:
    """Training on (x, y), judged by the same loss on real examples."""

    def __init__(self, mean_loss, num_features=4, num_classes=3, num_examples=6):
        rng = np.random.default_rng(0)
        draw = lambda *shape: jnp.asarray(rng.normal(size=shape))
        self.mean_loss = mean_loss
        self.shape = num_features, num_classes
        self.synthetic = {
            "x": draw(num_examples, num_features),
            "y": jax.nn.softmax(draw(num_examples, num_classes)),
        }
        self.real = draw(9, num_features), jax.nn.softmax(draw(9, num_classes))

    def inner(self, w, synthetic):
        mean = self.mean_loss(w, synthetic["x"], synthetic["y"])
        return mean + DECAY / 2 * jnp.sum(w**2)

    def outer(self, w, synthetic):
        """With a direct part: the scale of the inputs is a factor."""
        scale = jnp.mean(synthetic["x"] ** 2)
        return scale * self.mean_loss(w, *self.real)

    def solve(self, synthetic):
        """In closed form, or by Newton's method on all entries of w at once."""
        x, y = synthetic["x"], synthetic["y"]
        if self.mean_loss is squared_error:
            gram = x.T @ x / len(x) + DECAY * jnp.eye(x.shape[1])
            return jnp.linalg.solve(gram, x.T @ y / len(x))
        fn = lambda flat: self.inner(flat.reshape(self.shape), synthetic)
        newton = lambda flat: jnp.linalg.solve(
            jax.hessian(fn)(flat), jax.grad(fn)(flat)
        )
        flat = jax.lax.fori_loop(
            0, 20, lambda _, flat: flat - newton(flat), jnp.zeros(self.shape).ravel()
        )
        return flat.reshape(self.shape)

    def value_fn(self, w, **options):
        """Of the synthetic examples, with w as the optimum."""
        return lambda synthetic: through_optimum(
            self.outer, self.inner, w, synthetic, **options
        )

    def gradient(self, **options):
        @jax.jit
        def fn(synthetic):
            w = self.solve(jax.lax.stop_gradient(synthetic))
            return jax.grad(lambda s: self.value_fn(w, **options)(s)[0])(synthetic)

        return fn(self.synthetic)


def difference(one, other):
    """The largest absolute difference of two trees."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(jnp.abs(a - b).max()) for a, b in pairs)


def test_it_is_the_derivative_of_the_closed_form_of_ridge_regression(x64):
    ridge = Problem(squared_error)
    closed_fn = lambda s: ridge.outer(ridge.solve(s), s)
    closed = jax.jit(jax.grad(closed_fn))(ridge.synthetic)
    found = ridge.gradient(num_iterations=4)  # As many as different eigenvalues.
    assert difference(found, closed) < 1e-8
    direct = jax.grad(ridge.outer, argnums=1)(ridge.solve(ridge.synthetic), closed)
    assert difference(direct, closed) > 1e-2  # The implicit part matters.


def test_it_equals_finite_differences_of_the_problem_solved_anew(x64):
    logistic = Problem(cross_entropy)
    grads = logistic.gradient(num_iterations=30)
    solved = jax.jit(lambda s: logistic.outer(logistic.solve(s), s))
    rng = np.random.default_rng(1)
    for name, leaf in logistic.synthetic.items():
        direction = jnp.asarray(rng.normal(size=leaf.shape))
        moved = [
            solved({**logistic.synthetic, name: leaf + eps * direction})
            for eps in (1e-5, -1e-5)
        ]
        slope = (moved[0] - moved[1]) / 2e-5
        np.testing.assert_allclose(jnp.sum(grads[name] * direction), slope, rtol=1e-6)


def test_unrolled_training_tends_to_it(x64):
    logistic = Problem(cross_entropy)
    expected = logistic.gradient(num_iterations=30)

    def unrolled(synthetic, num_steps):
        step = lambda w, _: (w - 0.5 * jax.grad(logistic.inner)(w, synthetic), None)
        w, _ = jax.lax.scan(step, jnp.zeros(logistic.shape), length=num_steps)
        return logistic.outer(w, synthetic)

    gradient = jax.jit(jax.grad(unrolled), static_argnums=1)
    gaps = [
        difference(gradient(logistic.synthetic, n), expected) for n in (10, 60, 400)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 1e-2
    assert gaps[-1] < 1e-6


def test_the_neumann_series_tends_to_conjugate_gradients(x64):
    logistic = Problem(cross_entropy)
    expected = logistic.gradient(num_iterations=30)
    gaps = [
        difference(
            logistic.gradient(solver="neumann", num_iterations=n, step_size=0.5),
            expected,
        )
        for n in (1, 30, 400)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 1e-2
    assert gaps[-1] < 1e-7


@pytest.mark.parametrize("num_iterations", [1, 3, 7])
def test_the_neumann_series_is_the_sum_of_its_terms(num_iterations, x64):
    rng = np.random.default_rng(2)
    root, b = rng.normal(size=(5, 5)), rng.normal(size=5)
    matrix = root @ root.T
    size = 1.0 / np.linalg.eigvalsh(matrix).max()
    shrink = np.eye(5) - size * matrix
    powers = [np.linalg.matrix_power(shrink, k) @ b for k in range(num_iterations)]
    found = solvers.neumann_series(
        lambda v: jnp.asarray(matrix) @ v,
        jnp.asarray(b),
        num_iterations=num_iterations,
        step_size=size,
    )
    np.testing.assert_allclose(found, size * np.sum(powers, axis=0), rtol=1e-12)


def test_conjugate_gradients_are_exact_after_as_many_steps_as_eigenvalues(x64):
    rng = np.random.default_rng(3)
    basis, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    matrix = basis @ np.diag([1.0, 1.0, 3.0, 3.0, 7.0, 7.0]) @ basis.T
    b = rng.normal(size=6)

    def gap(num_iterations):
        v = solvers.conjugate_gradients(
            lambda v: jnp.asarray(matrix) @ v,
            jnp.asarray(b),
            num_iterations=num_iterations,
        )
        return np.abs(v - np.linalg.solve(matrix, b)).max()

    assert gap(2) > 1e-3
    assert gap(3) < 1e-12
    assert gap(50) < 1e-12


def test_damping_adds_to_the_hessian_and_shrinks_the_implicit_part(x64):
    ridge = Problem(squared_error)
    w = ridge.solve(ridge.synthetic)
    norms = []
    for damping in (0.0, 1.0, 1e6):
        fn = jax.jit(ridge.value_fn(w, num_iterations=8, damping=damping))
        norms.append(float(fn(ridge.synthetic)[1].implicit_norm))
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 1e-5 * norms[0]
    # By hand: d_w inner holds - x^T y / M.
    x = ridge.synthetic["x"]
    matrix = x.T @ x / len(x) + (DECAY + 1.0) * jnp.eye(x.shape[1])
    v = jnp.linalg.solve(matrix, jax.grad(ridge.outer)(w, ridge.synthetic))
    assert difference(ridge.gradient(damping=1.0)["y"], x @ v / len(x)) < 1e-10


def norm(leaf):
    return float(jnp.linalg.norm(leaf))


def parts(problem, **options):
    """The direct and the implicit part of the gradient."""
    w = problem.solve(problem.synthetic)
    direct = jax.jit(jax.grad(problem.outer, argnums=1))(w, problem.synthetic)
    whole = problem.gradient(num_iterations=10, **options)
    return direct, jax.tree.map(jnp.subtract, whole, direct)


def test_the_implicit_part_of_each_leaf_is_clipped_to_the_direct_part(x64):
    ridge = Problem(squared_error)
    direct, free = parts(ridge)
    assert norm(direct["y"]) == 0  # Only the inputs have a direct part.
    ratio = 0.3 * norm(free["x"]) / norm(direct["x"])
    _, clipped = parts(ridge, clip_ratio=ratio)
    assert difference(clipped["x"], 0.3 * free["x"]) < 1e-10
    assert difference(clipped["y"], free["y"]) < 1e-12
    _, loose = parts(ridge, clip_ratio=ratio / 0.3 * 1.1)
    assert difference(loose, free) < 1e-12


def test_the_implicit_part_of_each_leaf_is_clipped_to_a_length(x64):
    ridge = Problem(squared_error)
    _, free = parts(ridge)
    bound = 0.5 * min(norm(leaf) for leaf in free.values())
    _, clipped = parts(ridge, clip_norm=bound)
    for name, leaf in clipped.items():
        assert norm(leaf) == pytest.approx(bound)
        assert difference(leaf, free[name] * bound / norm(free[name])) < 1e-10
    _, loose = parts(ridge, clip_norm=10.0 * max(map(norm, free.values())))
    assert difference(loose, free) < 1e-12


def test_jit_vmap_and_map_change_nothing(x64):
    logistic = Problem(cross_entropy)
    stacked = jax.tree.map(
        lambda leaf: jnp.stack([leaf, 1.1 * leaf]), logistic.synthetic
    )
    optima = jax.jit(jax.vmap(logistic.solve))(stacked)

    def gradient(args):
        w, synthetic = args
        fn = logistic.value_fn(w, num_iterations=15, damping=0.01, clip_norm=0.05)
        return jax.value_and_grad(fn, has_aux=True)(synthetic)

    alone_fn = jax.jit(gradient)
    each = [
        alone_fn(jax.tree.map(lambda leaf: leaf[number], (optima, stacked)))
        for number in range(2)
    ]
    for how in (
        jax.jit(jax.vmap(gradient)),
        jax.jit(lambda args: jax.lax.map(gradient, args)),
    ):
        (values, told), grads = how((optima, stacked))
        for number, ((value, alone), grad) in enumerate(each):
            assert float(values[number]) == pytest.approx(float(value), abs=1e-12)
            assert float(told.residual[number]) == pytest.approx(
                float(alone.residual), abs=1e-9
            )
            assert difference(jax.tree.map(lambda g: g[number], grads), grad) < 1e-9


def test_what_does_not_matter_has_no_gradient(x64):
    ridge = Problem(squared_error)
    unused = {**ridge.synthetic, "unused": jnp.ones(3), "count": jnp.arange(2)}
    fn = ridge.value_fn(ridge.solve(ridge.synthetic), num_iterations=5, clip_norm=1e3)
    grads = jax.jit(jax.grad(lambda s: fn(s)[0], allow_int=True))(unused)
    np.testing.assert_array_equal(grads["unused"], np.zeros(3))
    assert difference(grads["x"], ridge.gradient(num_iterations=5)["x"]) < 1e-12
    constant = lambda w, s: jnp.ones(())
    value, told = hypergradient.through_optimum(
        constant, ridge.inner, jnp.zeros(ridge.shape), ridge.synthetic
    )
    assert (float(value), float(told.residual), float(told.implicit_norm)) == (1, 0, 0)


def test_the_optimum_itself_has_no_gradient(x64):
    ridge = Problem(squared_error)
    value = lambda w: ridge.value_fn(w)(ridge.synthetic)[0]
    w = ridge.solve(ridge.synthetic)
    assert norm(jax.grad(lambda w: ridge.outer(w, ridge.synthetic))(w)) > 1e-2
    assert norm(jax.grad(value)(w)) == 0


def test_the_residual_is_that_of_the_linear_system(x64):
    logistic = Problem(cross_entropy)
    w = jax.jit(logistic.solve)(logistic.synthetic)
    residuals = []
    for num_iterations in (1, 3, 30):
        fn = jax.jit(logistic.value_fn(w, num_iterations=num_iterations))
        residuals.append(float(fn(logistic.synthetic)[1].residual))
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] < 1e-10
    inner = lambda flat: logistic.inner(flat.reshape(w.shape), logistic.synthetic)
    hessian = np.asarray(jax.jit(jax.hessian(inner))(w.ravel()))
    b = np.asarray(jax.jit(jax.grad(logistic.outer))(w, logistic.synthetic)).ravel()
    length = b @ b / (b @ hessian @ b)  # The first step of conjugate gradients.
    expected = norm(b - length * hessian @ b) / norm(b)
    assert residuals[0] == pytest.approx(expected, rel=1e-10)


def test_the_value_and_what_is_told_beside_it_are_those_given(x64):
    ridge = Problem(squared_error)
    w = ridge.solve(ridge.synthetic) + 0.1

    def outer(w, synthetic):
        return ridge.outer(w, synthetic), {"rows": len(synthetic["x"])}

    value, told = jax.jit(
        lambda s: hypergradient.through_optimum(outer, ridge.inner, w, s, has_aux=True)
    )(ridge.synthetic)
    assert told.outer == {"rows": 6}
    assert float(value) == pytest.approx(float(ridge.outer(w, ridge.synthetic)))
    grad = jax.grad(ridge.inner)(w, ridge.synthetic)
    assert norm(grad) > 1e-2
    assert float(told.inner_gradient_norm) == pytest.approx(norm(grad))
    direct = jax.grad(ridge.outer, argnums=1)(w, ridge.synthetic)
    assert float(told.direct_norm) == pytest.approx(norm(direct["x"]))


@pytest.mark.parametrize(
    "options", [{"solver": "cg"}, {"solver": "neumann", "step_size": 0.5}]
)
def test_an_indefinite_hessian_gives_finite_numbers(options, x64):
    scale = jnp.array([1.0, -2.0, 0.0, 0.5])
    inner = lambda w, s: 0.5 * jnp.sum(scale * w**2) - jnp.sum(s * w)
    outer = lambda w, s: jnp.sum((w - 1.0) ** 2)

    def loss(s, **more):
        return through_optimum(
            outer, inner, jnp.zeros(4), s, num_iterations=2000, **options, **more
        )

    (_, told), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(jnp.ones(4))
    assert np.isfinite(grad).all()
    assert float(told.residual) > 0.1  # Which tells that it is no solution.
    damped = jax.grad(lambda s: loss(s, damping=2.5)[0])(jnp.ones(4))
    np.testing.assert_allclose(damped, -2.0 / (scale + 2.5), rtol=1e-8)


def test_curvature_of_zero_or_nan_gives_finite_numbers():
    b = jnp.ones(3)
    for factor in (0.0, -1.0, jnp.nan, 1e-45, 3e38):
        for solve in (
            lambda a, b: solvers.conjugate_gradients(a, b, num_iterations=5),
            lambda a, b: solvers.neumann_series(a, b, num_iterations=5, step_size=1.0),
        ):
            assert np.isfinite(solve(lambda v: factor * v, b)).all()
    zero = solvers.conjugate_gradients(lambda v: v, 0 * b, num_iterations=5)
    np.testing.assert_array_equal(zero, np.zeros(3))


def test_gauss_newton_is_the_hessian_without_the_curvature_of_the_model(x64):
    rng = np.random.default_rng(4)
    x, y = jnp.asarray(rng.normal(size=(5, 3))), jnp.eye(2)[jnp.arange(5) % 2]
    params = {
        "a": jnp.asarray(rng.normal(size=(3, 4))),
        "b": jnp.asarray(rng.normal(size=(4, 2))),
    }
    vector = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
    loss_fn = lambda z: -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=1))
    flat, unflatten = ravel_pytree(params)
    model = lambda flat: jnp.tanh(x @ unflatten(flat)["a"]) @ unflatten(flat)["b"]
    jacobian = jax.jit(jax.jacobian(model))(flat).reshape(10, -1)
    curvature = jax.hessian(lambda z: loss_fn(z.reshape(5, 2)))(model(flat).ravel())
    v = ravel_pytree(vector)[0]
    found = jax.jit(
        lambda params, vector: hypergradient.gauss_newton_product(
            lambda p: jnp.tanh(x @ p["a"]) @ p["b"], loss_fn, params, vector
        )
    )(params, vector)
    found = ravel_pytree(found)[0]
    np.testing.assert_allclose(found, jacobian.T @ (curvature @ (jacobian @ v)))


def test_a_product_given_stands_for_that_of_the_hessian(x64):
    logistic = Problem(cross_entropy)
    model_fn = lambda w: logistic.synthetic["x"] @ w
    expected = logistic.gradient(num_iterations=30)

    def product_fn(w, synthetic, vector):
        loss_fn = lambda z: (
            -jnp.mean(jnp.sum(synthetic["y"] * jax.nn.log_softmax(z), axis=1))
        )
        curved = hypergradient.gauss_newton_product(model_fn, loss_fn, w, vector)
        return curved + DECAY * vector

    # A linear model has no curvature of its own.
    found = logistic.gradient(num_iterations=30, product_fn=product_fn)
    assert difference(found, expected) < 1e-10
    twice = lambda *args: 2 * product_fn(*args)
    half = logistic.gradient(num_iterations=30, product_fn=twice)
    assert difference(half["y"], 0.5 * expected["y"]) < 1e-10


def test_errors_say_what_to_use():
    check = solvers.check_solver
    with pytest.raises(errors.InputError, match=r'no solver "newman".*"neumann"'):
        check("newman", num_iterations=1)
    with pytest.raises(errors.InputError, match="at least 1, got 0"):
        check("cg", num_iterations=0)
    for damping in (-0.1, float("nan")):
        with pytest.raises(errors.InputError, match="0 or a positive number"):
            check("cg", num_iterations=1, damping=damping)
    for step_size in (None, 0.0, -1.0):
        with pytest.raises(errors.InputError, match="needs a positive `step_size`"):
            check("neumann", num_iterations=1, step_size=step_size)
    for name in ("clip_ratio", "clip_norm"):
        with pytest.raises(errors.InputError, match=f"`{name}` is 0"):
            check("cg", num_iterations=1, **{name: 0})
    with pytest.raises(errors.InputError, match="at least 1"):
        Problem(squared_error).value_fn(jnp.zeros((4, 3)), num_iterations=0)(
            Problem(squared_error).synthetic
        )
