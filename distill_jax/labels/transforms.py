# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All functions from labels to labels, by one name.

They are pure, take tables ``[..., C]`` and can be jitted, mapped and differentiated:
:mod:`~distill_jax.labels.logits` makes labels of what experts say,
:mod:`~distill_jax.labels.ranks` moves entries by their rank, and
:mod:`~distill_jax.labels.mass` takes mass away or spreads it.
"""

from distill_jax.labels.logits import (
    ensemble_logits,
    from_logits,
    log_from_logits,
    sharpen,
)
from distill_jax.labels.mass import (
    clip_small,
    drop_class,
    harden,
    interpolate,
    mix_noise_lowest_entropy,
    noisy_true_class,
    normalize,
    permute_classes,
    remove_class_mass,
    smooth,
)
from distill_jax.labels.ranks import (
    ranks,
    shuffle_non_top,
    swap_rank,
    swap_ranks,
    top_k,
)

__all__ = [
    "clip_small",
    "drop_class",
    "ensemble_logits",
    "from_logits",
    "harden",
    "interpolate",
    "log_from_logits",
    "mix_noise_lowest_entropy",
    "noisy_true_class",
    "normalize",
    "permute_classes",
    "ranks",
    "remove_class_mass",
    "sharpen",
    "shuffle_non_top",
    "smooth",
    "swap_rank",
    "swap_ranks",
    "top_k",
]
