# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How experts are to be trained: plain data, one record."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from distill_jax import errors
from distill_jax.augmentation import policies
from distill_jax.training import sharpness as sharpness_lib

__all__ = ["ExpertPlan"]


@dataclasses.dataclass(frozen=True)
class ExpertPlan:
    """How experts are trained, and which of their epochs are kept.

    Attributes:
      num_experts: E.
      num_epochs: of each, by plain SGD.
      learning_rate: of SGD.
      momentum: of SGD; trajectories are made without.
      weight_decay: added to the gradient of every parameter.
      batch_size: of mini-batches.
      augmentation: a strategy string, drawn anew for every example, or ``"none"``.
      sharpness: avoided where given (GSAM): a
        :class:`~distill_jax.training.sharpness.Sharpness` or a mapping of its fields.
      first_epoch: the first epoch to keep.
      last_epoch: the last epoch to keep; by default the last there is.
      keeps_end: whether the last epoch of all is kept too.
      dtype: ``"float32"`` or ``"float16"``, of what is kept.
      seed: of everything random.

    Raises:
      InputError: from construction, for a value out of its range.

    Example:
      >>> ExpertPlan(num_epochs=5, last_epoch=2, keeps_end=True).kept()
      [0, 1, 2, 5]
    """

    num_experts: int = 10
    num_epochs: int = 20
    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256
    augmentation: str = "none"
    sharpness: sharpness_lib.Sharpness | Mapping[str, Any] | None = None
    first_epoch: int = 0
    last_epoch: int | None = None
    keeps_end: bool = False
    dtype: Literal["float32", "float16"] = "float32"
    seed: int = 0

    def __post_init__(self):
        if isinstance(self.sharpness, Mapping):
            sharpness = sharpness_lib.Sharpness(**self.sharpness)
            object.__setattr__(self, "sharpness", sharpness)
        for name in ("num_experts", "num_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise errors.InputError(
                    f"`{name}` of the experts must be at least 1, got "
                    f"{getattr(self, name)}."
                )
        if not self.learning_rate > 0:
            raise errors.InputError(
                "`learning_rate` of the experts must be above 0, got "
                f"{self.learning_rate}."
            )
        if self.dtype not in ("float32", "float16"):
            raise errors.InputError(
                f'`dtype` of the experts is "{self.dtype}"; use "float32" or "float16".'
            )
        last = self.num_epochs if self.last_epoch is None else self.last_epoch
        if not 0 <= self.first_epoch <= last <= self.num_epochs:
            raise errors.InputError(
                f"The epochs {self.first_epoch} to {last} of the experts are to be "
                f"kept, but there are 0 to {self.num_epochs}."
            )

    def kept(self) -> list[int]:
        """The epochs that are kept, in ascending order."""
        last = self.num_epochs if self.last_epoch is None else self.last_epoch
        epochs = list(range(self.first_epoch, last + 1))
        if self.keeps_end and last < self.num_epochs:
            epochs.append(self.num_epochs)
        return epochs

    def training(self) -> dict[str, Any]:
        """The options of :func:`distill_jax.experts.training.train_expert`."""
        return {
            "num_epochs": self.num_epochs,
            "learning_rate": self.learning_rate,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "batch_size": self.batch_size,
            "policy": policies.parse(self.augmentation, align_corners=True),
            "sharpness": self.sharpness,
        }
