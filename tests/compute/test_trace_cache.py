# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What one process traces is read back by the next, and never for something else."""

import os
import pickle
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from distill_jax import runtime
from distill_jax.cli import distill, experiment, settings
from distill_jax.compute import devices, trace_cache
from distill_jax.runtime import runner, scan
from distill_jax.storage import private

KEY = jax.random.key(toy.KEY_SEED)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A process that keeps what it traces in a folder of its own."""
    former = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "compiled"))
    monkeypatch.setenv("DISTILL_JAX_KEEP_TRACED", "true")
    yield tmp_path / "compiled" / "traced"
    jax.config.update("jax_compilation_cache_dir", former)


def never():
    raise AssertionError("made anew")


def files(folder):
    return [path for path in folder.iterdir() if path.is_file()]


def test_a_value_is_made_once(tmp_path):
    one = trace_cache.TraceCache(tmp_path, "one")
    assert one.value("share", lambda: 0.25) == 0.25
    assert one.value("share", never) == 0.25
    assert one.value("other", lambda: 0.5) == 0.5
    assert trace_cache.TraceCache(tmp_path, "two").value("share", lambda: 0.0) == 0.0
    assert trace_cache.TraceCache(tmp_path, "two").value("share", never) == 0.0


@pytest.mark.parametrize("damage", [b"", b"short", b"0" * 70])
def test_what_is_damaged_is_made_anew(tmp_path, damage):
    one = trace_cache.TraceCache(tmp_path, "one")
    one.value("share", lambda: 0.25)
    (path,) = files(tmp_path)
    path.write_bytes(damage)
    assert one.value("share", lambda: 0.75) == 0.75
    assert one.value("share", never) == 0.75


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    one = trace_cache.TraceCache(tmp_path / "file" / "folder", "one")
    assert [one.value("share", lambda n=n: n) for n in (1, 2)] == [1, 2]


def test_a_program_is_traced_once_for_arguments_of_a_kind(tmp_path):
    count = []

    def fn(x, key):
        count.append(x.shape)
        return {"noisy": x + jax.random.normal(key, x.shape), "key": key}

    one, key = trace_cache.TraceCache(tmp_path, "one"), jax.random.key(0)
    for shape in ((3,), (4,), (3,)):
        x = jnp.ones(shape)
        program = one.program("noisy", fn, (x, key))
        expected = x + jax.random.normal(key, shape)
        _, call = program.compile((x, key))
        found = call(x, key)
        np.testing.assert_allclose(found["noisy"], expected, rtol=1e-6)
        assert found["key"] == key
    assert count == [(3,), (4,)]
    one.program("noisy", fn, (jnp.ones(3, jnp.int32), key))
    assert len(count) == 3


def test_only_what_is_donated_is_taken(tmp_path):
    one = trace_cache.TraceCache(tmp_path, "one")
    add = lambda second, first: jax.tree.map(lambda leaf: leaf + second, first)
    for _ in range(2):  # Made, and read back.
        second, first = jnp.zeros(()), {"x": jnp.ones(3), "y": jnp.ones(2)}
        program = one.program("add", add, (second, first), donate_argnums=(1,))
        program.compile((second, first))[1](second, first)
        assert first["x"].is_deleted()
        assert first["y"].is_deleted()
        assert not second.is_deleted()


def test_what_cannot_be_kept_is_left_alone(tmp_path):
    class Local(NamedTuple):
        x: jax.Array

    shape = jax.ShapeDtypeStruct((), jnp.float32)
    calls_back = lambda x: jax.pure_callback(lambda x: x, shape, x)
    one = trace_cache.TraceCache(tmp_path, "one")
    assert one.program("host", calls_back, (jnp.float32(1.0),)) is None
    assert one.program("class", Local, (jnp.float32(1.0),)) is None
    assert files(tmp_path) == []


class Gone(NamedTuple):
    """What a later version does not have."""

    x: jax.Array


def test_a_class_that_is_gone_makes_it_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "Gone", Gone, raising=False)
    monkeypatch.setattr(Gone, "__module__", "toy")
    one, x = trace_cache.TraceCache(tmp_path, "one"), jnp.ones(2)
    assert isinstance(one.program("class", Gone, (x,)).compile((x,))[1](x), Gone)
    monkeypatch.delattr(toy, "Gone")
    program = one.program("class", lambda x: [x], (x,))
    assert isinstance(program.compile((x,))[1](x), list)


def run(folder, *, recipe=None, **changes):
    arguments = {"num_steps": 50, "key": KEY} | changes
    kept = None if folder is None else trace_cache.TraceCache(folder, "the toy")
    return runtime.run(
        recipe or toy.recipe(),
        toy.DATA,
        trace_cache=kept,
        logging=runtime.LoggingOptions(4),
        **arguments,
    )


def test_a_run_from_kept_traces_is_the_same(tmp_path):
    recipe = toy.recipe()
    plain, first = run(None), run(tmp_path)
    broken = recipe._replace(method=recipe.method._replace(init=never, step=never))
    second = run(tmp_path, recipe=broken)
    toy.assert_same(first[0], second[0])
    np.testing.assert_array_equal(first[1].loss, second[1].loss)
    for name, values in first[1].metrics.items():
        np.testing.assert_array_equal(values, second[1].metrics[name])
    np.testing.assert_allclose(first[1].loss, plain[1].loss, rtol=1e-5)


def test_loops_of_other_lengths_are_other_programs(tmp_path, monkeypatch):
    whole, _ = run(tmp_path)
    monkeypatch.setattr(runner, "CHUNK_CAPACITY", 7)
    in_pieces, _ = run(tmp_path)
    toy.assert_same(whole, in_pieces)
    assert len(files(tmp_path)) == 3  # The first state is the same.


def small(**fields):
    config = settings.finish(settings.default(), "runlocal")
    config.network = {"name": "convnet", "width": 4, "depth": 1}
    config.num_steps, config.evaluate.arms = 3, False
    config.evaluate.num_curve_points = 0
    config.num_per_class = 1
    for name, value in fields.items():
        section, _, field = name.rpartition("__")
        (config[section] if section else config)[field] = value
    return config


def test_a_second_command_traces_no_step(kept, tmp_path, monkeypatch):
    distill.run_config(small(), tmp_path / "one", progress=False)
    assert len(files(kept)) == 3  # What two devices share, the first state, the loop.
    monkeypatch.setattr(devices, "_share", never)
    monkeypatch.setattr(scan, "_loop", lambda *args: never)
    distill.run_config(small(seed=1), tmp_path / "two", progress=False)
    monkeypatch.undo()
    assert len(files(kept)) == 3
    distill.run_config(small(seed=1), tmp_path / "three", progress=False)
    two, three = (
        np.load(tmp_path / name / "distilled.npz")["x"] for name in ("two", "three")
    )
    np.testing.assert_array_equal(two, three)


def test_what_decides_the_steps_has_a_trace_cache_of_its_own(kept, monkeypatch):
    of = lambda **fields: experiment.build(small(num_devices=1, **fields)).trace_cache
    first = of()
    assert first == of(seed=3, title="other", evaluate__num_runs=9, log_every=2)
    others = [
        of(method={"name": "dm", "batch_size": 8}),
        of(network={"name": "convnet", "width": 8, "depth": 1}),
        of(num_steps=4),
        of(data__validation_fraction=0.3),
        of(precision="float32"),
    ]
    with jax.numpy_dtype_promotion("strict"):
        others.append(of())
    monkeypatch.setattr(trace_cache, "code_digest", lambda: "after a change")
    others.append(of())
    identities = {other.identity for other in [first, *others]}
    assert len(identities) == 1 + len(others)


@pytest.mark.usefixtures("kept")
def test_it_can_be_turned_off(monkeypatch):
    assert trace_cache.trace_cache_for({}) is not None
    with monkeypatch.context() as patch:
        patch.setenv("DISTILL_JAX_KEEP_TRACED", "false")
        assert trace_cache.trace_cache_for({}) is None
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert trace_cache.trace_cache_for({}) is None
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", None)
    assert trace_cache.trace_cache_for({}) is None


class Foreign:
    """Fails when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("foreign code ran",)


