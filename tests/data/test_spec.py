# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is known of arrays that no data set was read from."""

import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors


def test_a_task_is_made_of_a_shape_and_a_number_of_classes():
    spec = dj.data.DataSpec.of((4, 4, 3), 5)
    assert spec.class_names == ("0", "1", "2", "3", "4")
    task = dj.tasks.classification(dj.nets.mlp(5, hidden=(3,)), spec)
    assert task.facts.shape == (4, 4, 3)
    assert task.facts.bounds == ([0.0] * 3, [1.0] * 3)
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(dj.data.normalize(spec.normalizer, x), x)


def test_what_describes_no_data_is_refused():
    with pytest.raises(errors.InputError, match="`num_classes` must be"):
        dj.data.DataSpec.of((4,), 0)
    with pytest.raises(errors.InputError, match="`shape` must be"):
        dj.data.DataSpec.of((4, 0), 2)
    with pytest.raises(errors.InputError, match="1 `class_names` for 2 classes"):
        dj.data.DataSpec.of((4,), 2, class_names=["one"])
