# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contracts of the library.

A distilled set is found by differentiating a pure scalar :class:`Objective` with
respect to a small :class:`Latent`, with optax, inside one ``lax.scan``; everything the
papers differ in is a value plugged into that sentence. The values are the records of
this file. Each is a ``NamedTuple``: of arrays where it travels through ``jit``, of
functions where it is mathematics. Functions are closed over, never passed as arguments
of jitted functions.

How the pieces meet::

    data set --Sampler--> batch ----------------------.
                                                      v
    initial --Decoder.init--> Latent --decode--> Synthetic --Objective.loss--> scalar
                             ^                        |                       |
                             '------- optax <---------|------- gradient <-----'
                                                      v
                                  Objective.advance: the inner state moves on

**Keys.** ``scan_steps`` derives everything random of a step from
``fold_in(key, state.step)``: the batch and the step each get a half of it, and the step
splits its half for the loss and the advance. A run is thus the same whether it is done
in one go, in pieces, or resumed from a checkpoint.

**Which network.** A choice that ``loss`` and ``advance`` must share (the member of a
pool, the network of this step) lives in ``inner``; ``advance`` draws the one for the
next step.

**Rows.** Synthetic examples of a classification task are class-major, with the same
number for every class. A real batch "per class" has a leading axis ``C`` in each field.

**Weights.** ``weight`` is ``None`` or an array from construction on, since a scan
carry cannot change between the two. Missing examples (a short last mini-batch, a class
with fewer examples than asked for) are rows of weight 0; means are over weights.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax

from distill_jax import deprecations, errors
from distill_jax.types import Array, Key, Metric, PyTree, Targets

__all__ = [
    "Aux",
    "Batch",
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
    "Sampler",
    "Segment",
    "Source",
    "State",
    "Synthetic",
    "Task",
    "TaskFacts",
    "Variables",
    "matched",
    "replace_matched",
]


class Examples(NamedTuple):
    """Examples of a task, real or initial: what samplers yield and learners read."""

    x: PyTree  # [B, ...] inputs in the space the networks see, or arrays by name
    y: Array  # [B, C] class probabilities, centred labels or regression values
    weight: Array | None = None  # [B]
    # [B] int32, position in the data set
    index: Array | None = None  # pyright: ignore[reportIncompatibleMethodOverride]
    target: Array | None = None  # [B, C] what a representation learns; `y` where None
    group: Array | None = None  # [B] int32, the class, where labels need not tell it


class Pair(NamedTuple):
    """Two batches for methods that train their networks on real examples."""

    match: Any  # what the synthetic examples are compared with
    train: Any  # what the networks are trained on


class Contextual(NamedTuple):
    """K contexts of a task, and real examples of each.

    In every one of them a learner is trained on the synthetic examples and judged on
    its own real ones. An objective whose networks hold contexts already refuses it.
    """

    examples: Any  # `Examples` [K, B, ...]; None where losses need none (physics)
    context: PyTree  # [K, ...]


class Segment(NamedTuple):
    """Pieces of the trajectories of E experts: what a student starts from and aims at.

    Parameters only, each leaf with a leading axis [E].
    """

    start: PyTree
    target: PyTree
    context: PyTree = None  # [E, ...] of the task that each learned; None without


class Synthetic(NamedTuple):
    """A decoded distilled set: what is matched, trained on, and finally stored."""

    x: PyTree  # [M, ...]
    y: Array  # [M, C]
    weight: Array | None = None  # [M]
    learning_rate: Array | None = None  # []
    # [] by which predictions are multiplied before a softmax, while distilling
    temperature: Array | None = None
    target: Array | None = None  # [M, C] what a representation learns; `y` where None


class Variables(NamedTuple):
    """The variables of one network; gradients and optax see ``params`` only."""

    params: PyTree
    stats: PyTree  # running statistics of batch norm; {} without it


class Learner(NamedTuple):
    """A network, and the context of the task that it learns; stacked where several."""

    variables: Variables
    context: PyTree = None  # None, which has no leaves, where tasks have no contexts


class Source(NamedTuple):
    """A data set on the device, an argument of jitted functions, never a constant."""

    x: PyTree  # [N, ...] raw inputs in the source's own type (uint8 for images)
    y: Array  # [N] int32 class, or [N, C] float32 targets
    normalizer: Any  # a `data.Normalizer`: raw inputs -> what the networks see
    table: Array  # [C, K] int32 index of the examples of each class, padded
    # [C] int32, how many entries of each row of `table` are real
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    selected: Array | None = None  # [N] bool, what may be drawn; None: everything


