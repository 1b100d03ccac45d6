# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a fresh network is trained on a distilled set: plain data, one record.

A protocol says everything but the network and the data, so that two sets can be judged
alike. The named ones are those of the papers; what a protocol means to optax is in
:mod:`distill_jax.evaluation.optimizers`.
"""

import dataclasses
from typing import Any, Literal, get_args

import numpy as np

from distill_jax import errors, types
from distill_jax.augmentation import mixing as mixing_lib
from distill_jax.augmentation import policies

__all__ = [
    "Protocol",
    "datm_protocol",
    "dc_protocol",
    "dm_protocol",
    "dsa_protocol",
    "frepo_protocol",
    "idc_protocol",
    "mtt_protocol",
    "soft_label_protocol",
]

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal[
    "constant", "step_drop", "late_drops", "cosine", "warmup_cosine", "staircase"
]
LabelMass = Literal["one", "free"]

_DSA = "color_crop_cutout_flip_scale_rotate"
# FRePo's training steps by number of synthetic examples. Its entry for 200 stands for
# 200 classes at one example each (20,000 steps) and is left out of the interpolation.
_FREPO_STEPS = {10: 1000, 100: 2000, 500: 5000, 1000: 10000, 2000: 40000, 5000: 40000}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a network is trained from scratch on a small set.

    Attributes:
      optimizer: ``"sgd"`` and ``"adam"`` add the weight decay to the gradient of every
        parameter, ``"adamw"`` decouples it.
      learning_rate: the highest one; None stands for the one learned with the set.
      momentum: of SGD.
      weight_decay: of every parameter, biases and norms too.
      schedule: ``"constant"``; ``"step_drop"``: times ``decay_rate`` once, a little
        after the middle, where the optimiser also starts anew (momentum zero);
        ``"late_drops"``: times ``decay_rate`` after two thirds and after five sixths;
        ``"cosine"`` to zero; ``"warmup_cosine"``: the same after a linear rise;
        ``"staircase"``: times ``decay_rate`` after every quarter.
      decay_rate: of ``"step_drop"``, ``"late_drops"`` and ``"staircase"``.
      warmup_steps: of ``"warmup_cosine"``.
      batch_size: of mini-batches; a smaller set is one batch.
      num_epochs: how many times every example is seen; or
      num_steps: how many mini-batches there are. Give one of the two. The papers'
        "E epochs" are E + 1 in their code and here.
      augmentation: ``"none"``, a DSA strategy, drawn anew for every example, or with
        ``"dc:"`` or ``"idc:"`` before it as
        :func:`~distill_jax.augmentation.policies.parse` reads it.
      augmentation_align_corners: the convention of scale and rotate.
      mixing: ``"none"``, ``"mixup"`` or ``"cutmix"``, of mini-batches.
      mixing_probability: of each mini-batch.
      targets: what ``y`` means to the training loss.
      label_mass: what a row of probabilities sums to: ``"one"``, or ``"free"`` where
        the sum weighs its example.

    Raises:
      InputError: from construction, for a value out of its range.

    Example:
      >>> Protocol(num_steps=500, learning_rate=0.05).momentum
      0.9
    """

    optimizer: Optimizer = "sgd"
    learning_rate: float | None = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "constant"
    decay_rate: float = 0.1
    warmup_steps: int = 0
    batch_size: int = 256
    num_epochs: int | None = None
    num_steps: int | None = None
    augmentation: str = "none"
    augmentation_align_corners: bool = False
    mixing: mixing_lib.Kind = "none"
    mixing_probability: float = 1.0
    targets: types.Targets = "probabilities"
    label_mass: LabelMass = "one"

    def __post_init__(self):
        _check_choice("optimizer", self.optimizer, get_args(Optimizer))
        _check_choice("schedule", self.schedule, get_args(Schedule))
        _check_choice("mixing", self.mixing, get_args(mixing_lib.Kind))
        policies.parse(self.augmentation)  # Raises for a name it does not know.
        _check_choice("targets", self.targets, get_args(types.Targets))
        _check_choice("label_mass", self.label_mass, get_args(LabelMass))
        rate, decay = self.learning_rate, self.weight_decay
        momentum, stair, share = self.momentum, self.decay_rate, self.mixing_probability
        _check_range("learning_rate", rate, rate is None or rate > 0, "above 0 or None")
        _check_range("momentum", momentum, 0 <= momentum < 1, "from 0 to below 1")
        _check_range("weight_decay", decay, decay >= 0, "0 or more")
        _check_range("decay_rate", stair, 0 < stair <= 1, "above 0 and at most 1")
        _check_range("mixing_probability", share, 0 <= share <= 1, "from 0 to 1")
        errors.check_counts(
            of="a protocol", batch_size=self.batch_size, **_length(self)
        )
        errors.check_counts(of="a protocol", least=0, warmup_steps=self.warmup_steps)


def dc_protocol() -> Protocol:
    """The protocol of DC and DCC: SGD 0.01, 301 epochs, no augmentation.

    Example:
      >>> dc_protocol().num_epochs
      301

    Reference:
      Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", 2021.
    """
    return Protocol(schedule="step_drop", num_epochs=301)


