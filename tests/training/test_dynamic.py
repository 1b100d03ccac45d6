# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The dynamic loops on made-up accuracies, whose ends are counted by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base, errors
from distill_jax.training import dynamic


def accuracies(curve):
    """A network that is only its number of epochs, and an accuracy for each number.

    A fresh network starts at epoch 0; the last entry of the curve serves all later.
    """
    curve = jnp.asarray(curve)
    return {
        "init_fn": lambda key: (base.Variables(jnp.int32(0), {}), ()),
        "epoch_fn": lambda key, variables, opt, context: (
            base.Variables(variables.params + 1, {}),
            opt,
        ),
        "accuracy_fn": lambda variables, context: curve[
            jnp.minimum(variables.params, len(curve) - 1)
        ],
    }


def follow(curve, limits, num_turns):
    """All turns, each as a host record."""
    parts = accuracies(curve)
    turn = dynamic.first_turn(jax.random.key(0), parts["init_fn"], limits)
    step = jax.jit(
        lambda key, turn: dynamic.next_turn(key, turn, **parts, limits=limits)
    )
    turns = []
    for number in range(num_turns):
        turn = step(jax.random.key(number), turn)
        turns.append(jax.device_get(turn))
    assert step._cache_size() == 1
    return turns


def by_hand(curve, limits, num_turns):
    """The same loops with lists: (epochs of the turn, age, generation, accuracy)."""
    at = lambda age: curve[min(age, len(curve) - 1)]
    age, generation, before, rows = 0, 0, [], []
    for _ in range(num_turns):
        before = [*before, at(age)][-limits.window_size :]
        accuracy, spread = before[-1], max(before) - min(before)
        if len(before) == limits.window_size and spread < limits.settled_spread:
            age, generation, before = 0, generation + 1, []
            rows.append((0, age, generation, accuracy))
            continue
        seen = []
        for epoch in range(1, limits.max_epochs + 1):
            seen = [*seen, at(age + epoch)][-limits.window_size :]
            is_full = len(seen) == limits.window_size
            if is_full and max(seen) - min(seen) > limits.moved_spread:
                break
        age += epoch
        rows.append((epoch, age, generation, accuracy))
    return rows


RISING = 1 - 0.9 ** np.arange(60.0)  # fast at first, then ever slower


@pytest.mark.parametrize(
    "limits",
    [
        dynamic.Limits(0.02, 0.05, max_epochs=7, window_size=3),
        dynamic.Limits(0.3, 0.01, max_epochs=40, window_size=4),
        dynamic.Limits(0.04, 0.03, max_epochs=50, window_size=10),
        dynamic.Limits(0.5, 0.9, max_epochs=5, window_size=1),
    ],
)
def test_the_loops_end_where_they_do_with_lists(limits):
    turns = follow(RISING, limits, 25)
    rows = [
        (int(t.num_epochs), int(t.variables.params), int(t.generation)) for t in turns
    ]
    expected = by_hand(RISING, limits, 25)
    assert rows == [row[:3] for row in expected]
    np.testing.assert_allclose(
        [t.accuracy for t in turns], [row[3] for row in expected], rtol=1e-6
    )
    assert rows[-1][2] > 0  # Some network was replaced.


def test_a_network_is_trained_until_its_accuracy_has_moved():
    # Of three accuracies in a row, 0.5, 0.5, 0.7 are the first to differ.
    limits = dynamic.Limits(0.0, 0.1, max_epochs=20, window_size=3)
    turn = follow([0.5] * 6 + [0.7] * 9, limits, 1)[0]
    assert int(turn.num_epochs) == 6


def test_training_ends_after_as_many_epochs_as_are_allowed():
    limits = dynamic.Limits(0.0, 0.1, max_epochs=13, window_size=3)
    assert int(follow([0.5], limits, 1)[0].num_epochs) == 13


def test_a_network_whose_accuracy_stands_still_is_replaced_after_a_window():
    limits = dynamic.Limits(0.04, 0.03, max_epochs=2, window_size=4)
    turns = follow([0.5], limits, 9)
    assert [int(turn.generation) for turn in turns] == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    # The fresh network is not trained in the turn in which it comes.
    assert [int(turn.variables.params) for turn in turns[2:5]] == [6, 0, 2]


