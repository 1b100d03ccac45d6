# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stopping a run politely: the first signal asks, a second interrupt insists."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator

__all__ = ["Interrupted", "Request", "requests"]


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and has stopped after saving what it could.

    Attributes:
      signum: the number of the signal; a program ends with ``128 + signum``.
    """

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.signum = signum


@dataclasses.dataclass
class Request:
    """Whether a stop was asked for.

    Attributes:
      signum: the number of the first signal that came; ``None`` before.
    """

    signum: int | None = None


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Notes SIGINT and SIGTERM instead of dying of them, and restores the handlers.

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
            raise KeyboardInterrupt
        request.signum = request.signum or signum

    former = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    former = {s: handler for s, handler in former.items() if handler != signal.SIG_IGN}
    for signum in former:
        signal.signal(signum, note)
    try:
        yield request
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler or signal.SIG_DFL)
