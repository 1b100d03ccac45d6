# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distilled sets: what goes in comes out, and damage is told in a sentence."""

import dataclasses
import hashlib
import json
import os
import re

import numpy as np
import pytest

from distill_jax import errors
from distill_jax.data import normalizer as data_normalizer
from distill_jax.storage import digests, distilled, merging


def make(num_per_class=2, num_classes=3, seed=0, **changes):
    rng = np.random.default_rng(seed)
    num = num_per_class * num_classes
    fields = {
        "x": rng.normal(size=(num, 4, 4, 3)).astype(np.float32),
        "y": np.repeat(np.eye(num_classes), num_per_class, axis=0),
        "weight": rng.uniform(size=num),
        "learning_rate": 0.02,
        "normalizer": {"scale": 1 / 255, "mean": [0.4] * 3, "std": [0.2, 0.3, 0.4]},
        "recipe": {"network": {"name": "convnet", "width": 8}, "num_steps": 100},
        "data_fingerprint": "abc",
        "data": {"name": "toy", "shape": (4, 4, 3), "class_names": ("a", "b", "c")},
        "config": {"seed": np.int64(3), "limit": float("inf")},
        "results": {"accuracy_mean": np.float32(0.5)},
    }
    return distilled.DistilledSet(**(fields | changes))


def rewrite(folder, *, arrays=None, content=None, **facts):
    """Changes files behind the back of the library, with hashes that fit."""
    document = json.loads((folder / "distilled.json").read_text())
    if arrays is not None:
        np.savez(folder / "distilled.npz", **arrays)
    if content is not None:
        (folder / "distilled.npz").write_bytes(content)
    found = (folder / "distilled.npz").read_bytes()
    document["sha256"] = hashlib.sha256(found).hexdigest()
    document |= facts
    kept = {key: value for key, value in document.items() if value is not None}
    (folder / "distilled.json").write_text(json.dumps(digests.sealed(kept)))


@pytest.fixture
def saved(tmp_path):
    make().save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("which", ["", "distilled.npz", "distilled.json", "distilled"])
def test_a_set_comes_back_as_it_was(saved, which):
    before, after = make(), distilled.DistilledSet.load(saved / which)
    for field in dataclasses.fields(before):
        one, two = getattr(before, field.name), getattr(after, field.name)
        if field.name == "normalizer":
            assert sorted(one) == sorted(two) == ["mean", "scale", "std"]
            assert all(np.array_equal(one[name], two[name]) for name in one)
        elif isinstance(one, np.ndarray):
            assert one.dtype == two.dtype == np.float32
            np.testing.assert_array_equal(one, two)
        else:
            assert one == two, field.name
    assert after.config == {"seed": 3, "limit": "inf"}
    assert after.data["class_names"] == ["a", "b", "c"]


def test_what_is_absent_stays_absent(tmp_path):
    make(weight=None, learning_rate=None, normalizer={}).save(tmp_path)
    after = distilled.DistilledSet.load(tmp_path)
    assert after.weight is None
    assert after.learning_rate is None
    assert after.normalizer == {}


def test_the_file_lists_its_hash_and_its_arrays(saved):
    document = json.loads((saved / "distilled.json").read_text())
    content = (saved / "distilled.npz").read_bytes()
    assert document["sha256"] == hashlib.sha256(content).hexdigest()
    assert document["arrays"]["x"] == {"shape": [6, 4, 4, 3], "dtype": "float32"}
    assert document["format_version"] == 1
    assert document["num_bytes"] == make().num_bytes


def test_the_same_set_has_the_same_hash(tmp_path):
    contents = [make().save(tmp_path / name).read_bytes() for name in ("a", "b")]
    assert contents[0] == contents[1]


def test_bytes_count_examples_labels_weights_and_learning_rate():
    floats = 6 * 48 + 6 * 3 + 6 + 1
    assert make().num_bytes == 4 * floats
    assert make(weight=None, learning_rate=None).num_bytes == 4 * (6 * 48 + 6 * 3)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("new/", "new/distilled.npz"),
        ("new/set", "new/set.npz"),
        ("set.v2.json", "set.v2.npz"),
    ],
)
def test_a_path_is_a_folder_a_stem_or_a_file(tmp_path, path, written):
    assert make().save(f"{tmp_path}/{path}") == tmp_path / written
    assert distilled.DistilledSet.load(tmp_path / written).x.shape == (6, 4, 4, 3)


