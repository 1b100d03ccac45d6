# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names that moved: the old ones work for one version and say where to look.

``import distill_jax.seeds``, ``from distill_jax import seeds`` and ``dj.seeds`` give
the module under its new name, with a ``DeprecationWarning``. To move a module or a
public name, add a line to the table.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, TypeVar, cast

from distill_jax import errors

__all__ = [
    "MODULES",
    "NAMES",
    "gathered_arguments",
    "install",
    "renamed_arguments",
    "warn",
]

_PACKAGE = "distill_jax"
_Fn = TypeVar("_Fn", bound=Callable)

MODULES = {  # old -> new
    "buffers": "experts",
    "buffers.files": "experts.files",
    "buffers.making": "experts.making",
    "buffers.plan": "experts.plan",
    "buffers.snapshots": "experts.snapshots",
    "compiling": "compute.compiling",
    "composition": "transforms.composition",
    "devices": "compute.devices",
    "distilled": "storage.distilled",
    "evaluation.bench": "evaluation.comparison",
    "evaluation.expert_arm": "evaluation.soft_label_arm",
    "evaluation.programs": "compute.programs",
    "experiment": "cli.experiment",
    "inner.augment": "augmentation.policies",
    "inner.blocks": "compute.blocks",
    "inner.descent": "training.gradient_step",
    "inner.distortions": "augmentation.images",
    "inner.dynamic": "training.dynamic",
    "inner.epochs": "training.minibatches",
    "inner.experts": "experts.training",
    "inner.implicit": "inner.hypergradient",
    "inner.learn": "training.loop",
    "inner.mixing": "augmentation.mixing",
    "inner.operations": "augmentation.operations",
    "inner.pool": "training.pool",
    "inner.sharpness": "training.sharpness",
    "jaxprs": "compute.cost",
    "judging": "cli.evaluate",
    "main": "cli.main",
    "methods.expert_seeds": "methods.initial_from_experts",
    "nets.conv": "nets.convolution",
    "nets.convolutional": "nets.convnets",
    "nets.initial": "nets.initialisers",
    "nets.plain": "nets.alexnet_and_vgg",
    "nets.tiles": "nets.winograd",
    "nets.trilinear": "nets.cpu_convolution",
    "outcome": "cli.report",
    "parallel": "compute.parallel",
    "placement": "compute.mesh_types",
    "preview": "cli.plan",
    "randomness": "compute.randomness",
    "runtime.book": "runtime.record",
    "runtime.compiled": "compute.compile_cache",
    "runtime.hosts": "compute.processes",
    "runtime.memory": "compute.memory",
    "runtime.outlook": "runtime.forecasts",
    "runtime.plan": "runtime.calendar",
    "runtime.shelf": "compute.trace_cache",
    "seeds": "methods.initial_examples",
    "settings": "cli.settings",
    "tasks.labelled": "tasks.classifying",
}