FOREIGN = {
    "a pickle": lambda whole: pickle.dumps(Foreign()),
    "a value": lambda whole: b"0.5",
    "another structure": lambda whole: b'{"list": [0]}' + whole[whole.index(b"\n") :],
    "no structure": lambda whole: whole[whole.index(b"\n") + 1 :],
    "no program": lambda whole: whole[: whole.index(b"\n") + 1],
    "half a program": lambda whole: whole[: len(whole) // 2],
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("is_sealed", [False, True])
def test_what_is_no_program_is_traced_anew(tmp_path, change, is_sealed):
    one, x = trace_cache.TraceCache(tmp_path, "one"), jnp.ones(2)
    twice = lambda x: {"a": x, "b": 2 * x}
    one.program("twice", twice, (x,))
    (path,) = files(tmp_path)
    content = change(private.read(path))
    private.write(path, content) if is_sealed else path.write_bytes(content)
    found = one.program("twice", twice, (x,)).compile((x,))[1](x)
    assert found["b"].tolist() == [2.0, 2.0]
    kept = one.program("twice", never, (x,)).compile((x,))[1](x)
    assert kept["b"].tolist() == [2.0, 2.0]


def test_a_value_that_is_no_json_is_made_anew(tmp_path):
    one = trace_cache.TraceCache(tmp_path, "one")
    one.value("share", lambda: 0.25)
    (path,) = files(tmp_path)
    private.write(path, b"\xff{")
    assert one.value("share", lambda: 0.75) == 0.75
    assert one.value("share", never) == 0.75


def test_nothing_is_kept_in_the_folder_of_somebody_else(kept, monkeypatch):
    assert trace_cache.trace_cache_for({}) is not None
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.warns(UserWarning, match=r"traced belongs to another user\. Remove"):
        assert trace_cache.trace_cache_for({}) is None
    assert kept.is_dir()
