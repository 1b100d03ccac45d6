# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ends a command that is asked to stop: with a sentence, wherever it is at the time.

A handler of Python's runs between two of its instructions. A program that XLA compiles
or runs is one instruction, of minutes perhaps; therefore a thread waits beside it, and
ends the process after a few seconds. Every file is replaced whole or not at all, so
nothing is lost by that. While a run takes its steps the thread is patient: the run
saves first.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from distill_jax import errors

__all__ = [
    "NAMES",
    "ending_in_a_sentence",
    "speak_on_the_way_out",
    "wait_for_others",
]

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Not all systems have the last.
SECONDS = 3.0  # What a command has for its way out.
_waits = {"for others": False}


@contextlib.contextmanager
def ending_in_a_sentence(program: str, resumes: bool) -> Iterator[None]:
    """Turns the signals that ask for a stop into an exception with a sentence.

    Signals that the process ignores stay ignored. Outside the main thread nothing is
    changed.

    Args:
      program: the first word of the sentence where the thread has to say it.
      resumes: whether the same command goes on where it was stopped.

    Raises:
      Interrupted: when a signal comes.

    Example:
      >>> try:
      ...     with ending_in_a_sentence("distill-jax", resumes=True):
      ...         os.kill(os.getpid(), signal.SIGTERM)
      ... except errors.Interrupted as stop:
      ...     print(stop, 128 + stop.signum)
      Stopped by SIGTERM; the same command goes on. 143
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        del frame  # It does not matter where the signal came.
        raise errors.Interrupted(signum, _sentence(signum, resumes))

    former = {}
    for name in NAMES:
        signum = getattr(signal, name, None)
        if signum is not None and signal.getsignal(signum) != signal.SIG_IGN:
            former[signum] = signal.signal(signum, stop)
    try:
        with _lost_in_silence(), _watched(program, resumes, set(former)):
            yield
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler or signal.SIG_DFL)


def wait_for_others() -> None:
    """Says that this is one of several processes, which stop together."""
    _waits["for others"] = True


def speak_on_the_way_out(program: str) -> None:
    """Makes a signal that comes after a command end the process, with a sentence.

    Args:
      program: the first word of the sentence.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        del frame
        name = signal.Signals(signum).name
        text = f"{program}: Stopped by {name} on the way out; the command had ended."
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            sys.stdout.flush()
        os.write(2, f"{text}\n".encode())
        os._exit(128 + signum)

    for name in NAMES:
        signum = getattr(signal, name, None)
        if signum is not None and signal.getsignal(signum) != signal.SIG_IGN:
            signal.signal(signum, stop)


@contextlib.contextmanager
def _watched(program: str, resumes: bool, signums: set[int]) -> Iterator[None]:
    """Ends the process where it does not come to its end after a signal."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    is_over = threading.Event()
    former = signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def watch() -> None:
        num_signals = 0
        while (byte := os.read(read, 1)) and byte[0]:
            if byte[0] not in signums:
                continue
            num_signals += 1
            if _is_patient(byte[0], num_signals):
                continue
            if not is_over.wait(SECONDS) and not _is_patient(byte[0], num_signals):
                text = f"{program}: {_sentence(byte[0], resumes)}\n"
                os.write(2, text.encode())
                os._exit(128 + byte[0])

    thread = threading.Thread(target=watch, daemon=True, name="waits for signals")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        signal.set_wakeup_fd(former)
        os.write(write, b"\0")
        thread.join()
        os.close(read)
        os.close(write)


@contextlib.contextmanager
def _lost_in_silence() -> Iterator[None]:
    """Prints no traceback where Python cannot raise, such as while it frees an object.

    The thread beside it then ends the process, with the sentence.
    """
    former = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, errors.Interrupted):
            former(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        if sys.unraisablehook is hook:  # Else somebody further in is not through.
            sys.unraisablehook = former


def _is_patient(signum: int, num_signals: int) -> bool:
    """Whether a run is at its steps and stops by itself; a second Ctrl-C insists."""
    if _waits["for others"]:
        return True
    if signum == signal.SIGINT and num_signals > 1:
        return False
    runs = sys.modules.get("distill_jax.runtime.signals")  # Not there before jax is.
    return runs is not None and runs.stops_by_itself()


def _sentence(signum: int, resumes: bool) -> str:
    name = signal.Signals(signum).name
    how = "goes on" if resumes else "starts again, nothing was left half written"
    return f"Stopped by {name}; the same command {how}."