def test_the_recipe_of_the_docstring_reads_the_files(tmp_path, monkeypatch):
    code = re.search(r"alone::\n\n(.*?)\n\n``weight``", distilled.__doc__, re.S)
    assert code is not None
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, size=(60, 2, 2, 3)).astype(np.uint8)
    zca = data_normalizer.zca_normalizer(raw, scale=1 / 255)
    x = np.asarray(data_normalizer.normalize(zca, raw[:2]))
    make(
        x=x, y=np.eye(2), weight=None, normalizer=zca._asdict(), data={"name": "toy"}
    ).save(tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec("\n".join(line[4:] for line in code[1].splitlines()), names)
    np.testing.assert_allclose(names["u"], raw[:2] / 255, atol=1e-5)
    assert names["facts"]["data"]["name"] == "toy"


@pytest.mark.parametrize("kind", ["mean_std", "zca", "pixel_range"])
def test_images_come_back_in_true_colours(kind):
    rng = np.random.default_rng(1)
    raw = rng.integers(0, 256, size=(200, 3, 3, 3)).astype(np.uint8)
    fit = data_normalizer.zca_normalizer
    options = {}
    if kind != "zca":
        fit = data_normalizer.mean_std_normalizer
    if kind == "pixel_range":
        options = {"pixel_range": (0.1, 0.8)}
    fitted = fit(raw, scale=1 / 255, **options)
    x = np.asarray(data_normalizer.normalize(fitted, raw[:6]))
    images = make(x=x, normalizer=fitted._asdict()).to_images()
    assert images.dtype == np.uint8
    expected = data_normalizer.to_pixels(fitted, x)
    np.testing.assert_array_equal(images, expected)
    if kind != "pixel_range":
        np.testing.assert_array_equal(images, raw[:6])


def test_images_are_clipped_not_wrapped():
    images = make(
        x=np.stack([np.full((4, 4, 3), v) for v in [-9, 0, 9] * 2])
    ).to_images()
    assert images[0].max() == 0
    assert images[1].min() == images[1].max() == 102
    assert images[2].min() == 255


@pytest.mark.parametrize("shape", [(6, 5), (6, 4, 4, 2), (6, 4, 4, 4, 1)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(errors.InputError, match="not a picture"):
        make(x=np.zeros(shape), normalizer={}).to_images()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"y": np.eye(3)}, r"`x` has the shape \[6, 4, 4, 3\] and `y` \[3, 3\]"),
        ({"y": np.zeros(6)}, "needs x"),
        ({"x": np.zeros((0, 3)), "y": np.zeros((0, 3))}, "at least 1"),
        ({"weight": np.ones(5)}, r"`weight` has the shape \[5\]"),
        ({"targets": "centered"}, 'Did you mean "centred"'),
        ({"x": np.full((6, 2), np.nan)}, "`x` holds numbers that are not finite"),
        ({"learning_rate": float("inf")}, "learning rate is inf, .* not a finite and"),
        ({"learning_rate": -0.05}, r"learning rate is -0\.05, .* positive"),
        ({"learning_rate": 0}, "learning rate is 0, "),
        ({"learning_rate": 1e-50}, "learning rate is 1e-50, .* in float32"),
        ({"learning_rate": [0.1, 0.2]}, r"learning rate is \[0\.1, 0\.2\]"),
        ({"y": -np.eye(6, 3)}, r'probability of -1 in row 0, .*`targets="centred"'),
        (
            {"y": np.full((6, 3), 0.5)},
            r'sums from 1\.5 to 1\.5, .*`label_mass="free"',
        ),
        ({"y": -np.eye(6, 3), "label_mass": "free"}, "`y` has a probability of -1"),
        ({"target": np.full((6, 3), 0.5)}, "rows of `target` have sums"),
        ({"target": np.eye(3)}, r"`target` has the shape \[3, 3\], .* 6 examples"),
        ({"y": np.full((6, 3), np.nan), "targets": "values"}, "`y` holds numbers that"),
        ({"label_mass": "fre"}, 'Did you mean "free"'),
        ({"y": None}, "there is no `y`"),
        ({"x": None}, "needs examples"),
        ({"x": np.ones((6, 2)) * 1j}, "they are complex"),
        ({"x": "pictures"}, "`x` is not an array of numbers"),
        ({"normalizer": {"mean": 0.0}}, r"The normaliser has \['mean'\]"),
        ({"normalizer": {"shift": 0.0}}, "cannot be inverted"),
        (
            {"normalizer": {"scale": 1, "mean": 0, "std": 1, "whiten": np.eye(2)}},
            "together or not at all",
        ),
        (
            {"normalizer": {"scale": 1, "mean": 0, "std": 1, "target_std": 1}},
            "target_mean and target_std likewise",
        ),
        ({"config": {"net": {"fn": print}}}, r"`config.net.fn` is a builtin_function"),
        ({"recipe": {"steps": [1, object()]}}, r"`recipe.steps\[1\]` is a object"),
    ],
)
def test_what_cannot_be_a_set_is_refused(changes, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        make(**changes)


def test_one_flipped_byte_is_found(saved):
    content = bytearray((saved / "distilled.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (saved / "distilled.npz").write_bytes(content)
    with pytest.raises(errors.InputError, match=r"SHA-256 .* was changed"):
        distilled.DistilledSet.load(saved)


@pytest.mark.parametrize(
    ("gone", "left"),
    [("distilled.npz", "distilled.json"), ("distilled.json", "distilled.npz")],
)
def test_a_missing_file_is_named(saved, gone, left):
    (saved / gone).unlink()
    with pytest.raises(errors.InputError, match=f"no file .*{gone}.*only .*{left}"):
        distilled.DistilledSet.load(saved)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(errors.InputError, match=r"no file .*nowhere\.npz`;"):
        distilled.DistilledSet.load(tmp_path / "nowhere")


@pytest.mark.parametrize("key", ["sha256", "arrays", "recipe", "targets", "data"])
def test_a_missing_key_is_named(saved, key):
    document = json.loads((saved / "distilled.json").read_text())
    del document[key]
    (saved / "distilled.json").write_text(json.dumps(document))
    with pytest.raises(errors.InputError, match=f"has no {key}"):
        distilled.DistilledSet.load(saved)


def changed(value):
    """Another value of the same type."""
    if isinstance(value, dict):
        return {**value, "added": 1}
    return value + ("x" if isinstance(value, str) else 1)


def test_every_fact_that_is_changed_or_gone_is_noticed(saved):
    path = saved / "distilled.json"
    document = json.loads(path.read_text())
    assert {"facts_sha256", "facts_version"} < set(document)
    for name in document:
        one = {**document, name: changed(document[name])}
        other = {key: value for key, value in document.items() if key != name}
        for text in (json.dumps(one), json.dumps(other)):
            path.write_text(text)
            with pytest.raises(errors.InputError):
                distilled.DistilledSet.load(saved)
    path.write_text(json.dumps(dict(reversed(document.items())), indent=7))
    assert distilled.DistilledSet.load(saved).config["seed"] == 3


@pytest.mark.parametrize("text", ["{", "\xff", ""])
def test_a_broken_json_is_told(saved, text):
    (saved / "distilled.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(errors.InputError, match="could not be read as JSON"):
        distilled.DistilledSet.load(saved)


@pytest.mark.parametrize("text", ["[]", "3", "{}"])
def test_a_foreign_json_is_told(saved, text):
    (saved / "distilled.json").write_text(text)
    with pytest.raises(errors.InputError, match="not the description of a distilled"):
        distilled.DistilledSet.load(saved)


def test_a_future_format_asks_for_a_newer_library(saved):
    rewrite(saved, format_version=3)
    with pytest.raises(errors.InputError, match="format version 3, but"):
        distilled.DistilledSet.load(saved)


@pytest.mark.parametrize("part", [0.0, 0.5, 0.98])
def test_a_truncated_npz_is_told_even_when_the_hash_fits(saved, part):
    content = (saved / "distilled.npz").read_bytes()
    rewrite(saved, content=content[: int(part * len(content))])
    with pytest.raises(errors.InputError, match="could not be read as plain arrays"):
        distilled.DistilledSet.load(saved)


class Bomb:
    """Would make a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickled_objects_are_never_executed(saved):
    trap = str(saved / "exploded")
    array = np.array([Bomb(trap)], dtype=object)
    rewrite(saved, arrays={"x": array, "y": np.eye(3)})
    with pytest.raises(errors.InputError, match="could not be read as plain arrays"):
        distilled.DistilledSet.load(saved)
    assert not os.path.exists(trap)
    with np.load(saved / "distilled.npz", allow_pickle=True) as file:
        assert len(file["x"]) == 1  # The trap works when it is allowed to.
    assert os.path.exists(trap)


def test_arrays_other_than_listed_are_told(saved):
    rewrite(saved, arrays={"x": np.zeros((6, 2), np.float32), "y": np.eye(6)})
    with pytest.raises(errors.InputError, match="they must agree"):
        distilled.DistilledSet.load(saved)


def test_a_file_without_targets_is_told(saved):
    listing = {"x": {"shape": [6, 2], "dtype": "float32"}}
    rewrite(saved, arrays={"x": np.zeros((6, 2), np.float32)})
    document = json.loads((saved / "distilled.json").read_text())
    document["arrays"] = listing
    (saved / "distilled.json").write_text(json.dumps(digests.sealed(document)))
    with pytest.raises(errors.InputError, match="have x, y"):
        distilled.DistilledSet.load(saved)


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_full_disk_leaves_the_old_set_and_no_rest(saved, monkeypatch, failing_call):
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == failing_call:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.InputError, match="No space left on device"):
        make(seed=1).save(saved)
    assert sorted(p.name for p in saved.iterdir()) == [
        "distilled.json",
        "distilled.npz",
    ]
    np.testing.assert_array_equal(distilled.DistilledSet.load(saved).x, make().x)


def test_an_unwritable_path_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.InputError, match="could not be written"):
        make().save(tmp_path / "file" / "set")
    (tmp_path / "set.json").mkdir()
    with pytest.raises(errors.InputError, match="is a folder"):
        make().save(tmp_path / "set")
    assert not (tmp_path / "set.npz").exists()


def test_merged_rows_stay_class_major():
    one = make(2, seed=0)
    two = make(1, seed=1, weight=None)
    both = merging.merge(one, two)
    np.testing.assert_array_equal(both.y, np.repeat(np.eye(3), 3, axis=0))
    rows = [one.x[0], one.x[1], two.x[0], one.x[2], one.x[3], two.x[1]]
    np.testing.assert_array_equal(both.x[:6], np.stack(rows))
    np.testing.assert_array_equal(both.weight[[2, 5, 8]], np.ones(3))
    np.testing.assert_array_equal(both.weight[:2], one.weight[:2])
    assert both.results == {}
    assert both.recipe == one.recipe


def test_merged_values_are_appended():
    one = make(x=np.zeros((6, 2)), targets="values", normalizer={})
    two = make(x=np.ones((6, 2)), targets="values", normalizer={})
    both = merging.merge(one, two)
    np.testing.assert_array_equal(both.x[:, 0], np.repeat([0.0, 1.0], 6))


def test_merging_keeps_recipes_that_differ():
    one, two = make(), make(recipe={"num_steps": 5})
    both = merging.merge(one, two)
    assert both.recipe == {"merged": [one.recipe, two.recipe]}
    assert merging.merge(one).recipe == one.recipe


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"targets": "centred"}, r"targets \(probabilities and centred\)"),
        ({"data_fingerprint": "def"}, "data fingerprint"),
        ({"y": np.eye(6)}, "number of classes"),
        ({"data": {"name": "toy", "class_names": ["x", "y", "z"]}}, "class names"),
        ({"x": np.zeros((6, 5, 5, 3))}, "shape of the examples"),
        ({"learning_rate": 0.5}, "learning rate"),
        ({"normalizer": {}}, "parts of the normaliser"),
        (
            {"normalizer": {"scale": 1, "mean": [0.4] * 3, "std": [0.2, 0.3, 0.4]}},
            "scale of the normaliser",
        ),
    ],
)
def test_mixtures_are_not_merged(changes, what):
    with pytest.raises(
        errors.InputError, match=f"Set 1 and set 3 differ in the {what}"
    ):
        merging.merge(make(), make(seed=2), make(**changes))


def test_nothing_is_not_merged():
    with pytest.raises(errors.InputError, match="given nothing"):
        merging.merge()


@pytest.mark.parametrize("name", ["recipe", "data", "config", "results"])
def test_facts_of_another_form_are_refused(name):
    with pytest.raises(errors.InputError, match=f"`{name}` .* must be a dictionary"):
        distilled.DistilledSet(np.eye(2), np.eye(2), **{name: ["words"]})
