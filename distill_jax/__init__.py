# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dataset distillation in JAX: shrink a training set to a few examples that teach.

data   = load("digits")
task   = classification(network, data.spec)
recipe = methods.frepo(task, num_per_class=10, num_steps=1000)
state, history = run(recipe, data, num_steps=1000, key=key)
evaluate(task, recipe.method.read(state), data, protocol=recipe.protocol, ...)
"""

import importlib
from typing import TYPE_CHECKING, Any

from distill_jax import deprecations

if TYPE_CHECKING:
    from distill_jax import (
        augmentation,
        bilevel,
        compute,
        data,
        evaluation,
        experts,
        inner,
        labels,
        methods,
        nets,
        objectives,
        report,
        runtime,
        samplers,
        scores,
        selection,
        storage,
        studies,
        tasks,
        training,
        transforms,
    )
    from distill_jax.base import (
        Aux,
        Contextual,
        Decoder,
        Examples,
        HeldOut,
        Info,
        Latent,
        Learner,
        Method,
        Objective,
        Pair,
        Recipe,
        Segment,
        Source,
        State,
        Synthetic,
        Task,
        TaskFacts,
        Variables,
    )
    from distill_jax.bilevel import distill
    from distill_jax.errors import InputError, LostProcessError, NonFiniteError
    from distill_jax.evaluation import evaluate
    from distill_jax.runtime import run
    from distill_jax.storage.distilled import DistilledSet
    from distill_jax.transforms.composition import compose, plain_decoder
    from distill_jax.types import Metric

__version__ = "0.1.0"

__all__ = [
    "Aux",
    "Contextual",
    "Decoder",
    "DistilledSet",
    "Examples",
    "HeldOut",
    "Info",
    "InputError",
    "Latent",
    "Learner",
    "LostProcessError",
    "Method",
    "Metric",
    "NonFiniteError",
    "Objective",
    "Pair",
    "Recipe",
    "Segment",
    "Source",
    "State",
    "Synthetic",
    "Task",
    "TaskFacts",
    "Variables",
    "augmentation",
    "bilevel",
    "compose",
    "compute",
    "data",
    "distill",
    "evaluate",
    "evaluation",
    "experts",
    "inner",
    "labels",
    "methods",
    "nets",
    "objectives",
    "plain_decoder",
    "report",
    "run",
    "runtime",
    "samplers",
    "scores",
    "selection",
    "storage",
    "studies",
    "tasks",
    "training",
    "transforms",
]

_PLACES = {  # module -> the public names that are taken from it
    "base": (
        "Aux",
        "Contextual",
        "Decoder",
        "Examples",
        "HeldOut",
        "Info",
        "Latent",
        "Learner",
        "Method",
        "Objective",
        "Pair",
        "Recipe",
        "Segment",
        "Source",
        "State",
        "Synthetic",
        "Task",
        "TaskFacts",
        "Variables",
    ),
    "bilevel": ("distill",),
    "errors": ("InputError", "LostProcessError", "NonFiniteError"),
    "evaluation": ("evaluate",),
    "runtime": ("run",),
    "storage.distilled": ("DistilledSet",),
    "transforms.composition": ("compose", "plain_decoder"),
    "types": ("Metric",),
}


def __getattr__(name: str) -> Any:
    """Loads a name when it is asked for, so that a mistake need not wait for jax."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for place, names in _PLACES.items():
        if name in names:
            value = getattr(importlib.import_module(f"{__name__}.{place}"), name)
            globals()[name] = value
            return value
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    """Names what is not loaded yet too."""
    return sorted({*globals(), *__all__})


deprecations.install()
