# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A command that is asked to stop ends with a sentence, wherever it is."""

import os
import signal
import subprocess
import sys
import time

import pytest

from distill_jax.cli import flags, interruptions, main
from distill_jax.runtime import signals

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _usual_handlers():
    """Also where the tests themselves run in the background, which ignores SIGINT."""
    former = {s: signal.signal(s, signal.default_int_handler) for s in SIGNALS}
    yield
    for signum, handler in former.items():
        signal.signal(signum, handler)


def call(monkeypatch, act, *, resumes=False) -> int:
    record = flags.Command("toy", "", "", lambda parser: None, act, resumes=resumes)
    monkeypatch.setattr(main, "command", lambda name: record)
    with pytest.raises(SystemExit) as stop:
        main.main(["toy"])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("resumes", [True, False])
def test_a_signal_is_one_sentence_and_its_code(signum, resumes, monkeypatch, capsys):
    def act(values):
        os.kill(os.getpid(), signum)
        time.sleep(5)

    assert call(monkeypatch, act, resumes=resumes) == 128 + signum
    how = "goes on" if resumes else "starts again, nothing was left half written"
    name = signal.Signals(signum).name
    said = f"distill-jax: Stopped by {name}; the same command {how}.\n"
    assert capsys.readouterr().err == said
    assert signal.getsignal(signum) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


def test_what_is_ignored_stays_ignored(monkeypatch):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    done = []

    def act(values):
        os.kill(os.getpid(), signal.SIGHUP)
        done.append(True)

    assert call(monkeypatch, act) == 0
    assert done == [True]


BLOCKED = """
import ctypes, os, signal, sys, threading
from distill_jax.cli import interruptions
interruptions.SECONDS = 0.2
lock, library = (ctypes.c_char * 128)(), ctypes.CDLL(None)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.default_int_handler)
with interruptions.ending_in_a_sentence("distill-jax", resumes=True):
    if sys.argv[1] == "patient":
        from distill_jax.runtime import signals
        with signals.requests() as request:
            request.is_at_steps = True
            print("ready", flush=True)
            library.pthread_mutex_lock(lock)
            library.pthread_mutex_lock(lock)
    print("ready", flush=True)
    library.pthread_mutex_lock(lock)
    library.pthread_mutex_lock(lock)  # For ever, and no signal interrupts it.
"""


def blocked(kind):
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # Between this word and the lock it still hears.
    return process


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_command_that_hears_nothing_is_ended_from_beside(signum):
    process = blocked("at once")
    process.send_signal(signum)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signum
    name = signal.Signals(signum).name
    assert said == f"distill-jax: Stopped by {name}; the same command goes on.\n"


@pytest.mark.slow
def test_a_run_at_its_steps_is_waited_for_until_a_second_interrupt():
    process = blocked("patient")
    process.send_signal(signal.SIGTERM)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Stopped by SIGINT" in said


def test_a_process_of_several_stops_with_the_others(monkeypatch):
    assert not interruptions._is_patient(signal.SIGTERM, 1)
    monkeypatch.setitem(interruptions._waits, "for others", True)
    assert interruptions._is_patient(signal.SIGINT, 2)


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_run_that_compiles_notes_a_signal_and_is_then_waited_for(signum):
    with signals.requests() as request:
        assert not signals.stops_by_itself()
        os.kill(os.getpid(), signum)
        assert request.signum == signum
        assert signals.stops_by_itself()
    assert not signals.stops_by_itself()


def test_a_signal_that_comes_while_an_object_is_freed_prints_no_traceback(capfd):
    class Freed:
        def __init__(self, do):
            self.do = do

        def __del__(self):
            self.do()

    with interruptions.ending_in_a_sentence("distill-jax", resumes=True):
        freed = Freed(lambda: os.kill(os.getpid(), signal.SIGTERM))
        del freed
    assert capfd.readouterr().err == ""


LEAVING = """
import atexit, sys, time
from distill_jax.cli import flags, main

def leave():
    print("leaving", flush=True)
    time.sleep(20)

act = lambda values: atexit.register(leave)
main.command = lambda name: flags.Command("toy", "", "", lambda parser: None, act)
sys.argv[1:] = ["toy"]
main.main()
"""


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_on_the_way_out_is_a_sentence(signum):
    command = [sys.executable, "-c", LEAVING]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "leaving\n"
        process.send_signal(signum)
        _, said = process.communicate(timeout=15)
    name = signal.Signals(signum).name
    assert said == (
        f"distill-jax: Stopped by {name} on the way out; the command had ended.\n"
    )
    assert process.returncode == 128 + signum
