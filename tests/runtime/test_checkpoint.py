# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import errno
import gc
import os
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_disk
import toy

from distill_jax import errors
from distill_jax.runtime import checkpoint, orbax_files


def _state():
    key = jax.random.key(1, impl="rbg")
    return {
        "conv0/kernel": jnp.arange(6.0).reshape(2, 3) / 7,
        "bf16": jnp.ones(3, jnp.bfloat16) / 3,
        "flag": jnp.array([True, False]),
        "count": jnp.int32(7),
        "key": jax.random.split(key, 3),
        "empty": jnp.zeros((0, 4)),
        "none": None,
        "opt": optax.chain(optax.clip(1.0), optax.adam(0.1)).init({"x": jnp.ones(2)}),
    }


def test_every_kind_of_leaf_survives_bitwise(tmp_path):
    state = _state()
    checkpoints = checkpoint.Checkpoints(tmp_path / "c")
    checkpoints.save(5, state, {"seconds": 0.1})
    restored = checkpoints.restore(jax.eval_shape(lambda: state))
    toy.assert_same(state, restored)
    assert jax.random.key_impl(restored["key"]) == jax.random.key_impl(state["key"])
    assert checkpoints.facts(5) == {"seconds": 0.1}


def test_float64_survives(x64, tmp_path):
    state = {"x": jnp.ones(2, jnp.float64) / 3}
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(1, state)
    toy.assert_same(state, checkpoints.restore(state))


def test_the_last_few_are_kept_and_one_step_can_be_saved_twice(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path, num_kept=3)
    for step in (2, 10, 9, 11, 10):
        checkpoints.save(step, {"x": np.full(2, float(step))}, {"when": step})
    assert checkpoints.steps() == [9, 10, 11]
    assert checkpoints.restore({"x": np.ones(2)}, 9)["x"][0] == 9
    assert checkpoints.latest() == 11
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step_10",
        "step_11",
        "step_9",
    ]


def test_other_files_and_unfinished_saves_are_ignored(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(1, {"x": np.ones(2)})
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "step_7.txt").write_text("mine")
    (tmp_path / "step_8").mkdir()  # Not written by orbax.
    (tmp_path / "99").mkdir()
    (tmp_path / "unfinished_save.orbax-checkpoint-tmp").mkdir()
    assert checkpoints.latest() == 1
    checkpoints.save(2, {"x": np.ones(2)})
    assert checkpoints.steps() == [1, 2]
    assert not list(tmp_path.glob("unfinished*"))
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "template",
    [
        {"x": np.ones(3, np.float32)},
        {"x": np.ones(2, np.int32)},
        {"y": np.ones(2, np.float32)},
        {"x": np.ones(2, np.float32), "y": np.ones(1)},
    ],
    ids=["shape", "type", "name", "more"],
)
def test_a_checkpoint_of_another_structure_is_refused(tmp_path, template):
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(1, {"x": np.ones(2, np.float32)})
    with pytest.raises(errors.InputError, match="written by another method") as info:
        checkpoints.restore(template)
    assert checkpoint._describe(template)[-1] in str(info.value)


def test_refusals_are_sentences(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path)
    with pytest.raises(errors.InputError, match="no checkpoint of step None"):
        checkpoints.restore({})
    with pytest.raises(errors.InputError, match="no checkpoint of step 3"):
        checkpoints.facts(3)
    with pytest.raises(errors.InputError, match="`num_kept` must be at least 1"):
        checkpoint.Checkpoints(tmp_path, num_kept=0)


def test_a_save_that_fails_leaves_the_former_checkpoint(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(1, {"x": np.ones(2)})
    text = "RESOURCE_EXHAUSTED: No space left on device [os_error_code='28']"
    with (
        mock.patch.object(orbax_files.orbax(), "save", side_effect=ValueError(text)),
        pytest.raises(OSError, match="No space left") as info,
    ):
        checkpoints.save(2, {"x": np.ones(2)})
    assert info.value.errno == errno.ENOSPC
    assert checkpoints.steps() == [1]
    with (
        mock.patch.object(orbax_files.orbax(), "save", side_effect=ValueError("other")),
        pytest.raises(ValueError, match="other"),
    ):
        checkpoints.save(2, {"x": np.ones(2)})


def _fill(checkpoints):
    rng = np.random.default_rng(0)
    for step in range(9):
        checkpoints.save(step, {"x": rng.normal(size=200_000).astype(np.float32)})


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path):
    with tiny_disk.mounted(tmp_path / "disk", 3) as disk:
        checkpoints = checkpoint.Checkpoints(disk / "c", num_kept=9)
        with pytest.raises(OSError, match="No space left") as info:
            _fill(checkpoints)
        assert info.value.errno == errno.ENOSPC
        last = checkpoints.latest()
        assert last is not None
        template = {"x": np.zeros(200_000, np.float32)}
        assert checkpoints.restore(template, last)["x"].std() > 0.9
        whole = [f"step_{step}" for step in range(last + 1)]
        assert sorted(os.listdir(disk / "c")) == whole
    gc.collect()  # Orbax drops coroutines when a save fails, and they complain.
