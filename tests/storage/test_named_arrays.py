# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sets of several arrays, types that are kept, and what labels a set may have."""

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import errors
from distill_jax.storage import distilled, merging

RNG = np.random.default_rng(0)


def points(seed=0, **changes):
    """Where physics is asked for: inside a square and on its boundary."""
    rng = np.random.default_rng(seed)
    fields = {
        "x": {"inside": rng.uniform(size=(5, 2)), "boundary": rng.uniform(size=(4, 1))},
        "weight": {"inside": rng.uniform(size=5), "boundary": rng.uniform(size=4)},
        "data": {"name": "laplace"},
    }
    return distilled.DistilledSet(**(fields | changes))


def pictures(**changes):
    fields = {"x": RNG.normal(size=(6, 4)).astype(np.float32), "y": soft(6)}
    return distilled.DistilledSet(**(fields | changes))


def soft(num, total=1.0):
    y = np.random.default_rng(num).uniform(size=(num, 3)).astype(np.float32)
    return total * y / y.sum(axis=1, keepdims=True)


def again(one, folder):
    return distilled.DistilledSet.load(one.save(folder))


def test_points_with_rows_and_weights_of_their_own_come_back(tmp_path):
    before = points()
    after = again(before, tmp_path)
    assert after.y is None
    for field in ("x", "weight"):
        one, two = getattr(before, field), getattr(after, field)
        assert sorted(one) == sorted(two) == ["boundary", "inside"]
        for name in one:
            assert two[name].dtype == np.float64
            np.testing.assert_array_equal(one[name], two[name])
    assert after.num_examples == 9
    assert after.num_bytes == 8 * (5 * 2 + 4 + 5 + 4)
    assert repr(after).startswith("DistilledSet(x_inside [5, 2] float64, x_boundary")


def test_points_are_read_with_numpy_alone(tmp_path):
    points().save(tmp_path)
    facts = json.loads((tmp_path / "distilled.json").read_text())
    with np.load(tmp_path / "distilled.npz", allow_pickle=False) as file:
        assert sorted(file.files) == [
            "weight_boundary",
            "weight_inside",
            "x_boundary",
            "x_inside",
        ]
        np.testing.assert_array_equal(file["x_inside"], points().x["inside"])
    assert facts["format_version"] == 2  # An earlier library asks for a newer one.
    assert facts["arrays"]["x_boundary"] == {"shape": [4, 1], "dtype": "float64"}


