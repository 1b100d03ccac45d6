# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures show the numbers they were given, and leave no global state."""

import io

import matplotlib
import numpy as np
import pytest

from distill_jax.report import contents as contents_lib
from distill_jax.report import figures, pictures


def make(**fields):
    return contents_lib.Contents("Title", **fields)


def lines_of(fig):
    return fig.axes[0].get_lines()[0].get_xydata()


def test_a_short_history_is_drawn_as_it_is():
    fig = figures.loss_curve(make(history=[(1, 0.0, 3.0), (5, 0.1, 2.0)]))
    np.testing.assert_array_equal(lines_of(fig), [[0.0, 3], [0.1, 2]])
    assert fig.axes[0].get_yscale() == "linear"


def test_a_long_history_is_averaged_in_groups():
    num = 2 * figures.MAX_POINTS + 1
    fig = figures.loss_curve(make(history=[(i, float(i), 2.0 * i) for i in range(num)]))
    data = lines_of(fig)
    assert len(data) <= figures.MAX_POINTS
    np.testing.assert_allclose(data[0], [1.0, 2.0])
    np.testing.assert_allclose(data[-1], [num - 2, 2.0 * (num - 2)])
    assert "means of 3" in fig.axes[0].get_ylabel()


def test_a_loss_that_falls_far_is_logarithmic():
    fig = figures.loss_curve(make(history=[(0, 0.0, 100.0), (1, 0.0, 0.1)]))
    assert fig.axes[0].get_yscale() == "log"
    fig.draw_without_rendering()
    texts = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert "100" in texts


def test_records_that_are_not_finite_are_left_out():
    rows = [(0, 0.0, 1.0), (1, 1.0, float("nan")), (2, 2.0, None), (3, 3.0, 2.0)]
    assert lines_of(figures.loss_curve(make(history=rows)))[:, 0].tolist() == [0, 3]
    assert figures.loss_curve(make(history=rows[1:3])) is None
    rows = [(0, 0.0, None, 0.1), (1, 1.0, 0.5, None), (2, 2.0, 0.6, float("nan"))]
    data = lines_of(figures.accuracy_curve(make(evaluations=rows)))
    np.testing.assert_allclose(data, [[1, 50], [2, 60]])


def test_other_arms_are_dashed_lines_unless_their_names_would_collide():
    arms = [
        {"name": "ours", "accuracy_mean": 0.8, "is_distilled": True},
        {"name": "cost $5 and $6", "accuracy_mean": 0.5},
        {"name": "herding", "accuracy_mean": 0.501},
        {"name": "all", "accuracy_mean": 0.99},
        {"name": "unknown"},
    ]
    fig = figures.accuracy_curve(make(evaluations=[(0, 0, 0.4, 0.0)], arms=arms))
    assert [text.get_text() for text in fig.axes[0].texts] == ["all", "herding"]
    fig = figures.accuracy_curve(make(evaluations=[(0, 0, 0.4, 0.0)], arms=arms[1:2]))
    assert not fig.axes[0].texts[0].get_parse_math()


@pytest.mark.parametrize(
    ("targets", "limits"),
    [("probabilities", (0.0, 1.0)), ("centred", (-0.9, 0.9)), ("values", (-0.9, 0.9))],
)
def test_labels_below_zero_diverge_from_white(targets, limits):
    labels = np.array([[0.9, 0.1], [-0.2, 0.3]])
    image = figures.label_map(make(labels=labels, targets=targets)).axes[0].images[0]
    assert image.get_clim() == limits
    np.testing.assert_array_equal(image.get_array(), labels)


@pytest.mark.parametrize(("mass", "limits"), [("one", (0, 1)), ("free", (0, 3.5))])
def test_labels_of_free_mass_are_as_dark_as_they_are_large(mass, limits):
    fig = figures.label_map(make(labels=3.5 * np.eye(3), label_mass=mass))
    assert fig is not None
    assert fig.axes[0].images[0].get_clim() == limits


@pytest.mark.parametrize(
    ("shape", "shown", "num_classes"),
    [
        ((30, 3), (30, 3), 3),
        ((150, 3), (30, 3), 3),
        ((100, 100), (20, 100), 20),
        ((7, 3), (7, 3), 0),
    ],
)
def test_labels_show_the_first_rows_of_the_first_classes(shape, shown, num_classes):
    labels = np.arange(np.prod(shape), dtype=float).reshape(shape)
    rows, num = figures.shown_labels(labels)
    assert (rows.shape, num) == (shown, num_classes)
    if shape == (150, 3):
        np.testing.assert_array_equal(rows[10], labels[50])
    fig = figures.label_map(make(labels=labels, targets="values"))
    fig.draw_without_rendering()
    named = [text.get_text() for text in fig.axes[0].get_yticklabels()]
    assert not num_classes or named == [str(i) for i in range(num_classes)]


def test_labels_of_zeros_are_drawn():
    figures.label_map(make(labels=np.zeros((2, 2)), targets="values"))


@pytest.mark.parametrize("num_per_class", [1, 3, 50])
@pytest.mark.parametrize("with_curve", [True, False])
def test_the_overview_is_a_picture(num_per_class, with_curve):
    images = np.zeros((12, num_per_class, 4, 4, 3), np.uint8)
    fields = {"history": [(0, 0.0, 1.0)]} if with_curve else {}
    fig = figures.overview(make(distilled_images=images, **fields))
    assert len(fig.axes) == 1 + with_curve
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    assert buffer.getvalue()[1:4] == b"PNG"


def test_the_overview_prefers_accuracy_and_does_without_anything():
    rows = {"history": [(0, 0.0, 1.0)], "evaluations": [(0, 0.0, 0.5, 0.0)]}
    assert figures.overview(make(**rows)).axes[0].get_ylabel() == "accuracy %"
    assert figures.overview(make()).axes == []


def test_settings_of_matplotlib_stay_as_they_were():
    before = dict(matplotlib.rcParams)
    figures.overview(make(history=[(0, 0.0, 1.0)]))
    figures.label_map(make(labels=np.eye(2)))
    assert dict(matplotlib.rcParams) == before


def test_strips_keep_pixels_and_leave_transparent_gaps():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 28, 3), np.uint8)
    row = pictures.strip(images)
    assert row.shape == (4, 58, 4)
    np.testing.assert_array_equal(row[:, :28, :3], images[0])
    np.testing.assert_array_equal(row[:, 30:, :3], images[1])
    assert row[:, 28:30, 3].max() == 0
    assert row[:, 30:, 3].min() == 255


def test_grey_and_transparent_examples_become_colours():
    grey = pictures.strip(np.full((1, 2, 2, 1), 7, np.uint8))
    assert grey[0, 0].tolist() == [7, 7, 7, 255]
    clear = pictures.strip(np.full((1, 2, 2, 4), 7, np.uint8))
    assert clear[0, 0].tolist() == [7, 7, 7, 7]


def test_one_example_for_each_class_makes_a_square():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1, 1) + np.zeros(
        (5, 1, 8, 8, 1), np.uint8
    )
    picture, centres = pictures.stack(images)
    assert centres is None
    assert picture.shape == (17, 26, 4)
    assert picture[::9, ::9, 0].tolist() == [[0, 1, 2], [3, 4, 0]]
