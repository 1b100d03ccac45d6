# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two processes of two devices each, talking over the loopback."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

WORKER = pathlib.Path(__file__).parents[1] / "support" / "worker.py"
LONG = 10**7  # steps: until it is stopped


def start(
    count: int, folder, *, spread: str = "data", steps: int = 60, patience: int = 100
):
    """The processes of one run."""
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=2")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, WORKER]
            + [str(w) for w in (count, number, port, folder, spread, steps, patience)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "XLA_FLAGS": flags},
        )
        for number in range(count)
    ]


def finish(processes) -> tuple[list[int], list[str]]:
    """Exit codes and outputs."""
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def told(output: str) -> tuple[int, float]:
    """The number of steps and the sum of what was learned."""
    lines = [line for line in output.splitlines() if line.startswith("done ")]
    assert lines, output
    return int(lines[0].split()[1]), float(lines[0].split()[2])


def wait_for_checkpoint(folder: pathlib.Path) -> None:
    deadline = time.monotonic() + 200
    while not list(folder.glob("checkpoints/step_*")):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process with two devices comes to."""
    codes, outputs = finish(start(1, tmp_path_factory.mktemp("alone")))
    assert codes == [0], outputs
    return told(outputs[0])


@pytest.mark.parametrize("spread", ["data", "classes"])
def test_two_processes_come_to_what_one_does(alone, tmp_path, spread):
    codes, outputs = finish(start(2, tmp_path, spread=spread))
    assert codes == [0, 0], outputs
    assert "devices 4" in outputs[0]
    for output in outputs:
        steps, total = told(output)
        assert steps == 60
        assert total == pytest.approx(alone[1], rel=1e-4)
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    losses = [row for row in map(json.loads, rows) if "loss" in row]
    assert [row["step"] for row in losses] == [10, 20, 30, 40, 50, 60]  # Once each.
    assert sorted(p.name for p in tmp_path.glob("checkpoints/*")) == [
        "step_40",
        "step_60",
    ]


def test_a_stopped_run_goes_on_with_another_number_of_processes(alone, tmp_path):
    processes = start(2, tmp_path, steps=LONG)
    wait_for_checkpoint(tmp_path)
    processes[1].send_signal(signal.SIGTERM)  # One is asked, all of them stop.
    codes, outputs = finish(processes)
    assert codes == [128 + signal.SIGTERM] * 2, outputs
    assert "the last good checkpoint" in outputs[0]
    saved = max(int(p.name[5:]) for p in tmp_path.glob("checkpoints/step_*"))
    (process,) = start(1, tmp_path, steps=LONG)
    while f"step {saved + 20 - saved % 20}" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish([process])[0] == [128 + signal.SIGTERM]


def test_a_killed_process_ends_the_run_and_leaves_a_checkpoint(tmp_path):
    processes = start(2, tmp_path, steps=LONG, patience=20)
    wait_for_checkpoint(tmp_path)
    os.kill(processes[1].pid, signal.SIGKILL)
    codes, outputs = finish(processes)
    assert codes[1] == -signal.SIGKILL
    # A sentence, or an abort where the coordination of jax notices first.
    assert codes[0] in (4, -signal.SIGABRT), outputs[0]
    assert "start the same command again" in outputs[0] or codes[0] != 4
    assert max(int(p.name[5:]) for p in tmp_path.glob("checkpoints/step_*")) >= 20
    # What is there can be gone on with.
    (process,) = start(1, tmp_path, steps=LONG)
    while "step " not in (line := process.stdout.readline()):
        assert process.poll() is None, line
    assert int(line.split()[1]) >= 20
    process.send_signal(signal.SIGTERM)
    finish([process])
