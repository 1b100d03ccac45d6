# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distillation as the bilevel problem it is, by implicit differentiation.

    min_S  mean loss(theta*(S); real),
    theta*(S) = argmin_theta  mean loss(theta; S) + w/2 |theta|^2

The networks of a pool follow theta*(S) by ordinary training, of which nothing is kept;
the derivative is that of the implicit function theorem at where they are.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, deprecations, errors, tasks
from distill_jax.augmentation import policies
from distill_jax.compute import rows
from distill_jax.inner import hypergradient, solvers
from distill_jax.objectives import checks
from distill_jax.training import gradient_step, loop, minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key, PyTree

__all__ = ["implicit_bilevel"]

Curvature = Literal["hessian", "gauss_newton"]


@deprecations.gathered_arguments("solver_options", solvers.SolverOptions)
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
    solver_options: solvers.SolverOptions = solvers.SolverOptions(damping=1e-3),
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
      solver_options: how the linear system is solved, see
        :mod:`distill_jax.inner.hypergradient`. Its damping is added to the curvature,
        beside w; its clips bound the gradient in the inputs, and that in the labels,
        that follow one member.
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
      >>> synthetic = dj.Synthetic(x=jnp.ones((10, 8, 8, 1)), y=jnp.eye(10))
      >>> pool = jax.eval_shape(objective.init, jax.random.key(0), synthetic)
      >>> loss, aux = jax.eval_shape(
      ...     objective.loss, synthetic, jax.random.key(1), pool, synthetic)
      >>> sorted(aux.metrics)
      ['implicit_norm', 'inner_gradient_norm', 'residual']

    Reference:
      Noel Loo et al., "Dataset Distillation with Convexified Implicit Gradients", 2023,
      section 3 (without its linearisation and its last layer in closed form).
    """
    _check(task, num_steps, weight_decay, curvature)
    pools.check_pool(num_networks, num_active, max_age)
    solvers.check_solver(**solver_options._asdict())
    problem = _Problem(task, weight_decay, policy, curvature, solver_options)
    decay = optax.add_decayed_weights(weight_decay)
    trainer = optax.chain(decay, optimizer or optax.adam(1e-2))
    train_fn = functools.partial(_train, task, trainer, num_steps, policy)
    init_fn = functools.partial(_trained_learner, task, trainer, train_fn)
    pool_size = {"num_networks": num_networks, "num_active": num_active}
    pool_options = {"optimizer": trainer, "max_age": max_age}

    def init(key: Key, synthetic: base.Synthetic) -> pools.Pool:
        return pools.init_pool(
            key, functools.partial(init_fn, synthetic), **pool_size, **pool_options
        )

    def loss(synthetic, key, inner, batch):
        checks.check_no_contexts(batch, "The implicit objective", checks.HAS_OWN)
        real = tasks.encode_batch(task, batch)
        keys = jax.random.split(key, len(inner.active))
        values, diagnostics = pools.map_networks(
            lambda args: _outer_value(problem, synthetic, real, *args),
            (keys, pools.learners(inner)),
        )
        metrics = _mean_metrics(diagnostics)
        return jnp.mean(values), base.Aux(metrics=metrics)

    def advance(key, inner, synthetic, batch):
        del batch  # Members train on the synthetic set.
        return pools.advance_pool(
            key,
            inner,
            init_fn=functools.partial(init_fn, synthetic),
            train_fn=functools.partial(train_fn, synthetic),
            **pool_options,
        )

    at = functools.partial(pools.pool_of, optimizer=trainer)
    return base.Objective(init=init, loss=loss, advance=advance, at=at)


class _Problem(NamedTuple):
    """What a network is trained to, and how the derivative follows it there."""

    task: base.Task
    weight_decay: float
    policy: policies.Policy | None
    curvature: Curvature
    solver_options: solvers.SolverOptions


def _outer_value(
    problem: _Problem,
    synthetic: base.Synthetic,
    real: base.Examples,
    key: Key,
    learner: base.Learner,
) -> tuple[Array, hypergradient.Diagnostics]:
    """``mean loss(theta*(S); real)`` of one network, with its derivative in S."""
    key_augment, key_inner, key_outer = jax.random.split(key, 3)
    task, context = problem.task, learner.context
    product_fn = None  # The Hessian itself.
    if problem.curvature == "gauss_newton":
        product_fn = functools.partial(_gauss_newton, problem, context, key_augment)
    return hypergradient.through_optimum(
        lambda params, synthetic: _mean_loss(task, params, key_outer, real, context),
        functools.partial(_inner_value, problem, context, key_augment, key_inner),
        learner.variables.params,
        synthetic,
        solver_options=problem.solver_options,
        product_fn=product_fn,
    )


def _mean_metrics(diagnostics: hypergradient.Diagnostics) -> dict[str, Array]:
    """How well the optimum was followed, as means over the networks."""
    names = ("residual", "inner_gradient_norm", "implicit_norm")
    return {name: jnp.mean(getattr(diagnostics, name)) for name in names}


def _inner_value(
    problem: _Problem,
    context: Any,
    key_augment: Key,
    key_loss: Key,
    params: PyTree,
    synthetic: base.Synthetic,
) -> Array:
    """``mean loss(theta; S) + w/2 |theta|^2``, what a network is trained to lower."""
    size = optax.tree.norm(params, squared=True)
    examples = _augmented(problem, key_augment, synthetic)
    mean = _mean_loss(problem.task, params, key_loss, examples, context)
    return mean + 0.5 * problem.weight_decay * size


def _gauss_newton(
    problem: _Problem,
    context: Any,
    key_augment: Key,
    params: PyTree,
    synthetic: base.Synthetic,
    vector: PyTree,
) -> PyTree:
    """The curvature of the inner value as if logits were linear in the parameters."""
    examples = _augmented(problem, key_augment, synthetic)
    output_loss = problem.task.output_loss
    assert output_loss is not None  # As was checked.

    def loss_fn(outputs):
        losses = output_loss(outputs, examples.y)
        return gradient_step.weighted_mean(losses, examples.weight)

    def model_fn(params):
        return problem.task.predict(base.Variables(params, {}), examples.x, context)

    curved = hypergradient.gauss_newton_product(model_fn, loss_fn, params, vector)
    return jax.tree.map(lambda c, v: c + problem.weight_decay * v, curved, vector)


def _augmented(problem: _Problem, key: Key, synthetic: base.Synthetic) -> base.Examples:
    """The synthetic examples after the draw that the derivative is taken at."""
    examples = rows.examples_of(synthetic)
    return minibatches.augment_batch(key, problem.policy, examples)


def _mean_loss(
    task: base.Task, params: PyTree, key: Key, examples: Any, context: Any
) -> Array:
    losses, _ = task.train_loss(base.Variables(params, {}), key, examples, context)
    return gradient_step.weighted_mean(losses, examples.weight)


def _trained_learner(
    task: base.Task,
    trainer: optax.GradientTransformation,
    train_fn: Callable,
    synthetic: base.Synthetic,
    key: Key,
) -> base.Learner:
    """A network after the first of its turns, and its context."""
    key_net, key_train = jax.random.split(key)
    variables, context = tasks.init_learner(task, key_net)
    opt = trainer.init(variables.params)
    variables, _ = train_fn(synthetic, key_train, variables, opt, context)
    return base.Learner(variables, context)


def _train(
    task: base.Task,
    trainer: optax.GradientTransformation,
    num_steps: int,
    policy: policies.Policy | None,
    synthetic: base.Synthetic,
    key: Key,
    variables: base.Variables,
    opt: optax.OptState,
    context: Any,
) -> tuple[base.Variables, optax.OptState]:
    """A turn of one network, with all examples in each step."""
    return loop.fit_further(
        key,
        variables,
        opt,
        task,
        synthetic,
        optimizer=trainer,
        num_steps=num_steps,
        batching=minibatches.Batching(len(synthetic.y), policy),
        context=context,
    )


def _check(
    task: base.Task, num_steps: int, weight_decay: float, curvature: str
) -> None:
    errors.check_counts(num_steps=num_steps)
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
    if curvature == "gauss_newton" and task.output_loss is None:
        raise errors.InputError(
            "The Gauss-Newton curvature needs the loss of a network's outputs, and the "
            'task has no `output_loss`; use `curvature="hessian"`.'
        )
    _check_stateless(tasks.network_shapes(task))


def _check_stateless(variables: base.Variables) -> None:
    if jax.tree.leaves(variables.stats):
        raise errors.InputError(
            "The network has running statistics (batch norm), which move with every "
            "step, so that training on the synthetic examples has no optimum in the "
            'parameters alone; use a network with another norm, such as "instance".'
        )
