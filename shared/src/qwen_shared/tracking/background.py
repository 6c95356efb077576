"""Calls made aside, in their order, so that whoever asks for them never waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_ROOM = 10_000  # calls waiting; more than that were never meant to be made


class BackgroundQueue:
    """A thread that makes calls. They must not raise."""

    def __init__(self, name: str):
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(_ROOM)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def ask(self, call: Callable[[], None]) -> bool:
        """Whether there was room for it."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            return False
        return True

    def close(self, timeout: float) -> bool:
        """Wait for what was asked for, at most so many seconds; whether all of it is done."""
        if not self.ask(None):
            return False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
