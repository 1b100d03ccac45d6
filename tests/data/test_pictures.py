# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Picture files as viewers show them, and the files that are passed over."""

import os
import zlib

import numpy as np
import PIL.Image
import pytest

from distill_jax import data, errors
from distill_jax.data import pictures

RANDOM = np.random.default_rng(0).integers(0, 256, (4, 5), dtype=np.uint8)


def grey(value=None):
    pixels = RANDOM if value is None else np.full((4, 5), value, np.uint8)
    return PIL.Image.fromarray(pixels)


@pytest.fixture
def root(tmp_path):
    """Two classes of five grey pictures of one value each."""
    for label, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for i in range(5):
            grey(10 * i + 100 * label).save(tmp_path / name / f"{i}.png")
    return tmp_path


def count(root):
    loaded = data.load(f"folder:{root}", validation_fraction=0)
    return len(loaded.train.y) + len(loaded.test.y)


def load_one(tmp_path, picture, name="0.png", **options):
    picture.save(tmp_path / name, **options)
    return pictures.load([tmp_path / name], tmp_path)[0]


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".tiff", "TIFF"),
        (".TIF", "TIFF"),
        (".jfif", "JPEG"),
        (".jpe", "JPEG"),
        (".dib", "DIB"),
        (".pbm", "PPM"),
        (".pnm", "PPM"),
        (".webp", "WEBP"),
        (".apng", "PNG"),
    ],
)
def test_all_usual_endings_are_read(root, suffix, form):
    grey(7).save(root / "a" / f"x{suffix}", form)
    assert count(root) == 11


@pytest.mark.parametrize(
    "name",
    [
        *(".ipynb_checkpoints/0-checkpoint.png", "._0.png", "__MACOSX/0.png"),
        *(".hidden/deeper/0.png", "@eaDir/0.png", ".0.png"),
    ],
)
def test_hidden_pictures_are_left_out_and_counted(root, name):
    (root / "a" / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "a" / name).write_bytes(b"\0\5\x16\7 no picture")
    with pytest.warns(UserWarning, match="1 file was passed over: 1 hidden"):
        assert count(root) == 10


def test_what_systems_leave_behind_is_nothing_to_tell(root):
    for name in (".DS_Store", "Thumbs.db", "a/desktop.ini", "a/.DS_Store"):
        (root / name).touch()
    assert count(root) == 10


def test_files_that_are_passed_over_are_counted_by_reason(root):
    for name in ("0.png", "loose.jpg", "a/x.heic", "a/y.HEIC", "a/labels", "b/z.bak"):
        (root / name).touch()
    said = (
        "6 files were passed over: 2 .heic, 2 pictures outside of the folders of "
        "classes, 1 without an ending, 1 .bak."
    )
    with pytest.warns(UserWarning, match=said):
        assert count(root) == 10


def test_pipes_and_links_to_nothing_are_passed_over(root):
    os.mkfifo(root / "a" / "pipe.png")
    (root / "a" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.warns(UserWarning, match="2 files were passed over: 2 no regular file"):
        assert count(root) == 10


def test_links_to_files_are_read_and_linked_folders_within_a_class_are_told(root):
    (root / "a" / "link.png").symlink_to(root / "b" / "0.png")
    (root / "a" / "loop").symlink_to(root)
    with pytest.warns(UserWarning, match="1 in linked folders"):
        assert count(root) == 11


def test_the_folder_of_a_class_may_be_a_link(root):
    (root / "b").rename(root.parent / f"{root.name}_elsewhere")
    (root / "b").symlink_to(root.parent / f"{root.name}_elsewhere")
    assert count(root) == 10


def test_a_folder_called_like_a_picture_is_walked_into(root):
    (root / "a" / "more.png").mkdir()
    (root / "a" / "0.png").rename(root / "a" / "more.png" / "0.png")
    assert count(root) == 10


@pytest.mark.parametrize("form", ["EPS", "PCX", "SGI", "PDF"])
def test_other_formats_are_refused_whatever_they_are_called(root, form):
    grey(7).save(root / "a" / "0.png", form)
    with pytest.raises(errors.InputError, match=r'0\.png" cannot be read'):
        count(root)


def test_ink_in_the_alpha_channel_is_laid_on_white(tmp_path):
    ink = np.zeros((4, 5, 4), np.uint8)
    ink[..., 3] = RANDOM
    with pytest.warns(
        UserWarning, match="1 are transparent in part: they are laid on w"
    ):
        x = load_one(tmp_path, PIL.Image.fromarray(ink))
    np.testing.assert_array_equal(x, np.repeat(255 - RANDOM[..., None], 3, axis=2))


@pytest.mark.parametrize("form", ["LA", "P", "L"])
def test_transparent_grey_stays_grey(tmp_path, form):
    picture, options = grey(), {}
    if form == "LA":
        picture = PIL.Image.merge("LA", (grey(60), grey()))
    else:
        picture = picture.convert(form)
        options = {"transparency": int(RANDOM[0, 0])}
    with pytest.warns(UserWarning, match="laid on white ground"):
        x = load_one(tmp_path, picture, **options)
    assert x.shape == (4, 5, 1)
    if form == "LA":
        ink = RANDOM / 255
        np.testing.assert_allclose(x[..., 0], 60 * ink + 255 * (1 - ink), atol=0.51)
    else:
        expected = np.where(RANDOM[0, 0] == RANDOM, 255, RANDOM)
        np.testing.assert_array_equal(x[..., 0], expected)


def test_opaque_alpha_is_no_more_than_the_picture(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 4), dtype=np.uint8)
    colours[..., 3] = 255
    x = load_one(tmp_path, PIL.Image.fromarray(colours))
    np.testing.assert_array_equal(x, colours[..., :3])


