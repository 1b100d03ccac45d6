# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How experts are trained: plain data, one record for all who train them.

:class:`Training` says how one expert is trained, and labels and scores need no more.
:class:`ExpertPlan` is such a record with what a buffer adds: how many experts there
are, and which of their epochs are kept.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from distill_jax import errors
from distill_jax.augmentation import policies
from distill_jax.training import sharpness as sharpness_lib

__all__ = ["ExpertPlan", "Training"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How one expert is trained on the real data.

    Attributes:
      num_epochs: by plain SGD; 0 leaves the network untrained.
      learning_rate: of SGD; small ones give finer early epochs.
      momentum: of SGD; trajectories are made without.
      weight_decay: added to the gradient of every parameter.
      batch_size: of mini-batches; the short last one of an epoch is kept.
      augmentation: a strategy string, drawn anew for every example, ``"none"``, or a
        :class:`~distill_jax.augmentation.policies.Policy`.
      augmentation_align_corners: the convention of scale and rotate in the strategy.
      drops_rate: whether the learning rate is a tenth after ``num_epochs // 2 + 2``
        epochs, as an option of the released code of trajectory matching.
      sharpness: avoided where there is one, as FTD's and DATM's experts do (GSAM): a
        :class:`~distill_jax.training.sharpness.Sharpness` or a mapping of its fields.

    Raises:
      InputError: from construction, for a value out of its range.

    Example:
      >>> Training(num_epochs=40, learning_rate=0.05).batch_size
      256
    """

    num_epochs: int = 20
    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256
    augmentation: str | policies.Policy = "none"
    augmentation_align_corners: bool = True
    drops_rate: bool = False
    sharpness: sharpness_lib.Sharpness | Mapping[str, Any] | None = None

    def __post_init__(self):
        if isinstance(self.sharpness, Mapping):
            sharpness = sharpness_lib.Sharpness(**self.sharpness)
            object.__setattr__(self, "sharpness", sharpness)
        errors.check_counts(of="the experts", least=0, num_epochs=self.num_epochs)
        errors.check_counts(of="the experts", batch_size=self.batch_size)
        if not self.learning_rate > 0:
            raise errors.InputError(
                "`learning_rate` of the experts must be above 0, got "
                f"{self.learning_rate}."
            )
        self.policy()  # Raises for an augmentation that there is not.

    def policy(self) -> policies.Policy | None:
        """What augmentation is drawn from in every step; None for none.

        Example:
          >>> Training(augmentation="crop_flip").policy().operations
          ('crop', 'flip')
        """
        if isinstance(self.augmentation, policies.Policy):
            return self.augmentation
        return policies.parse(
            self.augmentation, align_corners=self.augmentation_align_corners
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertPlan(Training):
    """How the experts of a buffer are trained, and which of their epochs are kept.

    It has all fields of :class:`Training`, and:

    Attributes:
      num_experts: E.
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
    first_epoch: int = 0
    last_epoch: int | None = None
    keeps_end: bool = False
    dtype: Literal["float32", "float16"] = "float32"
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        counts = {"num_experts": self.num_experts, "num_epochs": self.num_epochs}
        errors.check_counts(of="the experts", **counts)
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

    def training(self) -> Training:
        """The training of one of the experts alone.

        Example:
          >>> ExpertPlan(num_epochs=5).training() == Training(num_epochs=5)
          True
        """
        names = [field.name for field in dataclasses.fields(Training)]
        return Training(**{name: getattr(self, name) for name in names})
