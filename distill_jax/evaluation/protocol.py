# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a fresh network is trained on a distilled set: plain data, one record.

A protocol says everything but the network and the data, so that two sets can be judged
alike. The named ones are those of the papers, with two corrections of habit: nothing
here ever looks at test accuracy, and the drop of the learning rate in the middle, which
the original scripts do by making a *new* optimiser, is written down as what it is: the
momentum is forgotten too.

    learning rate at step t  =  learning_rate * factor(t),     factor = make_schedule(...)
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distill_jax import errors, types
from distill_jax.inner import learn
from distill_jax.types import Array

__all__ = [
    "Protocol",
    "datm",
    "dc",
    "dm",
    "dsa",
    "frepo",
    "make_optimizer",
    "make_schedule",
    "mtt",
    "num_steps",
    "soft_labels",
]

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "step_drop", "cosine", "warmup_cosine", "staircase"]

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
        ``"cosine"`` to zero; ``"warmup_cosine"``: the same after a linear rise;
        ``"staircase"``: times ``decay_rate`` after every quarter.
      decay_rate: of ``"step_drop"`` and ``"staircase"``.
      warmup_steps: of ``"warmup_cosine"``.
      batch_size: of mini-batches; a smaller set is one batch.
      num_epochs: how many times every example is seen; or
      num_steps: how many mini-batches there are. Give one of the two. The papers'
        "E epochs" are E + 1 in their code and here.
      augmentation: ``"none"`` or a DSA strategy, drawn anew for every example.
      augmentation_align_corners: the convention of scale and rotate.
      targets: what ``y`` means to the training loss.

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
    targets: types.Targets = "probabilities"

    def __post_init__(self):
        _check_choice("optimizer", self.optimizer, get_args(Optimizer))
        _check_choice("schedule", self.schedule, get_args(Schedule))
        _check_choice("targets", self.targets, get_args(types.Targets))
        rate, momentum, decay = self.learning_rate, self.momentum, self.decay_rate
        _check_range(
            "learning_rate", rate, rate is None or rate > 0, "above 0, or None"
        )
        _check_range("momentum", momentum, 0 <= momentum < 1, "from 0 to below 1")
        _check_range(
            "weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more"
        )
        _check_range("decay_rate", decay, 0 < decay <= 1, "above 0 and at most 1")
        _check_count("warmup_steps", self.warmup_steps, 0)
        _check_count("batch_size", self.batch_size, 1)
        _check_length(self)
        if self.schedule == "warmup_cosine" and self.num_steps is not None:
            _check_warmup(self.warmup_steps, self.num_steps)


def dc() -> Protocol:
    """The protocol of DC and DCC: SGD 0.01, 301 epochs, no augmentation.

    Example:
      >>> dc().num_epochs
      301

    Reference:
      Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", 2021.
    """
    return Protocol(schedule="step_drop", num_epochs=301)


def dsa(*, use_flip: bool = True) -> Protocol:
    """The protocol of DSA and DSAC: as DC with augmentation and 1001 epochs.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> dsa(use_flip=False).augmentation
      'color_crop_cutout_scale_rotate'

    Reference:
      Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", 2021.
    """
    return dataclasses.replace(dc(), num_epochs=1001, augmentation=_strategy(use_flip))


def dm(*, use_flip: bool = True) -> Protocol:
    """The protocol of DM, which is that of DSA.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> dm() == dsa()
      True

    Reference:
      Zhao, Bilen, "Dataset Condensation with Distribution Matching", 2023.
    """
    return dsa(use_flip=use_flip)


def mtt(*, use_flip: bool = True) -> Protocol:
    """The protocol of MTT, FTD and TESLA: as DSA, with the learned learning rate.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> mtt().learning_rate is None
      True

    Reference:
      Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", 2022.
    """
    return dataclasses.replace(
        dsa(use_flip=use_flip), learning_rate=None, augmentation_align_corners=True
    )


def datm(*, use_flip: bool = True) -> Protocol:
    """The protocol of DATM: as MTT with mini-batches of 128.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> datm().batch_size
      128

    Reference:
      Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned
      Trajectory Matching", 2024.
    """
    return dataclasses.replace(mtt(use_flip=use_flip), batch_size=128)


def frepo(num_examples: int, *, use_flip: bool = False) -> Protocol:
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
      >>> frepo(100).num_steps, frepo(300).num_steps
      (2000, 3738)

    Reference:
      Zhou, Nezhadarya, Ba, "Dataset Distillation using Neural Feature Regression", 2022.
    """
    _check_count("num_examples", num_examples, 1)
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


def soft_labels(*, use_flip: bool = True) -> Protocol:
    """The protocol of the soft-label baseline: SGD 0.01, times 0.3 after each quarter.

    Args:
      use_flip: whether mirror images may occur; not for digits.

    Example:
      >>> soft_labels().num_epochs
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


def num_steps(protocol: Protocol, num_examples: int) -> int:
    """How many mini-batches a training takes.

    Args:
      protocol: has the number of epochs or of steps, and the batch size.
      num_examples: M.

    Example:
      >>> num_steps(Protocol(num_epochs=3, batch_size=4), 10)
      9
    """
    if protocol.num_steps is not None:
        return protocol.num_steps
    assert protocol.num_epochs is not None  # Checked at construction.
    return protocol.num_epochs * learn.num_steps_per_epoch(
        num_examples, protocol.batch_size
    )


