# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every objective on every kind of task.

A kind of task joins by one entry of `KINDS`, an objective by one of `OBJECTIVES`. What
an objective cannot mean for a kind of task is an entry of `REFUSED`, with its reason.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import datasets

import distill_jax as dj
from distill_jax import base, methods, objectives
from tests.support import masked


@functools.cache
def digits():
    return dj.data.load("digits")


@functools.cache
def diabetes():
    found = datasets.load_diabetes()
    return dj.data.from_arrays(found.data, found.target, targets="values")


@functools.cache
def two_targets():
    found = datasets.load_diabetes()
    y = np.stack([found.target, found.data[:, 2]], axis=1)
    return dj.data.from_arrays(found.data[:, [0, 1, 3, 4]], y, targets="values")


def regression(data) -> base.Task:
    net = dj.nets.mlp(data.spec.num_targets, hidden=(8,))
    return dj.tasks.regression(net, data.spec)


def classification() -> base.Task:
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits().spec)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of task, the data it is about, and how large a set for it is."""

    make_task: Callable[[], base.Task]
    load: Callable[[], Any] = digits
    size: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"num_per_class": 1}
    )


KINDS = {
    "image classification": Kind(classification),
    "regression": Kind(
        lambda: regression(diabetes()), load=diabetes, size={"num_examples": 6}
    ),
    "regression of two targets": Kind(
        lambda: regression(two_targets()), load=two_targets, size={"num_examples": 6}
    ),
    "a task with a context": Kind(lambda: masked.masked(classification())),
}

PATHS = {
    "num_student_steps": 2,
    "num_expert_epochs": 1,
    "last_start": 2,
    "learning_rate": 1.0,
    "rate_learning_rate": 1e-5,
    "initial_rate": 0.05,
    "num_experts_per_step": 2,
    "experts": {"num_experts": 2},
    "augmentation": "none",
}


def implicit(task: base.Task, **size: int) -> base.Recipe:
    """No named method has this objective."""
    kwargs = {**size, "num_inner_steps": 2, "batch_size": 16}
    objective = objectives.implicit_bilevel(task, num_networks=1, num_steps=2)
    method = dj.distill(objective, decoder=dj.plain_decoder(), optimizer=optax.sgd(0.1))
    return methods.bptt(task, **kwargs)._replace(method=method)


def unrolled_in_contexts(task: base.Task, **size: int) -> base.Recipe:
    """Networks are trained and judged in the contexts that a batch brings."""
    recipe = methods.bptt(task, num_inner_steps=2, batch_size=16, **size)
    sampler = dj.samplers.in_contexts(
        task.sample_context, recipe.sampler, num_contexts=2
    )
    return recipe._replace(sampler=sampler)


# One for each file of mathematics, and one more where two paths lead through it.
OBJECTIVES = {
    "distribution": lambda task, **size: methods.dm(
        task, batch_size=4, augmentation="none", **size
    ),
    "gradient": lambda task, **size: methods.dc(
        task, batch_size=4, num_matches=3, num_epochs=1, **size
    ),
    "gradient, collective": lambda task, **size: methods.dcc(
        task, batch_size=4, num_matches=2, num_epochs=1, warm_up=(1, 1), **size
    ),
    "alignment": lambda task, **size: methods.cafe(
        task, num_steps=9, batch_size=4, num_queries=4, max_epochs=2, **size
    ),
    "kernel": lambda task, **size: methods.frepo(
        task, num_steps=9, batch_size=16, num_networks=2, ridge=1e-2, **size
    ),
    "kernel, implicit": lambda task, **size: methods.rcig(
        task, batch_size=16, num_networks=2, num_implicit=1, ridge=1e-2, **size
    ),
    "ridge head": lambda task, **size: methods.label_ridge(
        task, batch_size=16, num_networks=2, **size
    ),
    "inducing": lambda task, **size: methods.kip(
        task, num_steps=9, batch_size=16, ridge=1e-2, **size
    ),
    "trajectory": lambda task, **size: methods.mtt(task, **PATHS, **size),
    "trajectory, labels": lambda task, **size: methods.tesla(
        task, assigns_labels=True, **PATHS, **size
    ),
    "unrolled": lambda task, **size: methods.bptt(
        task, num_inner_steps=2, batch_size=16, augmentation="none", **size
    ),
    "unrolled, contexts of the batch": unrolled_in_contexts,
    "implicit": implicit,
}

# (objective, kind) -> a part of the sentence that says why not.
REFUSED: dict[tuple[str, str], str] = {
    (objective, kind): sentence
    for kind in ("regression", "regression of two targets")
    for objective, sentence in {
        "alignment": "CAFE classifies real examples by the centres of classes, but the",
        "kernel, implicit": "RCIG lowers the cross-entropy of a prediction, but the",
        "ridge head": "Labels that are learned alone are class probabilities, but the",
        "trajectory, labels": "labels that target networks give are class prob",
    }.items()
}

CELLS = [(name, kind) for kind in KINDS for name in OBJECTIVES]
accepted = [cell for cell in CELLS if cell not in REFUSED]
every_accepted_cell = pytest.mark.parametrize(("name", "kind"), accepted)


@functools.cache
def recipe(name, kind) -> base.Recipe:
    return OBJECTIVES[name](KINDS[kind].make_task(), **KINDS[kind].size)


@functools.cache
def inputs(name, kind):
    """Initial examples and a source."""
    made, data = recipe(name, kind), KINDS[kind].load()
    return made.initial_fn(jax.random.key(7), data), made.source_fn(data)


def run(name, kind, num_steps, key, initial, source):
    """The state at the start, after so many steps, and what the last one says."""
    made = recipe(name, kind)
    key_init, *keys = jax.random.split(key, 1 + 2 * num_steps)
    first = state = made.method.init(key_init, initial)
    info = None
    for number in range(num_steps):
        batch = made.sampler(keys[2 * number], state.step, source)
        state, info = made.method.step(keys[2 * number + 1], state, batch)
    return first, state, info


def test_what_cannot_be_meant_is_refused_in_a_sentence():
    for (name, kind), sentence in REFUSED.items():
        with pytest.raises(dj.InputError, match=sentence):
            run(name, kind, 1, jax.random.key(0), *inputs(name, kind))


@every_accepted_cell
def test_a_step_keeps_structure_and_uses_no_key_twice(name, kind):
    step, given = functools.partial(run, name, kind, 1), inputs(name, kind)
    with jax.debug_key_reuse(True):
        traced = jax.jit(step).trace(jax.random.key(0), *given)
    first, state, info = traced.out_info
    describe = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    assert jax.tree.structure(first) == jax.tree.structure(state)
    assert describe(first) == describe(state)
    assert info.loss.shape == ()


# On images every named method is run for longer elsewhere; and one row of each file of
# mathematics is enough to see numbers.
COMPILED = [
    (name, kind)
    for name, kind in accepted
    if kind != "image classification" and "," not in name
]


@pytest.mark.parametrize(("name", "kind"), COMPILED)
def test_two_steps_are_finite_and_change_what_is_learned(name, kind):
    steps = jax.jit(functools.partial(run, name, kind, 2))
    first, state, info = steps(jax.random.key(0), *inputs(name, kind))
    assert np.isfinite(info.loss)
    for leaf in jax.tree.leaves(state):
        assert np.isfinite(leaf).all()
    learned = zip(
        jax.tree.leaves(first.latent.learned),
        jax.tree.leaves(state.latent.learned),
        strict=True,
    )
    for before, after in learned:
        assert jnp.abs(before - after).max() > 0