NAMES = {  # old name of a module, under the module's new name -> new
    "augmentation.operations.OPERATIONS": "augmentation.operations.NAMES",
    "augmentation.operations.check_fit": "augmentation.operations.bind",
    "augmentation.policies.Augmentation": "augmentation.drawing.Augmentation",
    "augmentation.policies.augment": "augmentation.drawing.augment",
    "augmentation.policies.check_fit": "augmentation.drawing.check_shape",
    "augmentation.policies.crop": "augmentation.policies.crop_policy",
    "augmentation.policies.dc": "augmentation.policies.dc_policy",
    "augmentation.policies.dsa": "augmentation.policies.dsa_policy",
    "augmentation.policies.flip": "augmentation.policies.flip_policy",
    "augmentation.policies.noise": "augmentation.policies.noise_policy",
    "augmentation.policies.resized_crop": "augmentation.policies.resized_crop_policy",
    "cli.evaluate.is_several": "cli.networks.is_several",
    "cli.evaluate.network_words": "nets.network_words",
    "cli.experiment.distil": "cli.distill.run_config",
    "cli.experiment.to_synthetic": "evaluation.to_synthetic",
    "cli.report.contents": "cli.finished_run.contents",
    "cli.report.stored_config": "cli.finished_run.stored_config",
    "augmentation.policies.sample_augmentation": (
        "augmentation.drawing.sample_augmentation"
    ),
    "compute.mesh_types.forget": "compute.mesh_types.without_mesh",
    "compute.parallel.shard_batches": "compute.recipes.shard_batches",
    "compute.parallel.spread_recipe": "compute.recipes.spread_recipe",
    "compute.trace_cache.Shelf": "compute.trace_cache.TraceCache",
    "compute.trace_cache.shelf_for": "compute.trace_cache.trace_cache_for",
    "compute.devices.evaluation_mapping": "compute.devices.side_by_side",
    "evaluation.baselines.random_subsets": "selection.stratified.random_subsets",
    "evaluation.comparison.Bench": "evaluation.comparison.Comparison",
    "evaluation.protocol.datm": "evaluation.protocol.datm_protocol",
    "evaluation.protocol.dc": "evaluation.protocol.dc_protocol",
    "evaluation.protocol.dm": "evaluation.protocol.dm_protocol",
    "evaluation.protocol.dsa": "evaluation.protocol.dsa_protocol",
    "evaluation.protocol.frepo": "evaluation.protocol.frepo_protocol",
    "evaluation.protocol.idc": "evaluation.protocol.idc_protocol",
    "evaluation.protocol.mtt": "evaluation.protocol.mtt_protocol",
    "evaluation.protocol.soft_labels": "evaluation.protocol.soft_label_protocol",
    "evaluation.random_subsets": "selection.random_subsets",
    "evaluation.runs.Mapping": "evaluation.runs.SideBySide",
    "evaluation.runs.check_counts": "errors.check_counts",
    "inner.hypergradient.Solver": "inner.solvers.Solver",
    "inner.hypergradient.check_solver": "inner.solvers.check_solver",
    "inner.hypergradient.conjugate_gradients": "inner.solvers.conjugate_gradients",
    "inner.hypergradient.neumann_series": "inner.solvers.neumann_series",
    "inner.unroll.adam": "inner.optimizers.adam",
    "inner.unroll.check_differentiable": "inner.optimizers.check_differentiable",
    "inner.unroll.consecutive_batches": "training.minibatches.consecutive_batches",
    "evaluation.runs.check_fit": "evaluation.checks.check_synthetic",
    "evaluation.runs.check_split": "evaluation.checks.check_split",
    "methods.initial_examples.seed_fn": "methods.initial_fn",
    "methods.initial_from_experts.agreed_seed": (
        "methods.initial_from_experts.agreed_examples"
    ),
    "methods.unrolled.Student": "methods.unrolled_recipes.Student",
    "methods.unrolled.Unrolling": "methods.unrolled_recipes.Unrolling",
    "methods.unrolled.training_objective": (
        "methods.unrolled_recipes.training_objective"
    ),
    "methods.unrolled.training_protocol": (
        "methods.unrolled_recipes.training_protocol"
    ),
    "nets.checks.check_counts": "nets.checks.check_sizes",
    "runtime.Shelf": "runtime.TraceCache",
    "runtime.calendar.Plan": "runtime.calendar.Calendar",
    "runtime.record.Book": "runtime.record.Record",
    "runtime.workdir.replace_file": "storage.atomic.replace_file",
    "runtime.shelf_for": "runtime.trace_cache_for",
    "training.loop.bend": "training.minibatches.augment_batch",
    "storage.distilled.merge": "storage.merging.merge",
    "tasks.classifying.encode": "tasks.losses.encode",
    "tasks.classifying.soft_cross_entropy": "tasks.losses.soft_cross_entropy",
    "tasks.classifying.squared_error": "tasks.losses.squared_error",
}

# The modules that had the old names.
_OWNERS = {f"{_PACKAGE}.{old}".rpartition(".")[0] for old in (*MODULES, *NAMES)}