def make_schedule(
    protocol: Protocol, num_examples: int
) -> tuple[Callable[[Array], Array], int | None]:
    """The factor of the learning rate at every step, and where the optimiser restarts.

    Args:
      protocol: names the schedule. Its "periods" are epochs where it counts epochs and
        steps where it counts steps; with E = periods - 1 the drop comes after
        ``E // 2 + 2`` periods and a stair after every ``E // 4``, as in the originals.
      num_examples: M.

    Returns:
      (count -> factor in [0, 1], step before which the optimiser is made new or None).

    Raises:
      InputError: if the warm-up takes as long as the training.

    Example:
      >>> import jax.numpy as jnp
      >>> factor, restart = make_schedule(
      ...     Protocol(num_epochs=6, schedule="step_drop", batch_size=4), 8)
      >>> restart, [round(float(factor(jnp.array(t))), 2) for t in (7, 8, 11)]
      (8, [1.0, 0.1, 0.1])
    """
    total = num_steps(protocol, num_examples)
    is_epochs = protocol.num_epochs is not None
    num_periods = protocol.num_epochs if is_epochs else protocol.num_steps
    assert num_periods is not None
    period = total // num_periods
    if protocol.schedule == "step_drop":
        drop = ((num_periods - 1) // 2 + 2) * period
        stairs = {drop: protocol.decay_rate}
        return optax.piecewise_constant_schedule(1.0, stairs), drop
    if protocol.schedule == "staircase":
        quarter = max((num_periods - 1) // 4, 1) * period
        return optax.exponential_decay(
            1.0, quarter, protocol.decay_rate, staircase=True
        ), None
    if protocol.schedule == "cosine":
        return optax.cosine_decay_schedule(1.0, total), None
    if protocol.schedule == "warmup_cosine":
        _check_warmup(protocol.warmup_steps, total)
        return optax.warmup_cosine_decay_schedule(
            0.0, 1.0, protocol.warmup_steps, total
        ), None
    return optax.constant_schedule(1.0), None


def make_optimizer(
    protocol: Protocol, num_examples: int, learning_rate: float | Array
) -> optax.GradientTransformation:
    """The optimiser of a protocol.

    Args:
      protocol: names the optimiser and its schedule.
      num_examples: M, which says how many steps an epoch has.
      learning_rate: [] the highest one; may be traced.

    Raises:
      InputError: if the warm-up takes as long as the training.

    Example:
      >>> import jax.numpy as jnp
      >>> protocol = Protocol(num_steps=10, weight_decay=0.1)
      >>> optimizer = make_optimizer(protocol, 5, 0.5)
      >>> params = jnp.array([1.0])
      >>> update, _ = optimizer.update(
      ...     jnp.array([2.0]), optimizer.init(params), params)
      >>> print(update)  # - 0.5 (2 + 0.1)
      [-1.05]
    """
    factor, restart = make_schedule(protocol, num_examples)
    decay = optax.add_decayed_weights(protocol.weight_decay)
    rule = {
        "sgd": optax.chain(decay, optax.trace(protocol.momentum)),
        "adam": optax.chain(decay, optax.scale_by_adam()),
        "adamw": optax.chain(optax.scale_by_adam(), decay),
    }[protocol.optimizer]
    if restart is not None:
        rule = _restarted(rule, restart)
    rate = optax.scale_by_schedule(lambda count: -learning_rate * factor(count))
    return optax.chain(rule, rate)


class _RestartState(NamedTuple):
    count: Array  # [] int32
    inner: optax.OptState


def _restarted(
    rule: optax.GradientTransformation, step: int
) -> optax.GradientTransformation:
    """Forgets the state of an optimiser before one step."""

    def init(params):
        return _RestartState(jnp.zeros((), jnp.int32), rule.init(params))

    def update(updates, state, params=None):
        inner = jax.tree.map(
            lambda fresh, old: jnp.where(state.count == step, fresh, old),
            rule.init(params),
            state.inner,
        )
        updates, inner = rule.update(updates, inner, params)
        return updates, _RestartState(state.count + 1, inner)

    return optax.GradientTransformation(init, update)


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


def _check_count(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise errors.InputError(
            f"`{name}` is {value!r}; it must be a whole number, at least {least}."
        )


def _check_length(protocol: Protocol) -> None:
    lengths = {"num_epochs": protocol.num_epochs, "num_steps": protocol.num_steps}
    given = {name: value for name, value in lengths.items() if value is not None}
    if len(given) != 1:
        raise errors.InputError(
            f"A protocol was given {' and '.join(given) or 'no length of training'}; "
            "give either `num_epochs` or `num_steps`."
        )
    for name, value in given.items():
        _check_count(name, value, 1)


def _check_warmup(warmup_steps: int, total: int) -> None:
    if warmup_steps >= total:
        raise errors.InputError(
            f"The warm-up of {warmup_steps} steps leaves nothing of the {total} steps "
            "of training; lower `warmup_steps` or train longer."
        )
