# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels of several draws of images, learned one after another by one program.

For studies: no folder, no checkpoints, no log. :func:`distill_jax.run` has all of them
for one draw.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from distill_jax import base, data, errors, runtime
from distill_jax.compute import compiling
from distill_jax.types import Key

__all__ = ["LearnedDraws", "learn_draws"]


class LearnedDraws(NamedTuple):
    """What :func:`learn_draws` learns of R draws."""

    x: np.ndarray  # [R, M, ...] images, as the networks see them
    y: np.ndarray  # [R, M, C] labels
    learning_rate: np.ndarray | None  # [R] where it is learned
    loss: np.ndarray  # [R, num_steps]
    compile_seconds: float
    run_seconds: float  # of the steps of all draws


def learn_draws(
    key: Key,
    recipes: Sequence[base.Recipe],
    dataset: data.Dataset,
    *,
    num_steps: int,
) -> LearnedDraws:
    """Takes the steps of recipes that differ in where they start alone.

    The first one's method takes the steps of all, and is compiled once. What is learned
    of a draw depends on the key and its number, not on the others.

    Args:
      key: of everything random.
      recipes: R of one method with the same options but ``index``, the images.
      dataset: what they learn from.
      num_steps: the length of each run.

    Returns:
      :class:`LearnedDraws`.

    Raises:
      InputError: when there is no recipe or step.
      NonFiniteError: when a loss is not finite.

    Example:
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> index = dj.selection.random_subsets(
      ...     jax.random.key(0), digits, 1, num_draws=2)
      >>> recipes = [
      ...     dj.methods.label_ridge(task, num_per_class=1, index=rows, batch_size=32)
      ...     for rows in index]
      >>> dj.methods.learn_draws(
      ...     jax.random.key(1), recipes, digits, num_steps=2).y.shape
      (2, 10, 10)
    """
    errors.check_counts(num_recipes=len(recipes), num_steps=num_steps)
    method, sampler = recipes[0].method, recipes[0].sampler
    source = recipes[0].source_fn(dataset)
    init = compiling.jit(method.init)
    compiled, sets, losses, seconds = None, [], [], 0.0
    for number, recipe in enumerate(recipes):
        key_draw = jax.random.fold_in(key, number)
        key_images, key_state, key_steps = jax.random.split(key_draw, 3)
        state = init(key_state, recipe.initial_fn(key_images, dataset))
        arguments: Any = key_steps, state, source
        if compiled is None:
            compiled = runtime.compile_steps(
                method, sampler, num_steps=num_steps, arguments=arguments
            )
        start = time.perf_counter()
        end, infos = compiled.run(*arguments)
        losses.append(_finite(np.asarray(infos.loss), number))
        seconds += time.perf_counter() - start
        sets.append(jax.device_get(method.read(end)))
    assert compiled is not None  # There is a recipe.
    stacked: Any = jax.tree.map(lambda *leaves: np.stack(leaves), *sets)
    return LearnedDraws(
        x=stacked.x,
        y=stacked.y,
        learning_rate=stacked.learning_rate,
        loss=np.stack(losses),
        compile_seconds=compiled.seconds,
        run_seconds=seconds,
    )


def _finite(loss: np.ndarray, number: int) -> np.ndarray:
    """The losses of a draw, which are finite."""
    if not np.isfinite(loss).all():
        step = int(np.flatnonzero(~np.isfinite(loss))[0])
        raise errors.NonFiniteError(
            f"The loss of draw {number} is not finite at step {step + 1}; lower the "
            "learning rate of the labels, or clip their gradients."
        )
    return loss
