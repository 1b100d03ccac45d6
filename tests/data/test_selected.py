# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Selections reach everything downstream, as a smaller data set and as a view."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import data, errors
from distill_jax.experts import training


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def selection(digits):
    """Some five of each class, in no order."""
    table, _ = data.class_table(digits.train.y, 10)
    return data.make_selection(digits, table[:, 4::-1].ravel())


def test_a_selection_says_what_it_selects(digits, selection):
    assert selection.count.tolist() == [5] * 10
    assert selection.index.shape == selection.rows.shape == (10, 5)
    own = digits.train.y[selection.index]
    np.testing.assert_array_equal(own, np.arange(10)[:, None].repeat(5, 1))


def test_rows_name_the_examples_of_the_file(digits):
    """Whatever part is split off, a row has the same picture."""
    pictures = {}
    for fraction in (0.0, 0.2, 0.5):
        loaded = data.load("digits", validation_fraction=fraction)
        for split in ("train", "validation"):
            for row, x in zip(
                loaded.rows[split], getattr(loaded, split).x, strict=True
            ):
                assert pictures.setdefault(int(row), x.tobytes()) == x.tobytes()
    assert sorted(pictures) == list(range(1200))


def test_rows_of_a_source_without_a_test_set_are_of_one_file():
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    made = data.from_arrays(x, y, normalization="none")
    rows = [made.rows[split] for split in ("train", "validation", "test")]
    assert sorted(np.concatenate(rows)) == list(range(20))
    np.testing.assert_array_equal(made.test.x, x[made.rows["test"]])


def test_a_selected_data_set_has_its_examples_alone(digits, selection):
    some = data.select(digits, selection)
    np.testing.assert_array_equal(some.rows["train"], np.sort(selection.rows.ravel()))
    assert len(some.train.y) == 50
    assert some.spec.fingerprint != digits.spec.fingerprint
    np.testing.assert_array_equal(some.validation.x, digits.validation.x)
    other = data.make_selection(digits, np.arange(50))
    assert data.select(digits, other).spec.fingerprint != some.spec.fingerprint


def test_a_selection_of_a_selection_still_names_rows_of_the_file(digits, selection):
    some = data.select(digits, selection)
    fewer = data.make_selection(some, np.arange(0, 50, 2))
    assert set(fewer.rows[fewer.count > 0].ravel()) <= set(selection.rows.ravel())
    with pytest.raises(errors.InputError, match="another data set"):
        data.select(digits, fewer)


@pytest.mark.parametrize("sampler", [dj.samplers.uniform(64), dj.samplers.per_class(8)])
def test_samplers_draw_from_a_view_alone(digits, selection, sampler):
    """Of a table of fifty, a uniform draw of 64 takes each once."""
    source = data.view(data.to_source(digits), selection)
    for number in range(3):
        batch = jax.jit(sampler)(jax.random.key(number), 0, source)
        chosen = set(selection.index.ravel().tolist())
        assert set(np.asarray(batch.index).ravel().tolist()) <= chosen
        drawn = np.asarray(batch.index)[np.asarray(batch.weight) > 0]
        assert sorted(drawn.tolist()) == sorted(chosen)
        np.testing.assert_array_equal(
            source.y[batch.index], np.asarray(batch.y).argmax(-1)
        )


def test_views_of_one_shape_share_a_compilation(digits, selection):
    source, traces = data.to_source(digits), []

    @jax.jit
    def draw(key, source):
        traces.append(key)
        return dj.samplers.uniform(8)(key, 0, source).index

    other = data.make_selection(
        digits, data.class_table(digits.train.y, 10)[0][:, 9:4:-1].ravel()
    )
    one, two = (
        draw(jax.random.key(0), data.view(source, s)) for s in (selection, other)
    )
    assert len(traces) == 1
    assert not set(one.tolist()) & set(two.tolist())


def test_experts_learn_from_a_view_alone(digits, selection):
    """What is not selected may be anything: the experts are bitwise the same."""
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(4,)), digits.spec)
    source = data.view(data.to_source(digits), selection)
    spoilt = source._replace(
        y=jnp.where(source.selected, source.y, 0),
        x=jnp.where(source.selected[:, None, None, None], source.x, 255),
    )
    train = jax.jit(
        lambda source: training.train_expert(
            jax.random.key(0),
            task,
            source,
            dj.experts.Training(num_epochs=2, batch_size=960),
        )
    )
    jax.tree.map(np.testing.assert_array_equal, train(source), train(spoilt))


def test_experts_of_the_whole_are_refused_for_a_selection(digits, selection, tmp_path):
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(4,)), digits.spec)
    plan = dj.experts.ExpertPlan(num_experts=1, num_epochs=1)
    dj.experts.make_buffer(plan, task, digits, folder=tmp_path)
    some = data.select(digits, selection)
    with pytest.raises(errors.InputError, match="data_fingerprint"):
        dj.experts.make_buffer(plan, task, some, folder=tmp_path)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ([], "empty"),
        ([960], r"outside 0 \.\. 959"),
        ([-1], "outside"),
        ([3, 3], "twice"),
    ],
)
def test_what_cannot_be_selected_is_refused(digits, chosen, said):
    with pytest.raises(errors.InputError, match=said):
        data.make_selection(digits, np.array(chosen, int))


def test_a_data_set_needs_every_class(digits):
    zeros = np.flatnonzero(digits.train.y == 0)
    with pytest.raises(errors.InputError, match="no example of class 1"):
        data.select(digits, data.make_selection(digits, zeros))
