# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distillation as the bilevel problem it is, by implicit differentiation.

    min_S  mean loss(theta*(S); real),
    theta*(S) = argmin_theta  mean loss(theta; S) + w/2 |theta|^2

The networks of a pool follow theta*(S) by ordinary training, of which nothing is kept;
the derivative is that of the implicit function theorem at where they are.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, errors, tasks
from distill_jax.augmentation import policies
from distill_jax.inner import hypergradient, solvers
from distill_jax.training import gradient_step, loop, minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key, PyTree

__all__ = ["implicit_bilevel"]

Curvature = Literal["hessian", "gauss_newton"]


def implicit_bilevel(
    task: base.Task,
    *,
    num_networks: int = 4,
    num_active: int = 1,
    max_age: int = 20,
    num_steps: int = 50,
    optimizer: optax.GradientTransformation | None = None,
    weight_decay: float = 1e-2,
    curvature: Curvature = "gauss_newton",
    solver: solvers.Solver = "cg",
    num_iterations: int = 20,
    damping: float = 1e-3,
    step_size: float | None = None,
    clip_norm: float | None = None,
    policy: policies.Policy | None = None,
) -> base.Objective:
    """Lowers the real loss of networks trained to an optimum on the synthetic examples.

    Batches are real :class:`~distill_jax.base.Examples`. Fresh members of the pool take
    ``num_steps`` steps at once, and so many more on the *updated* synthetic set in
    every turn, with all its examples in each; weight decay is part of their gradient.

    Args:
      task: a task whose ``y`` are class probabilities, with networks without running
        statistics.
      num_networks: P, the size of the pool.
      num_active: networks of each outer step; the loss is their mean.
      max_age: turns after which a member is replaced; 0 for a fresh one every time.
      num_steps: T of every turn.
      optimizer: of the members; Adam with the rate 1e-2 where None.
      weight_decay: w, at least 0; above 0 there is an optimum at a finite place.
      curvature: ``"hessian"``, or ``"gauss_newton"``: without the curvature of the
        network, so that the operator is positive definite also off the optimum.
      solver: ``"cg"`` or ``"neumann"``, see :mod:`distill_jax.inner.hypergradient`.
      num_iterations: of the solver.
      damping: added to the curvature, beside w.
      step_size: of the Neumann series.
      clip_norm: the gradient in the inputs, and that in the labels, that follow one
        member may be so long.
      policy: what augmentation of the synthetic examples is drawn from, or None; one
        draw for each step of training, and one for the derivative.

    Returns:
      An :class:`~distill_jax.base.Objective`. Its inner state is a
      :class:`~distill_jax.training.pool.Pool`. The metrics are those of
      :class:`~distill_jax.inner.hypergradient.Diagnostics`, as means over the active.

    Raises:
      InputError: for targets that are no class probabilities, a network with running
        statistics, an unknown curvature or solver, counts below 1, a negative damping
        or weight decay.

    Example:
      >>> import distill_jax as dj
      >>> from distill_jax.objectives import implicit
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> objective = implicit.implicit_bilevel(task, num_networks=1, num_steps=5)
      >>> few = dj.Synthetic(x=jnp.ones((10, 8, 8, 1)), y=jnp.eye(10))
      >>> pool = jax.eval_shape(objective.init, jax.random.key(0), few)
      >>> loss, aux = jax.eval_shape(
      ...     objective.loss, few, jax.random.key(1), pool, few)
      >>> sorted(aux.metrics)
      ['implicit_norm', 'inner_gradient_norm', 'residual']

    Reference:
      Noel Loo et al., "Dataset Distillation with Convexified Implicit Gradients", 2023,
      section 3 (without its linearisation and its last layer in closed form).
    """
    _check(task, num_steps, weight_decay, curvature)
    solvers.check_solver(
        solver,
        num_iterations=num_iterations,
        damping=damping,
        step_size=step_size,
        clip_norm=clip_norm,
    )
    trainer = optax.chain(
        optax.add_decayed_weights(weight_decay), optimizer or optax.adam(1e-2)
    )

    def train(key, variables, opt, synthetic):
        return loop.fit_further(
            key,
            variables,
            opt,
            task,
            synthetic,
            optimizer=trainer,
            num_steps=num_steps,
            batch_size=len(synthetic.y),
            policy=policy,
        )

    def trained_network(key: Key, synthetic: base.Synthetic) -> base.Variables:
        key_net, key_train = jax.random.split(key)
        variables = tasks.init_network(task, key_net)
        return train(key_train, variables, trainer.init(variables.params), synthetic)[0]

    def make_pool(key: Key, init_fn: Callable[[Key], base.Variables]) -> pools.Pool:
        return pools.init_pool(
            key,
            init_fn,
            trainer,
            num_networks=num_networks,
            num_active=num_active,
            max_age=max_age,
        )

    # Traced without training, which checks the counts here already.
    untrained = lambda key: make_pool(key, lambda key: tasks.init_network(task, key))
    _check_stateless(jax.eval_shape(untrained, jax.random.key(0)).variables)

    def init(key: Key, synthetic: base.Synthetic) -> pools.Pool:
        return make_pool(key, lambda key: trained_network(key, synthetic))

    def one_network(args: tuple[Key, PyTree], synthetic: base.Synthetic, real: Any):
        key, params = args
        key_augment, key_inner, key_outer = jax.random.split(key, 3)

        def bent(synthetic):
            batch = base.Examples(synthetic.x, synthetic.y, synthetic.weight)
            return minibatches.augment_batch(key_augment, policy, batch)

        def inner_fn(params, synthetic):
            size = optax.tree.norm(params, squared=True)
            mean = _mean_loss(task, params, key_inner, bent(synthetic))
            return mean + 0.5 * weight_decay * size

        def product_fn(params, synthetic, vector):
            curved = _gauss_newton(task, params, bent(synthetic), vector)
            return jax.tree.map(lambda c, v: c + weight_decay * v, curved, vector)

        return hypergradient.through_optimum(
            lambda params, synthetic: _mean_loss(task, params, key_outer, real),
            inner_fn,
            params,
            synthetic,
            solver=solver,
            num_iterations=num_iterations,
            damping=damping,
            step_size=step_size,
            clip_norm=clip_norm,
            product_fn=product_fn if curvature == "gauss_newton" else None,
        )

    def loss(synthetic, key, inner, batch):
        keys = jax.random.split(key, num_active)
        values, told = pools.map_networks(
            lambda args: one_network(args, synthetic, batch),
            (keys, pools.members(inner).params),
        )
        metrics = {
            "residual": jnp.mean(told.residual),
            "inner_gradient_norm": jnp.mean(told.inner_gradient_norm),
            "implicit_norm": jnp.mean(told.implicit_norm),
        }
        return jnp.mean(values), base.Aux(metrics=metrics)

    def advance(key, inner, synthetic, batch):
        del batch  # Members train on the synthetic set.
        return pools.advance_pool(
            key,
            inner,
            init_fn=lambda key: trained_network(key, synthetic),
            optimizer=trainer,
            train_fn=lambda key, variables, opt: train(key, variables, opt, synthetic),
            max_age=max_age,
        )

    return base.Objective(
        init=init, loss=loss, advance=advance, read=lambda synthetic, inner: synthetic
    )


