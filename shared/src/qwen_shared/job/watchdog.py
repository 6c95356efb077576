"""Ends a run that makes no progress, and writes every rank's stacks into the run's logs."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from qwen_shared.errors import EXIT_FAILED
from qwen_shared.launched import is_shown, leave_failure
from qwen_shared.log import note, say

_NATIVE_S = 2.0  # later than our thread: faulthandler writes if native code holds the interpreter
_OTHERS_S = 4.0  # to wait for other ranks' stacks
_END_S = 8.0  # for the report: launchers end all ranks soon after the first is gone


class Watchdog:
    """Inside the `with`, `alive` must be called at least every `timeout` seconds (None: no limit).

    Otherwise this process writes the stacks of all its threads to `logs/stacks-rank-R.txt`, calls `failed` with the
    reason, and exits with code 1, so that a launcher starts it again. Ranks wait for each other in every step: if one
    hangs, all write and exit. A suspended rank writes nothing, and the others name it.
    """

    def __init__(self, timeout: float | None, logs: Path, rank: int, failed: Callable[[str], None]):
        self._enabled, self._timeout = timeout is not None, timeout or 0.0
        self._path, self._failed = logs / f"stacks-rank-{rank}.txt", failed
        self._count, self._done = 0, threading.Event()

    def alive(self) -> None:
        """There was progress."""
        self._count += 1

    def __enter__(self) -> Watchdog:
        if self._enabled:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
            self._arm()
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        if not self._enabled:
            return
        self._done.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
        self._file.close()
        _remove_if_empty(self._path)

    def _arm(self) -> None:
        # Native code may hold the interpreter, and then our thread cannot run; faulthandler's needs no interpreter. It
        # only writes, because it cannot tell a hang from a suspended process.
        faulthandler.dump_traceback_later(self._timeout + _NATIVE_S, file=self._file)

    def _watch(self) -> None:
        seen, idle, turn = self._count, 0.0, min(1.0, self._timeout / 10)
        while not self._done.wait(turn):
            # Count turns, not the clock: a suspended process is not idle.
            idle += turn
            if self._count != seen:
                seen, idle = self._count, 0.0
                self._arm()
            elif idle > self._timeout:
                self._end()

    def _end(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.dump_traceback(file=self._file)
        # The console or the disk may be what hangs: the report must not delay the exit.
        teller = threading.Thread(target=self._tell, daemon=True)
        teller.start()
        teller.join(_END_S)
        os._exit(EXIT_FAILED)

    def _tell(self) -> None:
        reason = f"no progress for {self._timeout:g} s (guards.step_timeout)"
        silent = self._silent()
        where = f"where each rank stands is in {self._path.parent}/stacks-rank-*.txt"
        if silent:
            ranks = f"rank{'s' * (len(silent) > 1)} {', '.join(map(str, silent))}"
            reason += f"; {ranks} did not answer"
            where = where.replace("each rank stands", "the others stand")
        words = f"{reason}: {where}; the same command goes on from the last checkpoint"
        leave_failure(words)
        (note if is_shown() else say)(words)
        self._failed(reason)

    def _silent(self) -> list[int]:
        """The ranks on this file system that have not written their stacks. Deletes their empty files.

        A file older than this hang, by the file system's clock, is of an earlier one.
        """
        end = time.monotonic() + _OTHERS_S
        began = self._path.stat().st_mtime - self._timeout
        while True:
            paths = self._path.parent.glob("stacks-rank-*.txt")
            found = [(path, stat) for path in paths if (stat := _stat(path))]
            silent = [path for path, stat in found if not stat.st_size or stat.st_mtime < began]
            if not silent or time.monotonic() > end:
                break
            time.sleep(0.1)
        for path in silent:
            _remove_if_empty(path)
        return sorted(int(path.stem.rpartition("-")[2]) for path in silent)


def _stat(path: Path) -> os.stat_result | None:
    with contextlib.suppress(OSError):  # another rank has removed it
        return path.stat()
    return None


def _remove_if_empty(path: Path) -> None:
    if (found := _stat(path)) and not found.st_size:
        path.unlink(missing_ok=True)