def dsa_protocol(*, use_flip: bool = True) -> Protocol:
    """The protocol of DSA and DSAC: as DC with augmentation and 1001 epochs.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> dsa_protocol(use_flip=False).augmentation
      'color_crop_cutout_scale_rotate'

    Reference:
      Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
      2021.
    """
    return dataclasses.replace(
        dc_protocol(), num_epochs=1001, augmentation=_strategy(use_flip)
    )


def idc_protocol(*, use_flip: bool = True) -> Protocol:
    """The protocol of IDC: SGD 0.01, 1000 epochs, CutMix in half of the mini-batches.

    The mini-batches have 64 examples. Every one is mirrored and coloured at random,
    and cropped, scaled or rotated; the rate falls to a fifth twice.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> idc_protocol().mixing, idc_protocol().mixing_probability
      ('cutmix', 0.5)
      >>> idc_protocol(use_flip=False).augmentation
      'idc:color_crop_scale_rotate'

    Reference:
      Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization",
      2022, by its released code.
    """
    return Protocol(
        schedule="late_drops",
        decay_rate=0.2,
        num_epochs=1000,
        batch_size=64,
        augmentation="idc:" + _strategy(use_flip).replace("cutout_", ""),
        mixing="cutmix",
        mixing_probability=0.5,
    )


def dm_protocol(*, use_flip: bool = True) -> Protocol:
    """The protocol of DM, which is that of DSA.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> dm_protocol() == dsa_protocol()
      True

    Reference:
      Zhao, Bilen, "Dataset Condensation with Distribution Matching", 2023.
    """
    return dsa_protocol(use_flip=use_flip)


def mtt_protocol(*, use_flip: bool = True) -> Protocol:
    """The protocol of MTT, FTD and TESLA: as DSA, with the learned learning rate.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> mtt_protocol().learning_rate is None
      True

    Reference:
      Cazenavette et al., "Dataset Distillation by Matching Training Trajectories",
      2022.
    """
    return dataclasses.replace(
        dsa_protocol(use_flip=use_flip),
        learning_rate=None,
        augmentation_align_corners=True,
    )


def datm_protocol(*, use_flip: bool = True) -> Protocol:
    """The protocol of DATM: as MTT with mini-batches of 128.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> datm_protocol().batch_size
      128

    Reference:
      Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned
      Trajectory Matching", 2024.
    """
    return dataclasses.replace(mtt_protocol(use_flip=use_flip), batch_size=128)


def frepo_protocol(num_examples: int, *, use_flip: bool = False) -> Protocol:
    """The protocol of FRePo: Adam on centred labels, longer for larger sets.

    The paper's table of steps (1000 for 10 examples, 2000 for 100, 5000 for 500, 10000
    for 1000, 40000 from 2000 on) is joined by straight lines in log steps over log
    examples. The paper trains a network without normalisation layers here.

    Args:
      num_examples: M of the distilled set.
      use_flip: whether mirror images may occur (the paper: for colour images).

    Raises:
      InputError: if there is no example.

    Example:
      >>> frepo_protocol(100).num_steps, frepo_protocol(300).num_steps
      (2000, 3738)

    Reference:
      Zhou, Nezhadarya, Ba, "Dataset Distillation using Neural Feature Regression",
      2022.
    """
    errors.check_counts(num_examples=num_examples)
    counts, steps = np.log(list(_FREPO_STEPS)), np.log(list(_FREPO_STEPS.values()))
    log_steps = np.interp(np.log(num_examples), counts, steps)
    return Protocol(
        optimizer="adam",
        learning_rate=3e-4,
        weight_decay=0.0,
        schedule="warmup_cosine",
        warmup_steps=500,
        num_steps=round(float(np.exp(log_steps))),
        augmentation="color_crop_rotate_translate_cutout" + "_flip" * use_flip,
        targets="centred",
    )


def soft_label_protocol(*, use_flip: bool = True) -> Protocol:
    """The protocol of the soft-label baseline: SGD 0.01, times 0.3 after each quarter.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> soft_label_protocol().num_epochs
      3001

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024.
    """
    return Protocol(
        schedule="staircase",
        decay_rate=0.3,
        num_epochs=3001,
        augmentation=_strategy(use_flip),
        augmentation_align_corners=True,
    )


def _strategy(use_flip: bool) -> str:
    return _DSA if use_flip else _DSA.replace("flip_", "")


def _check_choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise errors.InputError(
            f'`{name}` of a protocol is "{value}", which is not one of its choices. '
            f"{errors.nearest(str(value), known)}"
        )


def _check_range(name: str, value: Any, is_inside: bool, domain: str) -> None:
    if not is_inside:
        raise errors.InputError(
            f"`{name}` of a protocol is {value}; it must be {domain}."
        )


def _length(protocol: Protocol) -> dict[str, int]:
    """The one of the two lengths of training that a protocol has."""
    lengths = {"num_epochs": protocol.num_epochs, "num_steps": protocol.num_steps}
    known = {name: value for name, value in lengths.items() if value is not None}
    if len(known) != 1:
        raise errors.InputError(
            f"A protocol was given {' and '.join(known) or 'no length of training'}; "
            "give either `num_epochs` or `num_steps`."
        )
    return known