def test_turns_may_be_mapped_over_networks():
    limits = dynamic.Limits(0.02, 0.05, max_epochs=7, window_size=3)
    parts = accuracies(RISING)
    keys = jax.random.split(jax.random.key(0), 2)
    first = jax.vmap(lambda key: dynamic.first_turn(key, parts["init_fn"], limits))
    turns = first(keys)
    # Two networks of different ages, which stop at different epochs.
    turns = turns._replace(variables=base.Variables(jnp.array([0, 20]), {}))
    after = jax.vmap(
        lambda key, turn: dynamic.next_turn(key, turn, **parts, limits=limits)
    )(keys, turns)
    assert after.num_epochs.tolist() == [3, 7]


def test_a_network_is_trained_and_measured_in_its_context_until_it_is_replaced():
    limits = dynamic.Limits(0.04, 0.5, max_epochs=2, window_size=2)

    def init_fn(key):  # The accuracy stands still, so that a network stays two turns.
        context = jax.random.uniform(key)
        return base.Learner(base.Variables(jnp.zeros(()), {}), context), ()

    parts = {
        "init_fn": init_fn,
        "epoch_fn": lambda key, variables, opt, context: (
            base.Variables(variables.params + context, {}),
            opt,
        ),
        "accuracy_fn": lambda variables, context: context,
    }
    turn = dynamic.first_turn(jax.random.key(0), init_fn, limits)
    step = jax.jit(
        lambda key, turn: dynamic.next_turn(key, turn, **parts, limits=limits)
    )
    turns = [turn]
    for number in range(6):
        turns.append(step(jax.random.key(number), turns[-1]))
    assert [int(turn.generation) for turn in turns] == [0, 0, 1, 1, 2, 2, 3]
    assert len({float(turn.context) for turn in turns}) == 4
    for before, after in itertools.pairwise(turns):
        np.testing.assert_array_equal(after.accuracy, before.context)
        num_epochs = int(after.num_epochs)
        assert num_epochs == (0 if after.generation > before.generation else 2)
        np.testing.assert_allclose(
            after.variables.params, num_epochs * after.context, rtol=1e-6
        )


def test_a_turn_without_a_context_has_the_leaves_that_it_always_had():
    init_fn = accuracies([0.5])["init_fn"]
    turn = dynamic.first_turn(jax.random.key(0), init_fn, dynamic.Limits())
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(turn)]
    assert paths == [
        ".variables.params",
        ".window.values",
        ".window.num_pushed",
        ".accuracy",
        ".num_epochs",
        ".generation",
    ]


def test_functions_written_before_contexts_still_work_and_warn():
    parts = accuracies(RISING)
    limits = dynamic.Limits(0.02, 0.05, max_epochs=7, window_size=3)
    turn = dynamic.first_turn(jax.random.key(0), parts["init_fn"], limits)
    former = {
        "init_fn": parts["init_fn"],
        "epoch_fn": lambda key, variables, opt: parts["epoch_fn"](
            key, variables, opt, None
        ),
        "accuracy_fn": lambda variables: parts["accuracy_fn"](variables, None),
    }
    with pytest.warns(DeprecationWarning, match="without a context") as warned:
        turned = dynamic.next_turn(jax.random.key(1), turn, **former, limits=limits)
    assert len(warned) == 2
    now = dynamic.next_turn(jax.random.key(1), turn, **parts, limits=limits)
    jax.tree.map(np.testing.assert_array_equal, turned, now)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (dynamic.Limits(window_size=0), "`window_size` must be .* at least 1"),
        (dynamic.Limits(max_epochs=0), "`max_epochs` must be .* at least 1"),
        (dynamic.Limits(settled_spread=-0.1), "difference of two accuracies"),
        (dynamic.Limits(moved_spread=float("nan")), "difference of two accuracies"),
    ],
)
def test_limits_that_cannot_be_are_refused(limits, message):
    with pytest.raises(errors.InputError, match=message):
        dynamic.first_turn(jax.random.key(0), lambda key: ({}, ()), limits)