def install() -> None:
    """Makes the old names known to Python's import and to the modules that had them.

    Example:
      >>> import warnings
      >>> import distill_jax as dj
      >>> with warnings.catch_warnings(action="ignore"):
      ...     dj.seeds is dj.methods.initial_examples
      True
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for owner in _OWNERS & sys.modules.keys():
        _give_old_names(sys.modules[owner])


def gathered_arguments(into: str, record: Any) -> Callable[[_Fn], _Fn]:
    """Makes a decorator that still takes one by one what a record now holds.

    Args:
      into: the argument that takes the record.
      record: whose fields have the names of the old arguments. Where the argument is
        a NamedTuple by default, that gives the fields that are not named in a call.

    Returns:
      A decorator of functions.

    Example:
      >>> from typing import NamedTuple
      >>> class Size(NamedTuple):
      ...     width: int
      ...     height: int = 1
      >>> @gathered_arguments("size", Size)
      ... def area(*, size):
      ...     return size.width * size.height
      >>> area(size=Size(3, 2))
      6
    """

    def decorate(fn: _Fn) -> _Fn:
        default = inspect.signature(fn).parameters[into].default
        names = inspect.signature(record).parameters

        @functools.wraps(fn)
        def call(*args, **kwargs):
            old = {name: kwargs.pop(name) for name in names if name in kwargs}
            for name in old:
                new = f"`{into}={record.__name__}({name}=...)`"
                warn(f"The argument `{name}` of {fn.__qualname__}", new)
            if old:
                change = getattr(kwargs.get(into, default), "_replace", record)
                kwargs[into] = change(**old)
            return fn(*args, **kwargs)

        return cast(_Fn, call)

    return decorate


def renamed_arguments(
    **renamed: str | tuple[str, Callable[[Any], Any]],
) -> Callable[[_Fn], _Fn]:
    """Makes a decorator that still takes arguments by their old names.

    Args:
      **renamed: old name -> new name, or that and how an old value becomes a new one.

    Returns:
      A decorator of functions.

    Example:
      >>> @renamed_arguments(size="width")
      ... def area(width):
      ...     return width**2
      >>> area(width=3)
      9
    """

    def decorate(fn: _Fn) -> _Fn:
        @functools.wraps(fn)
        def call(*args, **kwargs):
            for old in renamed.keys() & kwargs.keys():
                new, convert = renamed[old], lambda value: value
                if isinstance(new, tuple):
                    new, convert = new
                warn(f"The argument `{old}` of {fn.__qualname__}", f"`{new}`")
                kwargs[new] = convert(kwargs.pop(old))
            return fn(*args, **kwargs)

        return cast(_Fn, call)

    return decorate


def with_context(fn: _Fn, name: str, num_arguments: int) -> _Fn:
    """Gives a function that was written before contexts a place for one at its end.

    Args:
      fn: takes so many arguments, of which the last is a context, or one fewer.
      name: of the function, for the warning.
      num_arguments: with the context.

    Returns:
      A function that takes them all.

    Example:
      >>> fn = lambda variables, context: (variables, context)
      >>> with_context(fn, "accuracy_fn", 2) is fn
      True
    """
    try:
        inspect.signature(fn).bind(*[None] * num_arguments)
    except TypeError:
        warn(f"A `{name}` without a context", f"`{name}(..., context)`")
        return cast(_Fn, lambda *args: fn(*args[:-1]))
    return fn


def warn(old: str, new: str) -> None:
    """Warns at the line of the user's code, so that Python shows it by default.

    Args:
      old: the name as the user wrote it.
      new: what to write in its place.

    Example:
      >>> import warnings
      >>> with warnings.catch_warnings(record=True) as caught:
      ...     warnings.simplefilter("always")
      ...     warn("here", "there")
      >>> print(caught[0].message)
      here is called there now; the old name goes with the next version.
    """
    errors.warn(
        f"{old} is called {new} now; the old name goes with the next version.",
        DeprecationWarning,
    )


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module that then answers for the names that it had."""

    def exec_module(self, module):
        """Runs the file as ever."""
        super().exec_module(module)
        _give_old_names(module)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules under their old names, and those that had other names.

    It is asked first: an emptied folder of that name would count as a package.
    """

    def find_spec(self, fullname, path=None, target=None):
        """The module under its new name, for Python's import."""
        if _new_name(fullname) is not None:
            return importlib.machinery.ModuleSpec(fullname, self)
        if fullname not in _OWNERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec

    def create_module(self, spec):
        """An empty stand-in, which the real module replaces."""
        return types.ModuleType(spec.name)

    def exec_module(self, module):
        """Puts the module with the new name in the place of the stand-in."""
        new = _new_name(module.__name__)
        assert new is not None  # Else `find_spec` had found nothing.
        warn(module.__name__, new)
        sys.modules[module.__name__] = importlib.import_module(new)


def _new_name(fullname: str) -> str | None:
    new = MODULES.get(fullname.removeprefix(f"{_PACKAGE}."))
    return None if new is None else f"{_PACKAGE}.{new}"


def _give_old_names(module: types.ModuleType) -> None:
    """Lets a module answer for the names that it had."""
    former = module.__dict__.get("__getattr__")
    if getattr(former, "knows_old_names", False):
        return
    place = module.__name__.removeprefix(_PACKAGE).removeprefix(".")

    def look_up(name: str) -> Any:
        old = f"{place}.{name}".removeprefix(".")
        if old in MODULES:
            warn(f"{module.__name__}.{name}", f"{_PACKAGE}.{MODULES[old]}")
            return importlib.import_module(f"{_PACKAGE}.{MODULES[old]}")
        if old in NAMES:
            owner, _, new = f"{_PACKAGE}.{NAMES[old]}".rpartition(".")
            warn(f"{module.__name__}.{name}", f"{owner}.{new}")
            return getattr(importlib.import_module(owner), new)
        if former is not None:
            return former(name)
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    look_up.__dict__["knows_old_names"] = True
    module.__dict__["__getattr__"] = look_up