def _mean_loss(task: base.Task, params: PyTree, key: Key, examples: Any) -> Array:
    losses, _ = task.train_loss(base.Variables(params, {}), key, examples, None)
    return gradient_step.weighted_mean(losses, examples.weight)


def _gauss_newton(
    task: base.Task, params: PyTree, examples: base.Examples, vector: PyTree
) -> PyTree:
    """The curvature of the mean cross-entropy as if logits were linear in params."""

    def loss_fn(logits):
        losses = -jnp.sum(examples.y * jax.nn.log_softmax(logits), axis=-1)
        return gradient_step.weighted_mean(losses, examples.weight)

    model_fn = lambda p: task.predict(base.Variables(p, {}), examples.x, None)
    return hypergradient.gauss_newton_product(model_fn, loss_fn, params, vector)


def _check(
    task: base.Task, num_steps: int, weight_decay: float, curvature: str
) -> None:
    if task.targets != "probabilities":
        raise errors.InputError(
            "The implicit objective trains and judges by the cross-entropy, but the "
            f'task has targets of the kind "{task.targets}"; use `task.retarget'
            '("probabilities")`.'
        )
    if num_steps < 1:
        raise errors.InputError(f"`num_steps` must be at least 1, got {num_steps}.")
    if not weight_decay >= 0:
        raise errors.InputError(
            f"`weight_decay` is {weight_decay}, with which training has no optimum; "
            "use a positive number."
        )
    known = get_args(Curvature)
    if curvature not in known:
        raise errors.InputError(
            f'There is no curvature "{curvature}". '
            f"{errors.nearest(str(curvature), known)}"
        )


def _check_stateless(variables: base.Variables) -> None:
    if jax.tree.leaves(variables.stats):
        raise errors.InputError(
            "The network has running statistics (batch norm), which move with every "
            "step, so that training on the synthetic examples has no optimum in the "
            'parameters alone; use a network with another norm, such as "instance".'
        )
