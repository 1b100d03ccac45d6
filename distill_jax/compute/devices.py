# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which devices a run takes.

Two programs side by side, each with half of the work, are faster on the cores of a
processor than one program on all of them. On the CPU the cores are therefore shown to
jax as two devices, and what a method can spread is spread over both.
"""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from distill_jax import base, errors
from distill_jax.compute import cost, parallel, recipes

__all__ = ["mesh_for", "side_by_side", "split_cpu", "usual_mesh"]

Recall = Callable[[str, Callable[[], float]], float]

_NUM_CPU_DEVICES = 2
# What is not spread is done by both devices, on half of the cores each.
_LEAST_SHARED = 0.85


def split_cpu() -> None:
    """Shows the cores of this machine to jax as two devices, before jax has started.

    Without effect on a single core, where ``XLA_FLAGS`` or ``JAX_NUM_CPU_DEVICES`` says
    how many there are, and where jax has looked at its devices already.

    Example:
      >>> split_cpu()
    """
    is_told = "JAX_NUM_CPU_DEVICES" in os.environ or "device_count" in os.environ.get(
        "XLA_FLAGS", ""
    )
    if is_told or (os.cpu_count() or 1) < _NUM_CPU_DEVICES:
        return
    with contextlib.suppress(RuntimeError):  # It has started.
        jax.config.update("jax_num_cpu_devices", _NUM_CPU_DEVICES)


def mesh_for(
    recipe: base.Recipe,
    data: Any,
    *,
    num_devices: int,
    axis: parallel.Axis,
    recall: Recall | None = None,
) -> Mesh | None:
    """The devices of a run, as its config asks for them.

    Args:
      recipe: what is run.
      data: the data set that it is run on.
      num_devices: how many; 0 for what is fastest: one accelerator or, on the CPU, the
        two devices of :func:`split_cpu` for methods that spread most of their work.
      axis: what is spread, where a number is given.
      recall: gives what an earlier process has noted under a name, or makes and notes
        it: how much the devices share takes a trace of the step to find out.

    Returns:
      A mesh, or None for a single device.

    Raises:
      InputError: when there are not so many, or not all that several processes have.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10), data.spec)
      >>> recipe = dj.methods.dm(task, num_per_class=1, batch_size=8)
      >>> mesh_for(recipe, data, num_devices=1, axis="any") is None
      True
    """
    num_all = len(jax.devices())
    if jax.process_count() > 1 and num_devices not in (0, num_all):
        raise errors.InputError(
            f"`num_devices` is {num_devices}, but {jax.process_count()} processes have "
            f"{num_all} together, and all of them take part: pass "
            f"--config.num_devices={num_all}."
        )
    if jax.process_count() > 1:
        return parallel.device_mesh(axis=axis)
    if num_devices == 1:
        return None
    if num_devices:
        return parallel.device_mesh(num_devices, axis=axis)
    mesh = usual_mesh("any")
    if mesh is None:
        return None
    count = functools.partial(_share, recipe, data, mesh)
    share = count() if recall is None else recall("share", count)
    return mesh if share >= _LEAST_SHARED else None


def side_by_side(task: base.Task, mesh: Mesh | None = None) -> Any:
    """How the networks of an evaluation are put side by side.

    Args:
      task: what they are trained for.
      mesh: the devices of the run, by default those that are fastest.

    Returns:
      What ``side_by_side`` of :func:`distill_jax.evaluation.evaluate` takes.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10), data.spec)
      >>> mesh = dj.compute.parallel.device_mesh(1)
      >>> side_by_side(task, mesh).axis_names
      ('networks',)
    """
    if jax.process_count() > 1:
        return "auto"  # Each process judges all of it; the first one tells.
    context = jax.eval_shape(task.sample_context, jax.random.key(0))
    variables = jax.eval_shape(task.init, jax.random.key(0), context)
    # Statistics join the examples of a batch. And without convolutions each weight is
    # used once for an example: sums of its gradients would cost more than is gained.
    is_joined = bool(jax.tree.leaves(variables.stats))
    has_kernels = any(leaf.ndim > 2 for leaf in jax.tree.leaves(variables.params))
    axis = "any" if has_kernels and not is_joined else "networks"
    if mesh is None:
        return usual_mesh(axis) or "auto"
    return parallel.device_mesh(mesh.size, axis=axis)


def usual_mesh(axis: parallel.Axis = "any") -> Mesh | None:
    """The two devices of a processor after :func:`split_cpu`, else None.

    Args:
      axis: what is spread over them.

    Example:
      >>> mesh = usual_mesh()
      >>> step = parallel.over_mesh(lambda x: x + 1, mesh)
    """
    if jax.default_backend() != "cpu" or len(jax.devices()) < _NUM_CPU_DEVICES:
        return None
    return parallel.device_mesh(_NUM_CPU_DEVICES, axis=axis)


def _share(recipe: base.Recipe, data: Any, mesh: Mesh) -> float:
    """The share of the multiplications of a step that the devices of a mesh share."""
    if recipe.experts is not None:
        return 1.0  # Of segments, which would have to be made; nearly all is shared.
    key = jax.random.key(0)
    initial, source = recipe.initial_fn(key, data), recipe.source_fn(data)
    state = jax.eval_shape(recipe.method.init, key, initial)
    batch = jax.eval_shape(recipe.sampler, key, 0, source)
    step = recipes.spread_recipe(recipe, data, mesh).method.step
    counted = cost.multiplications(jax.make_jaxpr(step)(key, state, batch))
    return counted.shared / counted.total if counted.total else 0.0
