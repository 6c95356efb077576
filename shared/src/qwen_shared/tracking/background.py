"""Calls in a background thread, in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_MOST = 10_000  # waiting calls


class BackgroundQueue:
    """The calls must not raise."""

    def __init__(self, name: str):
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, call: Callable[[], None] | None) -> bool:
        """None ends the thread. Returns False if the queue is full."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            return False
        return True

    def close(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds; returns whether all calls are done."""
        if not self.put(None):
            return False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
