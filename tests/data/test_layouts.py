# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which folders of a folder of pictures are splits and which are classes."""

import pathlib

import numpy as np
import PIL.Image
import pytest

from distill_jax import data, errors
from distill_jax.data import layouts

FRUIT = ("apple", "pear", "plum")


def fill(root, *folders, num=2):
    """Empty files called like pictures, for what is decided by names alone."""
    for folder in folders:
        for i in range(num):
            file = pathlib.Path(root, folder, f"{i}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def found(root):
    layout = layouts.find(root)
    return {role: path.name for role, path in layout.splits.items()}, layout.class_names


def of(*splits):
    return [f"{split}/{name}" for split in splits for name in FRUIT]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Val", "Test"),
        ("TRAINING", "VALID", "TESTING"),
        ("training_set", "validation-set", "test set"),
        ("seg_train", "seg_val", "seg_test"),
        ("trainData", "dev", "testImages"),
        ("train2017", "val2017", "test2017"),
    ],
)
def test_splits_are_known_by_many_names(tmp_path, train, validation, test):
    fill(tmp_path, *of(train, validation, test))
    fill(tmp_path, ".cache/train/x", "__MACOSX/train")
    names = {"train": train, "validation": validation, "test": test}
    assert found(tmp_path) == (names, FRUIT)


def test_splits_are_read_with_their_pictures(tmp_path):
    for split, num in (("TRAIN", 6), ("valid", 3), ("Test", 2)):
        for label, name in enumerate(FRUIT):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(num):
                picture = PIL.Image.new("L", (3, 2), 100 * label + i)
                picture.save(tmp_path / split / name / f"{i}.png")
    loaded = data.load(f"folder:{tmp_path}")
    for split, num in (("train", 6), ("validation", 3), ("test", 2)):
        x, y = getattr(loaded, split)
        assert x[:, 0, 0, 0].tolist() == [
            100 * c + i for c in range(3) for i in range(num)
        ]
        assert y.tolist() == np.repeat(range(3), num).tolist()
    (tmp_path / "Test").rename(tmp_path / "kept")
    (tmp_path / "kept").rename(tmp_path.parent / "kept")
    with pytest.warns(UserWarning, match="no test split, so a fifth of its training"):
        loaded = data.load(f"folder:{tmp_path}")
    assert (len(loaded.train.y), len(loaded.validation.y)) == (14, 9)


@pytest.mark.parametrize(
    "folders",
    [
        ("bus", "car", "train"),
        ("bus/more", "car/more", "train/more"),
        ("bridge", "test_tube", "train_station"),
        ("bridge/a", "bridge/b", "train_station/a", "train_station/c"),
        ("dev", "ops"),
        ("car", "bus/train", "bus/trolley"),
    ],
)
def test_classes_that_are_called_like_splits_stay_classes(tmp_path, folders):
    fill(tmp_path, *folders)
    names = tuple(sorted({folder.split("/")[0] for folder in folders}))
    assert found(tmp_path) == ({"train": tmp_path.name}, names)


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("train", "test"), 'holds "test" and "train", which hold pictures but no sub'),
        (("Train", "Test", "bus"), "it is not told which class a picture has"),
        (of("test", "val"), 'holds "test" and "val", without a folder of training pic'),
        (of("train", "Training"), 'holds "Training" and "train", two of which are'),
        ((*of("train", "test"), "bus"), 'beside "bus", with pictures but no folders'),
        ((*of("train"), "bus", "car"), 'beside "bus" and "car", with pictures but'),
        (of("data/train", "data/test"), "such as folder:.*data, or lay the pictures"),
        (
            of("a/b"),
            r'holds "apple", "pear" and "plum": if they are meant, name folder',
        ),
        (
            of("x/train", "x/test", "y/train", "y/test"),
            'holds "test" and "train", which',
        ),
        (
            ("cat/train", "cat/test", "dog/train", "dog/test"),
            '"train", which are splits',
        ),
        (of("train/train", "test/test"), "if they are meant, move those up into"),
        ((), "has no sub-folders"),
    ],
)
def test_what_is_not_clear_is_refused_with_what_was_seen(tmp_path, folders, said):
    fill(tmp_path, *folders)
    with pytest.raises(errors.InputError, match=said):
        layouts.find(tmp_path)


def test_folders_without_pictures_beside_splits_are_told(tmp_path):
    fill(tmp_path, *of("train", "test"))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "all.csv").touch()
    with pytest.warns(UserWarning, match='nothing is read from "labels", where'):
        assert found(tmp_path)[1] == FRUIT


def test_classes_with_the_same_folders_within_are_told(tmp_path):
    fill(tmp_path, *of("2019", "2020"))
    with pytest.warns(UserWarning, match='"2019" and "2020" of .* read as the classes'):
        assert found(tmp_path)[1] == ("2019", "2020")


def test_one_class_is_refused(tmp_path):
    (tmp_path / "only").mkdir()
    for i in range(9):
        PIL.Image.new("L", (3, 2)).save(tmp_path / "only" / f"{i}.png")
    with pytest.raises(errors.InputError, match='one class alone, "only"'):
        data.load(f"folder:{tmp_path}")
