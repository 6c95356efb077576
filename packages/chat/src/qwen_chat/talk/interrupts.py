"""Ctrl-C during a conversation: the first stops the answer, the second the program."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType

from qwen_shared.errors import Stopped

# `uv run` repeats a Ctrl-C that the terminal has already sent; no user presses twice this fast.
_SAME_S = 0.1


class Interrupts:
    """Ctrl-C raises KeyboardInterrupt, but the first while `answering` only sets `stop`. SIGTERM and SIGHUP raise
    Stopped.
    """

    def __init__(self) -> None:
        self.stop = False
        self._answering = False
        self._last = float("-inf")

    def answering(self, begins: bool) -> None:
        self._answering, self.stop = begins, False

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)}
        signal.signal(signal.SIGINT, self._on_interrupt)
        for number in _ENDING:
            signal.signal(number, _end)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        again, self._last = now - self._last < _SAME_S, now
        if again:
            return
        if self._answering and not self.stop:
            self.stop = True
            return
        raise KeyboardInterrupt


_ENDING = (signal.SIGTERM, signal.SIGHUP)


def _end(signum: int, frame: FrameType | None) -> None:
    raise Stopped(f"the conversation was ended by {signal.Signals(signum).name}")
