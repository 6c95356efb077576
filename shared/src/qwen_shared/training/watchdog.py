"""Ends a run that makes no progress, and leaves in the run's logs where each rank stood."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import threading
import time
from pathlib import Path

from qwen_shared.errors import EXIT_FAILED
from qwen_shared.tracking import say

_OTHERS_S = 2.0  # between the stacks and the end: launchers end all ranks when the first is gone


class Watchdog:
    """Inside the `with`, `alive` must be called at least every `timeout` seconds. Else this process writes the stacks
    of all its threads to `logs/stacks-rank-R.txt` and ends with exit code 1, so that a launcher starts it again; it
    holds nothing that the last checkpoint has not. None: no limit.

    Ranks wait for each other in every step, so that one which hangs has all of them written and ended.
    """

    def __init__(self, timeout: float | None, logs: Path, rank: int):
        self._timeout, self._path = timeout, logs / f"stacks-rank-{rank}.txt"
        self._count, self._done = 0, threading.Event()

    def alive(self) -> None:
        """There was progress. Costs nothing."""
        self._count += 1

    def __enter__(self) -> Watchdog:
        if self._timeout is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
            self._arm()
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        if self._timeout is None:
            return
        self._done.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
        self._file.close()
        with contextlib.suppress(OSError):
            if not self._path.stat().st_size:
                self._path.unlink()

    def _arm(self) -> None:
        """A process whose interpreter is held by native code cannot run our thread; faulthandler's is no Python. It
        only writes: it cannot tell a hang from a process that was suspended."""
        faulthandler.dump_traceback_later(self._timeout + _OTHERS_S, file=self._file)

    def _watch(self) -> None:
        seen, idle, turn = self._count, 0.0, min(1.0, self._timeout / 10)
        while not self._done.wait(turn):
            # Turns are counted, not the clock: while a process is suspended, it is not idle.
            idle += turn
            if self._count != seen:
                seen, idle = self._count, 0.0
                self._arm()
            elif idle > self._timeout:
                self._end()

    def _end(self) -> None:
        faulthandler.dump_traceback(file=self._file)
        words = (
            f"no progress for {self._timeout:g} s (guards.step_timeout): where each rank stands is in "
            f"{self._path.parent}/stacks-rank-*.txt; the same command goes on from the last checkpoint"
        )
        # Nobody may be reading: what is said must not hold up the end.
        threading.Thread(target=say, args=(words,), daemon=True).start()
        time.sleep(_OTHERS_S)
        os._exit(EXIT_FAILED)
