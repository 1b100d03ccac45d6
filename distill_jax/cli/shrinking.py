# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shrinks a config to a run of a minute on a laptop: what ``:runlocal`` means."""

from typing import Any

__all__ = ["shrink"]

# What is left of the options of a study that have these names.
_MOST_OF_A_STUDY = {
    "num_seeds": 2,
    "num_steps": 20,
    "num_training_steps": 50,
    "num_runs": 2,
    "num_epochs": 3,
}


def shrink(config: Any) -> None:
    """Makes a config small, whatever its kind.

    Args:
      config: is changed.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.label()
      >>> shrink(config)
      >>> config.experts.num_epochs
      8
    """
    kind = config.get("kind")
    if kind == "study":
        for name, most in _MOST_OF_A_STUDY.items():
            if isinstance(config.study.get(name), int):
                config.study[name] = min(config.study[name], most)
        return
    config.num_per_class = min(config.num_per_class, 2)
    _shrink_network(config)
    _shrink_data(config)
    config.evaluate.num_runs = min(config.evaluate.num_runs, 2)
    config.evaluate.num_checkpoints = 1
    config.evaluate.num_real_steps = min(config.evaluate.num_real_steps, 50)
    config.protocol.num_epochs = None
    config.protocol.num_steps = 50
    config.protocol.warmup_steps = 10
    (_shrink_labels if kind == "label" else _shrink_distillation)(config)


def _shrink_labels(config: Any) -> None:
    """What only a config of labels has."""
    experts, num_epochs = config.experts, min(config.experts.num_epochs, 8)
    experts.num_experts = min(experts.num_experts, 2)
    experts.num_epochs = num_epochs
    experts.folder = None  # Other experts than those of the folder.
    config.labels.epochs = tuple(e for e in config.labels.epochs if e <= num_epochs)
    config.labels.temperatures = tuple(config.labels.temperatures)[:2]
    config.labels.num_seeds = 1


def _shrink_distillation(config: Any) -> None:
    """What only a config of a distillation has."""
    config.num_steps = min(config.num_steps, 20)
    config.log_every = min(config.log_every, 5)
    if "batch_size" in config.method:
        config.method.batch_size = min(config.method.batch_size, 128)
    if "num_inner_steps" in config.method:
        config.method.num_inner_steps = min(config.method.num_inner_steps, 10)
    if isinstance(config.method.get("window"), int):  # DATM's is a pair of counts.
        config.method.window = min(config.method.window, 5)
    if "experts" in config.method:
        experts = config.method.experts
        experts.num_experts = min(experts.num_experts, 2)
        if "num_epochs" in experts:
            del experts.num_epochs  # They end with the last segment.
        config.method.buffer = None  # Narrower experts than those of the folder.
    if config.method.get("name") == "datm":
        config.method.threshold = 100.0  # Such short paths are missed by far.
    config.evaluate.num_curve_points = min(config.evaluate.num_curve_points, 2)
    config.evaluate.num_expert_epochs = min(config.evaluate.num_expert_epochs, 2)


def _shrink_network(config: Any) -> None:
    if "width" in config.network:
        widths = config.network.width
        config.network.width = (
            min(widths, 16)
            if isinstance(widths, int)
            else tuple(min(width, 16) for width in widths)
        )


def _shrink_data(config: Any) -> None:
    if config.data.max_per_class is None:
        config.data.max_per_class = 256  # The arms learn from all that is there.
    if config.data.max_test_per_class is None:
        config.data.max_test_per_class = 100
