"""Processes that end when they should, on request and with their parent, and a bound of memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = "interrupted; the same command continues"


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM in a command; no ``except Exception`` takes it for an error of its own."""

    def __init__(self, number: int):
        super().__init__(INTERRUPTED)
        self.status = 128 + number  # as shells name it


STOPS = (KeyboardInterrupt, Interrupted)  # in a notebook, in a command


def leave(number: int, frame: FrameType | None = None) -> NoReturn:
    """End the process at once, with the line of ``Interrupted``, as if it were killed."""
    os.write(2, f"{INTERRUPTED}\n".encode())  # print may have been interrupted itself
    os._exit(128 + number)


def listen() -> None:
    """Let Ctrl-C and SIGTERM be one line from now on, where no ``interruptible`` says more.

    For the first and last moments of a command, its imports and its end.
    """
    for number in SIGNALS:
        signal.signal(number, leave)


def importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported in ``frame``.

    What is raised there may be lost in a callback, or come out as a module that is broken.
    """
    while frame and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``Interrupted`` at Ctrl-C or SIGTERM; a second one ends the process at once.

    So does the first in the middle of an import.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are not its business
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for again in before:
            signal.signal(again, signal.SIG_DFL)
        if importing(frame):
            leave(number)
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def one_line() -> Iterator[None]:
    """End a command that cannot go on with one line and its status: 2, or as signals have it."""
    try:
        with interruptible():
            yield
    except (ValueError, RuntimeError, OSError, Interrupted) as error:
        line = first_line(error)
        print(line if isinstance(error, Interrupted) else f"error: {line}", file=sys.stderr)
        raise SystemExit(getattr(error, "status", 2)) from None


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def deaf() -> Iterator[None]:
    """Ctrl-C waits while workers are started, and they never hear it: not even in their imports."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve() -> None:
    """Make this process a worker: it leaves Ctrl-C to its parent, and never outlives it.

    However the parent dies, the system closes the pipe that its children wait at. A worker may
    then be in the middle of a write: it stops there, as if it were killed, too.
    """
    parent = multiprocessing.parent_process()
    if parent is None:  # no process of its own
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def bounded_memory(more: int) -> Iterator[None]:
    """Let this process take so many bytes more inside; what asks for others gets a MemoryError.

    On Linux alone: elsewhere the system does not say how much is taken, or keeps no such bound.
    """
    try:
        import resource

        taken = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [taken + more, *(x for x in (soft, hard) if x != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
