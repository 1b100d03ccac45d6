# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a data set is, apart from its examples: names, shapes, the normaliser."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from distill_jax import errors
from distill_jax.data import normalizer as normalizers

__all__ = ["DataSpec"]


@dataclasses.dataclass(frozen=True, eq=False)
class DataSpec:
    """What a data set is, apart from its examples.

    Attributes:
      name: the name it was loaded by.
      shape: the shape of one example, ``(H, W, channels)`` for images.
      num_classes: ``C``; 0 where targets are values to be regressed.
      class_names: ``C`` names, in the order of the class numbers.
      normalizer: raw inputs to what the networks see.
      fingerprint: sha256 of the raw arrays and of the kind of normaliser.
      normalization: the kind of normaliser, with "auto" resolved.
      target_mean: [T], of each target of the training split, where they are values.
      target_std: [T], likewise; 1 for a target that is constant.
    """

    name: str
    shape: tuple[int, ...]
    num_classes: int
    class_names: tuple[str, ...]
    normalizer: normalizers.Normalizer
    fingerprint: str
    normalization: str = "none"
    target_mean: np.ndarray | None = None
    target_std: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        num_classes: int,
        *,
        name: str = "",
        class_names: Sequence[str] | None = None,
    ) -> "DataSpec":
        """Describes arrays that no data set was read from, for a task on them.

        Args:
          shape: of one example.
          num_classes: ``C``, at least 1.
          name: of the data, by which published settings are looked up.
          class_names: ``C`` names; the class numbers by default.

        Returns:
          A :class:`DataSpec` whose normaliser leaves inputs as they are: the networks
          see 0 as black and 1 as white.

        Raises:
          InputError: for a size or count below 1, or names of another number.

        Example:
          >>> DataSpec.of((8, 8, 1), 2).class_names
          ('0', '1')
        """
        errors.check_counts(num_classes=num_classes)
        for size in shape:
            errors.check_counts(shape=size)
        names = tuple(
            map(str, range(num_classes) if class_names is None else class_names)
        )
        if len(names) != num_classes:
            raise errors.InputError(
                f"There are {len(names)} `class_names` for {num_classes} classes; give "
                "one for each, or none."
            )
        as_it_is = normalizers.identity_normalizer(shape[-1] if shape else 1)
        return cls(name, tuple(shape), num_classes, names, as_it_is, fingerprint="")

    @property
    def num_targets(self) -> int:
        """T, the values that are regressed; 0 where examples have classes."""
        return 0 if self.target_mean is None else len(self.target_mean)
