# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stopping a run politely: the first signal asks, a second interrupt insists."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator

from distill_jax.errors import Interrupted

__all__ = ["Interrupted", "Request", "requests", "stops_by_itself"]


@dataclasses.dataclass
class Request:
    """Whether a stop was asked for.

    Attributes:
      signum: the number of the first signal that came; ``None`` before.
      is_at_steps: whether steps are being taken, which are saved before the stop.
    """

    signum: int | None = None
    is_at_steps: bool = False


# The request of the run of this process that notes signals, where there is one.
_current: list[Request] = []


def stops_by_itself() -> bool:
    """Tells whether a run will stop after saving, or is on its way to it.

    Example:
      >>> with requests() as request:
      ...     before, request.is_at_steps = stops_by_itself(), True
      ...     print(before, stops_by_itself())
      False True
    """
    return any(one.is_at_steps or one.signum is not None for one in _current)


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Notes SIGINT, SIGTERM and SIGHUP instead of dying of them; restores the handlers.

    A SIGINT after the first signal raises ``KeyboardInterrupt`` at once. Signals that
    the process ignores stay ignored; outside the main thread nothing is changed.

    Yields:
      A :class:`Request` that the loop looks at where it can stop.

    Example:
      >>> import os, signal
      >>> with requests() as request:
      ...     os.kill(os.getpid(), signal.SIGTERM)
      >>> request.signum == signal.SIGTERM
      True
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(signum: int, frame: object) -> None:
        del frame  # It does not matter where the signal came.
        if request.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt(
                "Stopped at once by a second signal; the same command goes on from the "
                "last checkpoint."
            )
        request.signum = request.signum or signum

    known = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):  # Not on every system.
        known.append(signal.SIGHUP)
    former = {s: signal.getsignal(s) for s in known}
    former = {s: handler for s, handler in former.items() if handler != signal.SIG_IGN}
    _current.append(request)
    for signum in former:
        signal.signal(signum, note)
    try:
        yield request
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler or signal.SIG_DFL)
        _current.remove(request)
