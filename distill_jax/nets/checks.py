# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the built-in networks refuse, in sentences that say what to use instead."""

from distill_jax import errors

__all__ = ["check_choice", "check_pictures", "check_sizes"]


def check_sizes(name: str, **counts: int) -> None:
    """Raises unless sizes of a network are whole numbers of at least 1.

    Args:
      name: of the network.
      **counts: the sizes by the names of their options.

    Raises:
      InputError: if one is not.

    Example:
      >>> check_sizes("resnet18", num_classes=10, width=64)
    """
    for option, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise errors.InputError(
                f'The {option} of the network "{name}" must be a whole number of at '
                f"least 1, got {value}."
            )


def check_choice(name: str, option: str, value: str, known: tuple[str, ...]) -> None:
    """Raises unless an option of a network has one of its known values.

    Args:
      name: of the network.
      option: its name.
      value: what was passed.
      known: what may be passed.

    Raises:
      InputError: if the value is not known.

    Example:
      >>> check_choice("resnet18", "norm", "batch", ("instance", "batch"))
    """
    if value not in known:
        raise errors.InputError(
            f'The network "{name}" has no {option} "{value}". '
            f"{errors.nearest(str(value), known)}"
        )


def check_pictures(name: str, shape: tuple[int, ...]) -> None:
    """Raises unless examples are pictures.

    Args:
      name: of the network.
      shape: of one example.

    Raises:
      InputError: if the shape is not (height, width, channels).

    Example:
      >>> check_pictures("resnet18", (32, 32, 3))
    """
    if len(shape) != 3:
        raise errors.InputError(
            f'The network "{name}" takes pictures of shape (height, width, channels), '
            f"but one example has the shape {tuple(shape)}; use `nets.mlp` for such "
            "data."
        )
