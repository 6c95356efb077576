"""One process (group) at a time works on a run directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from qwen_shared.errors import UserError


@contextlib.contextmanager
def lock_run(run_dir: Path) -> Iterator[None]:
    """Hold the run for this process; the system lets go of it when the process ends, however it ends.

    Raises UserError where another process holds it, and where the directory cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        file = (run_dir / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(
                f"{run_dir}: another process (pid {holder}) is at work on this run; wait for it, "
                "or start a new run with --run-dir"
            ) from None
        except OSError:  # a file system without locks: better to run than to refuse
            pass
        with contextlib.suppress(OSError):  # the number is a courtesy, for which a full disk may have no room
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield
