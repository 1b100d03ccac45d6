# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What cannot be shown is refused before anything is drawn."""

import numpy as np
import pytest

from distill_jax import errors
from distill_jax.report import contents as contents_lib

IMAGES = np.zeros((3, 2, 4, 4, 1), np.uint8)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"distilled_images": IMAGES.astype(np.float32)}, "the type float32; pass"),
        ({"real_images": IMAGES[0]}, r"`real_images` has the shape \[2, 4, 4, 1\]"),
        ({"real_images": IMAGES.repeat(2, -1)}, "1, 3 or 4 channels"),
        ({"distilled_images": IMAGES[:0]}, "it is empty; pass None"),
        (
            {"distilled_images": IMAGES, "real_images": IMAGES[:2]},
            "`distilled_images` 3, `real_images` 2",
        ),
        (
            {"distilled_images": IMAGES, "class_names": ["a"]},
            "`class_names` 1, `distilled_images` 3",
        ),
        ({"labels": np.zeros(3)}, r"`labels` has the shape \[3\]"),
        ({"labels": np.full((2, 2), np.nan)}, "not finite"),
        ({"targets": "probability"}, 'Did you mean "probabilities"'),
        ({"label_mass": "fre"}, 'Did you mean "free"'),
        ({"history": [(1, 2.0)]}, "A row of `history` has 2 entries"),
        ({"evaluations": [(1, 2.0, 0.5)]}, "A row of `evaluations` has 3 entries"),
        ({"arms": [{"name": "x", "acuracy_mean": 1}]}, 'Did you mean "accuracy_mean"'),
        ({"arms": [{"num_examples": 3}]}, "has no `name`"),
    ],
)
def test_what_cannot_be_shown_is_refused(fields, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        contents_lib.Contents("Title", **fields)


def test_classes_are_named_or_numbered():
    contents = contents_lib.Contents("Title", class_names=["cat"])
    assert [contents.class_name(i) for i in (0, 1)] == ["cat", "1"]


def test_the_reference_has_more_examples_than_the_distilled_set():
    arms = [
        {"name": "ours", "num_examples": 10, "is_distilled": True},
        {"name": "random", "num_examples": 10, "accuracy_mean": 0.5},
        {"name": "unknown", "num_examples": 999},
    ]
    assert contents_lib.reference_arm(contents_lib.Contents("T", arms=arms)) is None
    arms.append({"name": "some", "num_examples": 20, "accuracy_mean": 0.7})
    arms.append({"name": "all", "num_examples": 90, "accuracy_mean": 0.8})
    reference = contents_lib.reference_arm(contents_lib.Contents("T", arms=arms))
    assert reference is not None
    assert reference["name"] == "all"
    assert contents_lib.distilled_arm(contents_lib.Contents("T")) is None
