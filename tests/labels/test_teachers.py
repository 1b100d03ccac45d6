# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Teachers of one's own: functions, and files of logits that name their images."""

import numpy as np
import pytest

from distill_jax import errors, labels
from distill_jax.labels import published

IMAGES = np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1)
LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_a_function_labels_images_in_their_order():
    seen = []

    def teacher(x):
        seen.append(len(x))
        return x.reshape(len(x), -1)[:, :3] / 10

    y = labels.from_teacher(teacher, IMAGES, temperature=2.0, batch_size=4)
    flat = IMAGES.reshape(6, -1)[:, :3] / 10 / 2
    expected = np.exp(flat) / np.exp(flat).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(y, expected, atol=1e-6)
    assert seen == [4, 2]


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (lambda x: np.zeros((1, 3)), "it must return a row for each"),
        (lambda x: np.zeros((len(x), 3, 1)), "it must return a row for each"),
        (lambda x: np.full((len(x), 3), np.nan), "logits that are not finite"),
        (lambda x: np.zeros((len(x), 4)), "tells 4 classes apart"),
    ],
)
def test_what_a_function_says_wrongly_is_told(teacher, said):
    with pytest.raises(errors.InputError, match=said):
        labels.from_teacher(teacher, IMAGES, num_classes=3)


def test_a_temperature_of_zero_is_told():
    with pytest.raises(errors.InputError, match="must be above 0"):
        labels.from_teacher(lambda x: np.zeros((len(x), 3)), IMAGES, temperature=0.0)


def test_rows_are_found_by_the_images_whatever_their_order(tmp_path):
    order = np.array([4, 0, 0, 2])
    path = labels.write_logits(tmp_path / "t.npz", IMAGES, LOGITS)
    wanted = labels.image_digests(IMAGES[order])
    np.testing.assert_array_equal(labels.read_logits(path, wanted)[0], LOGITS[order])
    labels.write_logits(path, IMAGES, np.stack([LOGITS, -LOGITS]))
    said = labels.read_logits(path, wanted)
    np.testing.assert_array_equal(said, [LOGITS[order], -LOGITS[order]])
    own = write(tmp_path / "own.npz", logits=LOGITS, images=IMAGES)
    np.testing.assert_array_equal(labels.read_logits(own, wanted)[0], LOGITS[order])


def test_images_of_another_type_are_other_images(tmp_path):
    path = labels.write_logits(tmp_path / "t.npz", IMAGES, LOGITS)
    wanted = labels.image_digests(IMAGES.astype(np.float32))
    with pytest.raises(errors.InputError, match="6 of the 6 images, the first"):
        labels.read_logits(path, wanted)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"logits": LOGITS}, "it must hold"),
        ({"images": IMAGES}, "it must hold"),
        ({"logits": LOGITS[:5], "images": IMAGES}, r"shape \(5, 3\) of 6 images"),
        ({"logits": LOGITS[:, 0], "images": IMAGES}, r"shape \(6,\)"),
        ({"logits": LOGITS * np.inf, "images": IMAGES}, "not finite"),
        ({"logits": LOGITS[:, :2], "images": IMAGES}, "tells 2 classes apart"),
    ],
)
def test_a_file_that_holds_something_else_is_told(arrays, said, tmp_path):
    path = write(tmp_path / "t.npz", **arrays)
    with pytest.raises(errors.InputError, match=said):
        labels.read_logits(path, labels.image_digests(IMAGES), num_classes=3)


def test_a_file_that_is_no_npz_is_told(tmp_path):
    (tmp_path / "t.npz").write_text("logits")
    with pytest.raises(errors.InputError, match="could not be read"):
        labels.read_logits(tmp_path / "t.npz", [])


def test_logits_that_do_not_fit_are_not_written(tmp_path):
    with pytest.raises(errors.InputError, match=r"\(5, 3\) for 6 images"):
        labels.write_logits(tmp_path / "t.npz", IMAGES, LOGITS[:5])
    assert not list(tmp_path.iterdir())


def test_the_published_table_grows_with_the_images():
    """Later epochs of one run of experts are better, and label more images."""
    assert len(published.TABLE) == 22
    runs: dict[tuple, list] = {}
    for row in published.TABLE:
        runs.setdefault((row.data_name, row.network, row.expert_rate), []).append(row)
    for rows in runs.values():
        for name in ("num_per_class", "epoch", "expert_accuracy"):
            values = [getattr(row, name) for row in rows]
            assert values == sorted(values), (name, rows)
    with pytest.raises(errors.InputError, match='by a "vgg"'):
        published.row_for("cifar10", 1, network="vgg")