def test_storing_reading_and_merging_need_numpy_alone(tmp_path):
    points().save(tmp_path)
    code = (
        "import sys\nfrom distill_jax.storage import distilled, merging\n"
        f"one = distilled.DistilledSet.load({str(tmp_path)!r})\n"
        f"merging.merge(one, one).save({str(tmp_path)!r})\n"
        "sys.exit('jax' in sys.modules)"
    )
    root = pathlib.Path(dj.__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": str(root)}
    assert subprocess.run([sys.executable, "-c", code], env=env).returncode == 0
    assert distilled.DistilledSet.load(tmp_path).num_examples == 18


def test_solutions_with_a_boundary_value_each_are_labelled_together(tmp_path):
    x = {"place": RNG.uniform(size=(7, 1)), "value": RNG.uniform(size=(7, 2))}
    one = again(distilled.DistilledSet(x, x["place"], targets="values"), tmp_path)
    assert one.num_examples == 7
    np.testing.assert_array_equal(one.y, x["place"])
    labelled = points(y={"boundary": np.ones((4, 1))}, targets="values")
    assert again(labelled, tmp_path).y["boundary"].tolist() == [[1.0]] * 4


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_types_are_kept(tmp_path, dtype):
    one = again(pictures(x=RNG.normal(size=(6, 4)).astype(dtype)), tmp_path)
    assert one.x.dtype == dtype
    assert one.y.dtype == np.float32


def test_labels_are_as_exact_as_the_examples():
    y = soft(6).astype(np.float64)
    assert pictures(y=y).y.dtype == np.float32
    assert pictures(x=np.ones((6, 4)), y=y).y.dtype == np.float64
    assert pictures(x=[[1, 2]], y=[[1, 0]]).x.dtype == np.float32


def test_whole_numbers_of_a_mapping_are_kept(tmp_path):
    side = np.array([0, 1, 2, 3], np.int8)
    one = again(
        points(x={"side": side, "inside": np.ones((2, 2))}, weight=None), tmp_path
    )
    assert one.x["side"].dtype == np.int8
    assert one.x["side"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"x": {}}, "`x` is a mapping without arrays"),
        ({"x": {"a/b": np.ones((2, 2))}}, "name 'a/b', which cannot"),
        ({"x": {"inside": np.ones((0, 2))}}, "needs at least 1 row"),
        ({"x": {"inside": np.float32(1)}}, "needs at least 1 row"),
        ({"x": {"inside": [[np.inf]]}}, r"`x\['inside'\]` holds numbers that are not"),
        ({"weight": {"edge": np.ones(4)}}, r"has the arrays \['edge'\], but `x` has"),
        ({"weight": {"inside": np.ones(4)}}, r"`weight\['inside'\]` .* 5 examples"),
        ({"weight": np.ones(5)}, r"`weight` .* 4 examples; .* a mapping where"),
        ({"y": np.ones((5, 1))}, "`y` has the shape"),
        ({"y": {"boundary": np.ones((4, 1)) / 2}}, r"rows of `y\['boundary'\]` have"),
        ({"normalizer": {"scale": 1, "mean": 0, "std": 1}}, "belongs to one array"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        points(**changes)


def test_points_are_no_pictures():
    with pytest.raises(errors.InputError, match="which are not pictures"):
        points().to_images()


def test_points_are_merged_array_by_array():
    one, two = points(0), points(1, weight={"boundary": np.full(4, 3.0)})
    both = merging.merge(one, two)
    for name in one.x:
        joined = np.concatenate([one.x[name], two.x[name]])
        np.testing.assert_array_equal(both.x[name], joined)
    assert both.weight["inside"][5:].tolist() == [1.0] * 5
    assert both.weight["boundary"][4:].tolist() == [3.0] * 4
    assert both.y is None
    other = points(x={"inside": np.ones((5, 2))}, weight=None)
    with pytest.raises(errors.InputError, match="differ in the shape of the examples"):
        merging.merge(one, other)


def test_a_distillation_of_points_is_stored_and_used_again(tmp_path):
    """Points are moved so that their mean square is one, in float64 from end to end."""

    def loss(synthetic, key, inner, batch):
        assert synthetic.y is None
        means = [
            jnp.sum(w[:, None] * x**2) / jnp.sum(w)
            for w, x in zip(
                synthetic.weight.values(), synthetic.x.values(), strict=True
            )
        ]
        return jnp.sum((jnp.stack(means) - batch) ** 2), dj.Aux()

    objective = dj.Objective(
        init=lambda key, synthetic: {},
        loss=loss,
        advance=lambda key, inner, synthetic, batch: inner,
    )
    with jax.enable_x64(True):
        start = points()
        optimizer = optax.adam(0.1)
        method = dj.distill(objective, decoder=dj.plain_decoder(), optimizer=optimizer)
        recipe = dj.Recipe(
            method,
            sampler=lambda key, step, source: source,
            initial_fn=lambda key, data: dj.Examples(start.x, start.y, start.weight),
            source_fn=lambda data: data,
            protocol=None,
        )
        state, _ = dj.run(recipe, jnp.ones(()), num_steps=200, key=jax.random.key(0))
        found: Any = method.read(state)
        stored = again(distilled.DistilledSet(found.x, found.y, found.weight), tmp_path)
        synthetic: Any = dj.evaluation.to_synthetic(stored)
        for name, x in synthetic.x.items():
            assert x.dtype == jnp.float64
            weight = synthetic.weight[name]
            mean = float(jnp.sum(weight[:, None] * x**2) / jnp.sum(weight))
            assert mean == pytest.approx(1, abs=1e-3)


def test_targets_are_stored_read_and_merged(tmp_path):
    one = pictures(target=soft(6)[::-1])
    np.testing.assert_array_equal(again(one, tmp_path).target, one.target)
    assert one.num_bytes == 4 * (6 * 4 + 6 * 3 + 6 * 3)
    two = pictures()
    both = merging.merge(one, two)
    by_class = [a.reshape(3, 2, 3) for a in (one.target, two.y)]  # `y` where None.
    expected = np.concatenate(by_class, axis=1).reshape(12, 3)
    np.testing.assert_array_equal(both.target, expected)
    assert merging.merge(two, two).target is None


def test_labels_of_free_mass_say_so_wherever_they_are_seen(tmp_path):
    one = pictures(y=soft(6, total=3.6), label_mass="free")
    after = again(one, tmp_path)
    assert after.label_mass == "free"
    assert "probabilities of free mass (3.6 to 3.6)" in repr(after)
    document = json.loads((tmp_path / "distilled.json").read_text())
    assert (document["label_mass"], document["format_version"]) == ("free", 2)
    assert merging.merge(pictures(), after).label_mass == "free"


def test_half_precision_is_no_other_mass():
    y = np.random.default_rng(0).dirichlet(np.ones(1000), size=20)
    rounded = y.astype(np.float16)
    assert abs(rounded.astype(np.float64).sum(1) - 1).max() > 1e-5
    distilled.DistilledSet(np.ones((20, 2)), rounded)


def test_labels_of_a_former_version_have_the_mass_that_they_have(tmp_path):
    pictures(y=soft(6, total=2.0), label_mass="free").save(tmp_path)
    path = tmp_path / "distilled.json"
    document = json.loads(path.read_text())
    for name in ("label_mass", "facts_version", "facts_sha256"):
        del document[name]
    document["format_version"] = 1
    path.write_text(json.dumps(document))
    assert distilled.DistilledSet.load(tmp_path).label_mass == "free"


def test_a_stored_set_that_no_network_can_train_on_is_refused_by_its_name(tmp_path):
    pictures(learning_rate=0.02).save(tmp_path)
    with np.load(tmp_path / "distilled.npz") as file:
        arrays = dict(file)
    arrays["learning_rate"] = np.float32(-0.05)
    document = json.loads((tmp_path / "distilled.json").read_text())
    facts = {k: v for k, v in document.items() if k not in ("sha256", "arrays")}
    dj.storage.npz_json.write(tmp_path, arrays, facts)
    sentence = f"{re.escape(str(tmp_path))} cannot be used. .*learning rate is -0.05"
    with pytest.raises(errors.InputError, match=sentence):
        distilled.DistilledSet.load(tmp_path)


def test_what_earlier_versions_can_read_is_written_for_them(tmp_path):
    pictures(learning_rate=0.02, weight=np.ones(6)).save(tmp_path)
    document = json.loads((tmp_path / "distilled.json").read_text())
    assert document["format_version"] == 1
    assert "label_mass" not in document
