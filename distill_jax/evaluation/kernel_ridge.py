# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Judges a distilled set without training: kernel ridge regression on real data.

accuracy = mean_n [ argmax_c (K_ns (K_ss + r tr(K_ss) / M I)^{-1} Y_s)_c = y_n ]

The evaluation of Nguyen, Chen and Lee, "Dataset Meta-Learning from Kernel
Ridge-Regression", 2021. It is deterministic, and says nothing about networks of finite
width, for which there is :func:`~distill_jax.evaluation.evaluate`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import data as data_lib
from distill_jax import errors, tasks
from distill_jax.evaluation import checks
from distill_jax.inner import ntk
from distill_jax.inner import ridge as ridges
from distill_jax.types import Array

__all__ = ["kernel_ridge_accuracy"]


def kernel_ridge_accuracy(
    synthetic: Any,
    dataset: data_lib.Dataset,
    *,
    kernel: ntk.Kernel | None = None,
    ridge: float = 1e-6,
    split: str = "test",
    chunk_size: int = 1024,
) -> float:
    """The accuracy of kernel ridge regression from a distilled set.

    Args:
      synthetic: M rows in the space the networks see; labels ``[M, C]``, best centred,
        since the regression has no offset.
      dataset: the real data set; its raw inputs are normalised some at a time.
      kernel: ``(x [N, ...], x' [M, ...]) -> [N, M]``; by default the neural tangent
        kernel of a fully connected network with one hidden layer. A second call with
        the same function compiles nothing.
      ridge: the regulariser, as a multiple of the mean diagonal of the kernel.
      split: ``"test"``, ``"validation"`` or ``"train"``.
      chunk_size: real examples at a time; the kernel with them is ``[chunk_size, M]``.

    Returns:
      A fraction.

    Raises:
      InputError: if the set does not fit the data, the split is unknown or empty, the
        chunk size is below 1, or the kernel is singular.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> real = dj.methods.initial_fn("real", 10)(jax.random.key(0), data)
      >>> images = dj.Synthetic(x=real.x, y=real.y - 0.1)
      >>> accuracy = dj.evaluation.kernel_ridge_accuracy(
      ...     images, data, split="validation")
      >>> 0.8 < accuracy < 1
      True

    Reference:
      Timothy Nguyen, Zhourong Chen, Jaehoon Lee, "Dataset Meta-Learning from Kernel
      Ridge-Regression", 2021, section 3.
    """
    checks.check_split(dataset, split)
    checks.check_synthetic(synthetic, dataset, None)
    errors.check_counts(chunk_size=chunk_size)
    kernel = _default_kernel() if kernel is None else kernel
    x_syn, y_syn = jnp.asarray(synthetic.x), jnp.asarray(synthetic.y)
    weights = ridges.dual_weights(
        _with_itself(x_syn, kernel=kernel), y_syn, ridge=ridge
    )
    arrays = getattr(dataset, split)
    normalizer = jax.tree.map(jnp.asarray, dataset.spec.normalizer)
    num_right = 0
    for start in range(0, len(arrays.y), chunk_size):
        rows = slice(start, start + chunk_size)
        x = jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), arrays.x)
        y = jnp.asarray(arrays.y[rows])
        right = _are_right(x, y, normalizer, x_syn, weights, kernel=kernel)
        num_right += int(np.sum(np.asarray(right)))
    return num_right / len(arrays.y)


@functools.cache
def _default_kernel() -> ntk.Kernel:
    """One function for all calls, since programs are kept by it."""
    return ntk.fully_connected_kernel()


@functools.partial(jax.jit, static_argnames="kernel")
def _with_itself(x: Array, *, kernel: ntk.Kernel) -> Array:
    return kernel(x, x)


@functools.partial(jax.jit, static_argnames="kernel")
def _are_right(
    x: Any,
    y: Array,
    normalizer: Any,
    x_syn: Array,
    weights: Array,
    *,
    kernel: ntk.Kernel,
) -> Array:
    """Which raw inputs get their class; none without a finite output."""
    x = data_lib.normalize(normalizer, x)
    return tasks.is_right(kernel(x, x_syn) @ weights, y)