class HeldOut(NamedTuple):
    """Examples that networks are judged on, as the data set holds them."""

    x: PyTree  # [N, ...] raw inputs in the data set's own type
    y: Array  # [N] int32 class, or [N, C] float32 targets
    normalizer: Any = None  # raw inputs -> what the networks see; None: they are that


@dataclasses.dataclass(frozen=True)
class TaskFacts:
    """What is known of a task on the host: what methods choose by, and recipes store.

    A fact that a task does not know is empty, and no method relies on it.
    """

    kind: str = ""  # "classification"
    loss: str = ""  # in words, "soft cross-entropy"
    num_classes: int = 0
    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # options of the network and its "name", enough for `nets.build` to make it again
    data_name: str = ""
    shape: tuple[int, ...] = ()  # of one example
    bounds: tuple[list[float], list[float]] | None = None
    # the values that black and white have for the networks, of each channel
    metrics: tuple[Metric, ...] = ()  # what `Task.metrics` gives; the first one decides


class Task(NamedTuple):
    """An inference task: how a learner trains on data, and how it is judged.

    ``context`` is what varies between tasks of a family (a feature mask, a boundary
    condition); ``None`` for images. ``data`` may be :class:`Examples` or
    :class:`Synthetic`: both have ``x``, ``y`` and ``weight``.
    """

    sample_context: Callable[[Key], Any]
    init: Callable[[Key, Any], Variables]  # (key, context)
    train_loss: Callable[[Variables, Key, Any, Any], tuple[Array, PyTree]]
    # (variables, key, data, context) -> per example [B] (weights not applied), stats
    test_loss: Callable[[Variables, Key, Any, Any], Array]  # ... -> [B], where `y` is
    # as the data have it
    predict: Callable[[Variables, PyTree, Any], Array]  # (variables, x, context)
    features: Callable[[Variables, PyTree, Any], Mapping[str, Array]] | None
    # (variables, x, context) -> {"penultimate": [B, D], ...}, inference mode
    groups: Callable[[Any], Array]  # (examples) -> [B, G] soft membership: of classes;
    # one group where there are none
    targets: Targets  # what `y` means to `train_loss`
    retarget: Callable[[Targets], "Task"]  # the same task for another kind of `y`
    facts: TaskFacts = TaskFacts()
    metrics: Callable[[Variables, Any, Any], Mapping[str, Array]] | None = None
    # (variables, held-out data, context) -> by name [N], whose mean counts, or []
    encode: Callable[[Array], Array] = lambda y: y
    # targets as the data have them -> `y` as `train_loss` takes it
    output_loss: Callable[[Array, Array], Array] | None = None
    # (what `predict` gives [B, C], `y` [B, C]) -> [B], the loss without its network

    @property
    def has_classes(self) -> bool:
        """Whether examples are of classes, which `groups` tells apart."""
        return self.targets != "values"

    @property
    def description(self) -> dict[str, Any]:
        """The former name of `facts`, which was a mapping."""
        deprecations.warn("`Task.description[...]`", "`Task.facts`")
        facts = dataclasses.asdict(self.facts)
        shape, bounds = list(facts.pop("shape")), facts.pop("bounds")
        data = {"name": facts.pop("data_name"), "shape": shape, "bounds": bounds}
        return {**facts, "data": data}


class Aux(NamedTuple):
    """What an objective tells beside its value."""

    metrics: Mapping[str, Array] = {}  # scalars to log
    probes: Mapping[str, PyTree] = {}  # differentiable intermediates for transforms


def _no_place(*networks: "Learner | Variables") -> PyTree:
    """The inner state that holds these networks, of an objective that names none."""
    raise errors.InputError(
        "This objective does not say which inner state holds given networks; give it "
        "the field `at`, a function of networks."
    )


class Objective(NamedTuple):
    """The mathematics of a paper."""

    init: Callable[[Key, Synthetic], PyTree]  # (key, synthetic) -> inner
    loss: Callable[[Synthetic, Key, PyTree, Any], tuple[Array, Aux]]
    # (synthetic, key, inner, batch) -> scalar, Aux; differentiable in `synthetic`
    advance: Callable[[Key, PyTree, Synthetic, Any], PyTree]
    # (key, inner, updated synthetic, batch) -> inner: train nets, refresh pools, count
    read: Callable[[Synthetic, PyTree], Synthetic] = lambda synthetic, inner: synthetic
    # (synthetic, inner) -> the set to be stored; another where labels are assigned
    probes: tuple[str, ...] = ()  # names of what the loss gives in `Aux.probes`
    at: Callable[..., PyTree] = _no_place
    # (*networks) -> the inner state that holds these `Learner`s, or `Variables`


