# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures."""

import numpy as np
import PIL.Image
import pytest

from distill_jax import data, errors


def write_class(folder, num, size=(5, 4), mode="RGB", value=0):
    """Pictures of one colour each, the number of the picture added to `value`."""
    folder.mkdir(parents=True)
    for i in range(num):
        colour = value + i if mode == "L" else (value + i, 2, 3)
        PIL.Image.new(mode, size, colour).save(folder / f"{i:03d}.png")


def test_classes_are_alphabetical_and_a_fifth_is_split_off(tmp_path):
    write_class(tmp_path / "dog", 10, value=100)
    write_class(tmp_path / "cat", 20)
    loaded = data.load(f"folder:{tmp_path}")
    assert loaded.spec.class_names == ("cat", "dog")
    assert loaded.spec.shape == (4, 5, 3)
    assert np.bincount(loaded.test.y).tolist() == [4, 2]
    assert loaded.train.x.dtype == np.uint8
    for x, y in (loaded.train, loaded.validation, loaded.test):
        np.testing.assert_array_equal(x[:, 0, 0, 0] >= 100, y == 1)


def test_split_folders_are_kept(tmp_path):
    for name, value in (("a", 0), ("b", 50)):
        write_class(tmp_path / "train" / name, 6, value=value)
        write_class(tmp_path / "test" / name, 3, value=value + 20)
    loaded = data.load(f"folder:{tmp_path}", validation_fraction=0)
    assert loaded.train.x[:, 0, 0, 0].tolist() == [*range(6), *range(50, 56)]
    assert loaded.test.x[:, 0, 0, 0].tolist() == [20, 21, 22, 70, 71, 72]
    assert loaded.test.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_training_folder_alone_is_split(tmp_path):
    for name in "ab":
        write_class(tmp_path / "train" / name, 10)
    loaded = data.load(f"folder:{tmp_path}")
    assert loaded.spec.class_names == ("a", "b")
    assert len(loaded.test.y) == 4


def test_grey_pictures_have_one_channel(tmp_path):
    write_class(tmp_path / "a", 5, mode="L")
    write_class(tmp_path / "b", 5, mode="L")
    assert data.load(f"folder:{tmp_path}").spec.shape == (4, 5, 1)


def test_grey_among_colour_becomes_colour(tmp_path):
    write_class(tmp_path / "a", 5, mode="L", value=9)
    write_class(tmp_path / "b", 5)
    loaded = data.load(f"folder:{tmp_path}", validation_fraction=0)
    assert loaded.spec.shape == (4, 5, 3)
    assert (loaded.train.x[0] == loaded.train.x[0, 0, 0, 0]).all()


def test_pictures_deeper_down_are_found_and_other_files_passed_over(tmp_path):
    for name in "ab":
        write_class(tmp_path / name / "images", 5)
        (tmp_path / name / "boxes.txt").write_text("nothing")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "readme.md").write_text("nothing")
    with pytest.warns(UserWarning, match=r"3 files were passed over: 2 \.txt, 1 \.md"):
        loaded = data.load(f"folder:{tmp_path}")
    assert loaded.spec.num_classes == 2
    assert len(loaded.train.y) + len(loaded.validation.y) + len(loaded.test.y) == 10


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(errors.InputError, match=r'There is no folder ".*nowhere"'):
        data.load(f"folder:{tmp_path / 'nowhere'}")


def test_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(errors.InputError, match="has no sub-folders"):
        data.load(f"folder:{tmp_path}")


def test_class_without_pictures_is_named(tmp_path):
    write_class(tmp_path / "a", 5)
    (tmp_path / "b").mkdir()
    with pytest.raises(errors.InputError, match=r'class folder ".*b" has no picture'):
        data.load(f"folder:{tmp_path}")


def test_class_of_the_test_folder_alone_is_named(tmp_path):
    write_class(tmp_path / "train" / "a", 5)
    write_class(tmp_path / "test" / "z", 5)
    with pytest.raises(
        errors.InputError, match='has the class "z", which the training'
    ):
        data.load(f"folder:{tmp_path}")


def test_picture_of_another_size_is_named(tmp_path):
    write_class(tmp_path / "a", 5)
    write_class(tmp_path / "b", 1, size=(6, 4))
    with pytest.raises(
        errors.InputError, match=r'picture ".*000\.png" is 6x4 pixels, but .* is 5x4'
    ):
        data.load(f"folder:{tmp_path}")


@pytest.mark.parametrize("length", [0, 20, 45])
def test_unreadable_picture_is_named(tmp_path, length):
    write_class(tmp_path / "a", 5)
    path = tmp_path / "a" / "003.png"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(errors.InputError, match=r'picture ".*003\.png" cannot be read'):
        data.load(f"folder:{tmp_path}")


def test_picture_with_sixteen_bits_is_refused(tmp_path):
    write_class(tmp_path / "a", 2)
    deep = PIL.Image.fromarray(np.full((4, 5), 70_00, np.uint16))
    deep.save(tmp_path / "a" / "deep.png")
    with pytest.raises(errors.InputError, match="only pictures with 8 bits"):
        data.load(f"folder:{tmp_path}")