@pytest.mark.parametrize("name", ["0.png", "0.gif"])
def test_a_palette_of_greys_is_grey_and_one_of_colours_is_not(tmp_path, name):
    picture = grey().convert("P")
    x = load_one(tmp_path, picture, name)
    np.testing.assert_array_equal(x, RANDOM[..., None])
    picture.putpalette([value for i in range(256) for value in (i, 0, 255 - i)])
    assert load_one(tmp_path, picture, name).shape == (4, 5, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("name", "form"), [("0.png", "PNG"), ("0.tiff", "TIFF")])
def test_pictures_are_turned_as_their_exif_says(tmp_path, orientation, name, form):
    stored = {
        1: RANDOM,
        2: RANDOM[:, ::-1],
        3: RANDOM[::-1, ::-1],
        4: RANDOM[::-1],
        5: RANDOM.T,
        6: np.rot90(RANDOM),
        7: RANDOM[::-1, ::-1].T,
        8: np.rot90(RANDOM, -1),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture = PIL.Image.fromarray(np.ascontiguousarray(stored))
    x = load_one(tmp_path, picture, name, exif=exif)
    np.testing.assert_array_equal(x[..., 0], RANDOM)


def test_pictures_that_lie_on_their_side_fit_those_that_stand(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    grey().save(tmp_path / "0.png")
    lying = PIL.Image.fromarray(np.ascontiguousarray(np.rot90(RANDOM)))
    lying.save(tmp_path / "1.png", exif=exif)
    both = pictures.load([tmp_path / "0.png", tmp_path / "1.png"], tmp_path)
    np.testing.assert_array_equal(both[0], both[1])


@pytest.mark.parametrize("name", ["0.gif", "0.png", "0.webp", "0.tiff"])
def test_of_animated_pictures_the_first_frame_is_read_and_this_is_said(tmp_path, name):
    frames = [grey(value) for value in (0, 90, 200)]
    options = {"save_all": True, "append_images": frames[1:]}
    with pytest.warns(UserWarning, match="1 are animated: their first frame is read"):
        x = load_one(tmp_path, frames[0], name, **options)
    assert (x.shape[:2], x.max()) == ((4, 5), 0)


def test_a_picture_of_another_size_is_refused_before_it_is_decoded(tmp_path):
    grey().save(tmp_path / "0.png")
    content = bytearray((tmp_path / "0.png").read_bytes())
    content[16:20] = (10**7).to_bytes(4, "big")  # Columns; then a check sum for them.
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "1.png").write_bytes(content)
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    with pytest.raises(errors.InputError, match=r"is 10000000x4 pixels, but .* is 5x4"):
        pictures.load(files, tmp_path)
    with pytest.raises(errors.InputError, match=r"announces 160 MB, but holds"):
        pictures.load(files[1:], tmp_path)


def test_more_pictures_than_memory_are_refused(tmp_path, monkeypatch):
    grey().save(tmp_path / "0.png")
    monkeypatch.setattr(pictures.bounds, "available_memory", lambda: 100_000)
    assert pictures.load([tmp_path / "0.png"] * 2, tmp_path).shape == (2, 4, 5, 1)
    with pytest.raises(errors.InputError, match=r"The 9000 pictures in .* are free"):
        pictures.load([tmp_path / "0.png"] * 9000, tmp_path)


def test_a_png_whose_pixels_have_another_checksum_is_refused(root):
    path = root / "a" / "0.png"
    PIL.Image.fromarray(RANDOM).save(path, compress_level=0)
    content = bytearray(path.read_bytes())
    content[content.index(RANDOM[1].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(errors.InputError, match=r"0\.png.*the checksum of its pixels"):
        count(root)