class Latent(NamedTuple):
    """What a distilled set is decoded from.

    Keys are the fields of :class:`Synthetic` they decode to (``x``, ``y``, ``weight``,
    ``target``, ``learning_rate``), or ``y_logits``, ``target_logits``,
    ``log_learning_rate`` where reparametrised.
    Integer leaves belong in ``fixed``.
    """

    learned: dict[str, PyTree]
    fixed: dict[str, PyTree]


class Decoder(NamedTuple):
    """The map from what is learned to the distilled set."""

    init: Callable[[Key, Examples], Latent]  # (key, initial examples)
    decode: Callable[[Latent], Synthetic]


class State(NamedTuple):
    """All that the next step needs, and all that a checkpoint holds."""

    step: Array  # [] int32, number of steps done
    latent: Latent
    opt: optax.OptState
    inner: PyTree


class Info(NamedTuple):
    """What one looks at after a step."""

    loss: Array  # []
    metrics: Mapping[str, Array]  # scalars


class Method(NamedTuple):
    """A method of distillation: pure functions over :class:`State`."""

    init: Callable[[Key, Examples], State]  # (key, initial examples)
    step: Callable[[Key, State, Any], tuple[State, Info]]  # (key, state, batch)
    read: Callable[[State], Synthetic]  # the distilled set as it would be stored


# A batch is any pytree that the objective names: `Examples`, per-class `Examples` with
# a leading axis [C, B], a segment of an expert's trajectory, a pair of batches, or
# examples in each of several contexts.
Batch = Any
Sampler = Callable[[Key, Array, Any], Batch]  # (key, step, source) -> batch; pure


def matched(batch: Batch) -> Any:
    """The part of a batch that the synthetic examples are compared with.

    Example:
      >>> matched(Pair(match="compared", train="trained on")), matched("compared")
      ('compared', 'compared')
    """
    if isinstance(batch, Contextual):
        return batch.examples
    return batch.match if isinstance(batch, Pair) else batch


def replace_matched(batch: Batch, examples: Any) -> Batch:
    """The batch with other examples to compare with.

    Example:
      >>> replace_matched(Pair(match=1, train=2), 3), replace_matched(1, 3)
      (Pair(match=3, train=2), 3)
    """
    if isinstance(batch, Contextual):
        return batch._replace(examples=examples)
    return batch._replace(match=examples) if isinstance(batch, Pair) else examples


class Recipe(NamedTuple):
    """A method with all it is run with: what `methods.dm(...)` returns, `run` takes."""

    method: Method
    sampler: Sampler
    initial_fn: Callable[[Key, Any], Examples]  # (key, data set) -> [M, ...] examples
    source_fn: Callable[[Any], Any]  # (data set) -> what the sampler draws from
    protocol: Any  # an `evaluation.Protocol`: how a network is trained on the result
    experts: Any = None  # an `experts.ExpertPlan`, trained before the first step

    @property
    def seed_fn(self) -> Callable[[Key, Any], Examples]:
        """The former name of `initial_fn`."""
        deprecations.warn("`Recipe.seed_fn`", "`Recipe.initial_fn`")
        return self.initial_fn


def _facts_of(description: Mapping[str, Any]) -> TaskFacts:
    """The record of a mapping such as `Task.description` was."""
    data = description.get("data", {})
    facts = {**description, **data, "data_name": data.get("name", "")}
    facts["shape"] = tuple(data.get("shape", ()))
    facts["metrics"] = tuple(Metric(**each) for each in facts.get("metrics", ()))
    names = {field.name for field in dataclasses.fields(TaskFacts)}
    return TaskFacts(**{name: facts[name] for name in names & facts.keys()})


_OLD_FIELDS = {
    Recipe: deprecations.renamed_arguments(seed_fn="initial_fn"),
    Task: deprecations.renamed_arguments(description=("facts", _facts_of)),
}
for _record, _taking_old_fields in _OLD_FIELDS.items():
    for _name in ("__new__", "_replace"):
        setattr(_record, _name, _taking_old_fields(getattr(_record, _name)))
