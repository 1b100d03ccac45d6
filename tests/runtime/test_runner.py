# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import gc
import json
import os
import pathlib
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_disk
import toy

from distill_jax import errors, runtime
from distill_jax.runtime import checkpoint, logging, runner

KEY = jax.random.key(toy.KEY_SEED)
EVALUATED = {"evaluation": runtime.EvaluationOptions(toy.evaluate, 20)}


def every(num_steps, **options):
    return runtime.LoggingOptions(num_steps, **options)


def _run(workdir=None, *, recipe=None, **changes):
    arguments = {"num_steps": 50, "key": KEY, "logging": every(4)} | changes
    data = arguments.pop("data", toy.DATA)
    return runtime.run(recipe or toy.recipe(), data, workdir=workdir, **arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run with evaluations: state, history, rows."""
    workdir = tmp_path_factory.mktemp("whole")
    state, history = _run(workdir, **EVALUATED)
    return state, history, logging.read_rows(workdir / "metrics.jsonl")


def _assert_equal_to(whole, state, history, workdir):
    toy.assert_same(whole[0], state)
    rows = logging.read_rows(workdir / "metrics.jsonl")
    assert toy.without_times(rows) == toy.without_times(whole[2])
    np.testing.assert_array_equal(history.loss, whole[1].loss)
    assert history.evaluations == whole[1].evaluations


def test_rows_and_history_say_the_same(whole):
    state, history, rows = whole
    assert int(state.step) == 50
    assert history.step.tolist() == [*range(4, 49, 4), 50]
    assert history.loss.tolist() == [r["loss"] for r in rows if "loss" in r]
    assert set(history.metrics) == {"norm", "count"}
    assert history.metrics["count"].tolist() == [step - 1 for step in history.step]
    assert [row["step"] for row in history.evaluations] == [0, 20, 40, 50]
    assert all(row["step"] == row["step_again"] for row in history.evaluations)
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert rows[-1]["seconds"] == pytest.approx(history.run_seconds)
    assert all(row["compile_seconds"] > 0 for row in rows)
    assert history.run_seconds < history.compile_seconds


def test_the_run_is_the_loop_with_split_keys(whole):
    recipe = toy.recipe()
    key_initial, key_init, key_run = jax.random.split(KEY, 3)
    seed = recipe.initial_fn(key_initial, toy.DATA)
    state = jax.jit(recipe.method.init)(key_init, seed)
    steps = runtime.scan_steps(recipe.method, recipe.sampler, num_steps=50)
    state, infos = steps(key_run, state, recipe.source_fn(toy.DATA))
    toy.assert_same(whole[0], state)
    np.testing.assert_array_equal(infos.loss[whole[1].step - 1], whole[1].loss)


@pytest.mark.parametrize(("capacity", "seconds"), [(1, 1.0), (7, 1e3), (1024, 0.0)])
def test_the_size_of_chunks_changes_nothing(whole, monkeypatch, capacity, seconds):
    monkeypatch.setattr(runner, "CHUNK_CAPACITY", capacity)
    monkeypatch.setattr(runner, "_CHUNK_SECONDS", seconds)
    state, history = _run(**EVALUATED)
    toy.assert_same(whole[0], state)
    np.testing.assert_array_equal(history.loss, whole[1].loss)
    assert history.evaluations == whole[1].evaluations


def test_chunks_do_not_cross_a_stop(monkeypatch):
    counts = []

    def compile_steps(method, sampler, **arguments):
        compiled = scan_compile(method, sampler, **arguments)

        def counted(key, state, source, count):
            counts.append((int(state.step), count))
            return compiled.run(key, state, source, count)

        return compiled._replace(run=counted)

    scan_compile = runner.scan.compile_steps
    monkeypatch.setattr(runner.scan, "compile_steps", compile_steps)
    _run(**EVALUATED)
    assert sum(count for _, count in counts) == 50
    assert {step for step, _ in counts} >= {0, 20, 40}
    assert len(counts) < 20


def test_a_finished_run_is_read_back_without_compiling(whole, tmp_path, monkeypatch):
    _run(tmp_path, **EVALUATED)
    monkeypatch.delattr(runner.scan, "compile_steps")
    state, history = _run(tmp_path, **EVALUATED)
    _assert_equal_to(whole, state, history, tmp_path)


def test_a_finished_run_can_still_be_evaluated(whole, tmp_path):
    _run(tmp_path)
    _, history = _run(tmp_path, evaluation=runtime.EvaluationOptions(toy.evaluate))
    assert history.evaluations == whole[1].evaluations[-1:]


def test_evaluate_fn_may_keep_what_it_gets():
    kept = []
    evaluate = lambda step, s: kept.append(s) or {}
    state, _ = _run(evaluation=runtime.EvaluationOptions(evaluate, 9))
    assert len(kept) == 7
    assert all(np.isfinite(s.x).all() and np.isfinite(s.y).all() for s in kept)
    np.testing.assert_array_equal(kept[-1].x, state.latent.learned["x"])


def test_donation_takes_nothing_from_the_caller():
    x = jnp.ones((4, 6))
    recipe = toy.recipe()
    seed = recipe.initial_fn(KEY, toy.DATA)._replace(x=x)
    _run(recipe=recipe._replace(initial_fn=lambda key, data: seed))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(seed))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_run_goes_on_from_there(whole, tmp_path, signum):
    former = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def evaluate(step, synthetic):
        if step == 20:
            os.kill(os.getpid(), signum)
        return toy.evaluate(step, synthetic)

    message = rf"by {signum.name} after step 20; the last good .* is of step 20\."
    with pytest.raises(runtime.Interrupted, match=message) as info:
        _run(tmp_path, evaluation=runtime.EvaluationOptions(evaluate, 20))
    assert info.value.signum == signum
    assert former == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    state, history = _run(tmp_path, **EVALUATED)
    _assert_equal_to(whole, state, history, tmp_path)
    assert history.run_seconds > 0


def test_a_signal_is_not_lost_while_processes_agree(tmp_path, monkeypatch):
    asked = []

    def largest(value: int) -> int:
        """As with several processes: the answer is of before the signal came."""
        asked.append(value)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return value

    monkeypatch.setattr(runner.processes, "largest", largest)
    with pytest.raises(runtime.Interrupted) as info:
        _run(tmp_path)
    assert info.value.signum == signal.SIGTERM
    assert asked[:2] == [0, 0]
    assert set(asked[2:]) == {signal.SIGTERM}


def test_a_second_interrupt_stops_at_once(tmp_path):
    def evaluate(step, synthetic):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt) as info:
        _run(tmp_path, evaluation=runtime.EvaluationOptions(evaluate, 20))
    assert not isinstance(info.value, runtime.Interrupted)
    assert checkpoint.Checkpoints(tmp_path / "checkpoints").latest() is None


def test_a_run_that_died_between_checkpoints_repeats_no_row(whole, tmp_path):
    def evaluate(step, synthetic):
        if step == 40:
            raise RuntimeError("the power went off")
        return toy.evaluate(step, synthetic)

    with pytest.raises(RuntimeError, match="power"):
        _run(
            tmp_path,
            evaluation=runtime.EvaluationOptions(evaluate, 20),
            checkpoint_every=16,
        )
    path = tmp_path / "metrics.jsonl"
    assert max(row["step"] for row in logging.read_rows(path)) == 40
    with open(path, "a") as file:
        file.write('{"step": 44, "lo')
    state, history = _run(tmp_path, **EVALUATED, checkpoint_every=16)
    _assert_equal_to(whole, state, history, tmp_path)


def test_a_run_without_a_checkpoint_starts_anew(whole, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 3, "loss": 1.0, "metrics": {}}\n')
    state, history = _run(tmp_path, **EVALUATED)
    _assert_equal_to(whole, state, history, tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    recipe = toy.recipe(blow_up_at=37)
    for _ in range(2):  # Resuming meets the same wall, and saves nothing bad either.
        with pytest.raises(errors.NonFiniteError) as info:
            _run(tmp_path, recipe=recipe, checkpoint_every=10, logging=every(1))
        message = str(info.value)
        assert message.startswith("The loss became inf at step 37 of 50; the last good")
        assert f"checkpoint in {tmp_path} is of step 30" in message
        assert checkpoint.Checkpoints(tmp_path / "checkpoints").steps() == [20, 30]
        rows = logging.read_rows(tmp_path / "metrics.jsonl")
        assert [row["step"] for row in rows] == list(range(1, 37))
    with pytest.raises(errors.NonFiniteError, match="there is no `workdir`"):
        _run(recipe=recipe)


@pytest.mark.parametrize("where", ["learned", "inner"])
def test_a_bad_state_is_not_saved_though_its_loss_was_finite(tmp_path, where):
    recipe = toy.recipe()
    good_step = recipe.method.step

    def step(key, state, batch):
        state, info = good_step(key, state, batch)
        bad = jnp.where(state.step == 20, jnp.nan, 1.0)
        if where == "learned":
            learned = {"x": state.latent.learned["x"] * bad}
            return state._replace(latent=state.latent._replace(learned=learned)), info
        inner = state.inner | {"walk": state.inner["walk"] * bad}
        return state._replace(inner=inner), info

    recipe = recipe._replace(method=recipe.method._replace(step=step))
    with pytest.raises(errors.NonFiniteError) as info:
        _run(tmp_path, recipe=recipe, checkpoint_every=10)
    name = ".latent.learned['x']" if where == "learned" else ".inner['walk']"
    assert "After step 20" in str(info.value)
    assert f"`state{name}`" in str(info.value)
    assert checkpoint.Checkpoints(tmp_path / "checkpoints").steps() == [10]


def test_an_infinity_or_nan_that_was_there_at_first_is_no_error():
    recipe = toy.recipe()
    good_init = recipe.method.init

    def init(key, seed):
        state = good_init(key, seed)
        best = {"best": jnp.float32(jnp.inf), "unknown": jnp.float32(jnp.nan)}
        return state._replace(inner=state.inner | best)

    method = recipe.method._replace(init=init)
    state, _ = _run(recipe=recipe._replace(method=method))
    assert np.isinf(state.inner["best"])


def test_another_config_is_refused_field_by_field(tmp_path):
    config = {"num_steps": 50, "method": {"name": "dm", "rate": 0.1}, "old": [1]}
    _run(tmp_path, config=config)
    assert json.loads((tmp_path / "config.json").read_text()) == config
    _run(tmp_path, config=types.MappingProxyType(config))
    other = {"num_steps": 60, "method": {"name": "dm", "rate": 0.2}, "new": None}
    with pytest.raises(errors.InputError) as info:
        _run(tmp_path, config=other)
    for part in (
        "`num_steps` was 50, now 60",
        "`method.rate` was 0.1, now 0.2",
        "`old` was [1], now nothing",
        "`new` was nothing, now null",
    ):
        assert part in str(info.value)
    assert "method.name" not in str(info.value)
    with pytest.raises(errors.InputError, match="another config"):
        _run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"num_steps": 60}, "`num_steps`: it was 50, now it is 60"),
        ({"key": jax.random.key(4)}, "`key`"),
        (
            {"data": types.SimpleNamespace(x=toy.DATA.x, spec=None)},
            "`data`: it was abc, now it is None",
        ),
        ({"recipe": toy.recipe(31)}, "written by another method"),
    ],
    ids=["num_steps", "key", "data", "recipe"],
)
def test_another_run_in_the_same_folder_is_refused(tmp_path, changes, part):
    _run(tmp_path)
    with pytest.raises(errors.InputError, match=part.replace("(", r"\(")):
        _run(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"num_steps": 0}, "`num_steps` must be a whole number of at least 1, got 0"),
        ({"num_steps": 1.5}, "`num_steps` must be a whole number"),
        ({"logging": every(None)}, "`log_every` must be a whole number"),
        ({"logging": every(True)}, "`log_every` must be a whole number"),
        ({"checkpoint_every": 0}, "`checkpoint_every` must be a whole number"),
        ({"checkpoint_every": 5}, "there is no `workdir`"),
        (
            {"evaluation": runtime.EvaluationOptions(None, 5)},
            "there is no `evaluate_fn`",
        ),
        ({"key": 0}, "`key` must be one typed key"),
        ({"key": jax.random.split(KEY)}, "`key` must be one typed key"),
        ({"logging": every(1, tensorboard=True)}, "`tensorboard` needs a folder"),
        (
            {"evaluation": runtime.EvaluationOptions(lambda step, synthetic: 0.5)},
            "returned 0.5, but it must",
        ),
    ],
)
def test_arguments_that_cannot_work_are_refused(changes, part):
    with pytest.raises(errors.InputError, match=part):
        _run(**changes)


@pytest.mark.parametrize("config", [{"fn": print}, {"rate": float("nan")}])
def test_a_config_that_is_not_plain_is_refused(tmp_path, config):
    with pytest.raises(errors.InputError, match="cannot be written as JSON"):
        _run(tmp_path, config=config)
    assert not (tmp_path / "config.json").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.InputError, match=r"file/run cannot be written \(Not a"):
        _run(tmp_path / "file" / "run")
    with pytest.raises(errors.InputError, match="choose a folder where"):
        _run(pathlib.Path("/proc/nowhere"))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(errors.InputError, match=r"config.json is not valid JSON"):
        _run(tmp_path)


def test_a_seed_that_is_not_class_major_is_refused_for_classes():
    recipe = toy.recipe()
    shuffled = jnp.eye(2)[jnp.array([0, 1, 0, 1])]
    recipe = recipe._replace(
        protocol=types.SimpleNamespace(targets="probabilities"),
        initial_fn=lambda key, data: toy.base.Examples(x=jnp.ones((4, 6)), y=shuffled),
    )
    with pytest.raises(ValueError, match="not class-major"):
        _run(recipe=recipe)


def test_a_full_disk_ends_in_a_sentence_and_the_run_goes_on_when_it_is_freed(tmp_path):
    recipe = toy.recipe(num_inner=200_000)
    arguments = {"num_steps": 12, "logging": every(1)}
    expected, _ = _run(recipe=recipe, **arguments)
    with tiny_disk.mounted(tmp_path / "disk", 2) as disk:
        with pytest.raises(errors.InputError, match=r"The disk of .* is full"):
            _run(disk / "run", recipe=recipe, checkpoint_every=2, **arguments)
        saved = checkpoint.Checkpoints(disk / "run" / "checkpoints").latest()
        assert saved is not None
        assert saved < 12
        tiny_disk.grow(disk, 20)
        state, history = _run(disk / "run", recipe=recipe, **arguments)
        toy.assert_same(expected, state)
        assert history.step.tolist() == list(range(1, 13))
    gc.collect()  # Orbax drops coroutines when a save fails, and they complain.
