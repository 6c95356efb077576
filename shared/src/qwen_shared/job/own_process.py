"""Work that needs Megatron's groups for one process, beside a run whose groups may be for many.

`python -m qwen_shared.job.own_process MODULE:FUNCTION WORD…` is the other side of `in_own_process`.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from qwen_shared.errors import EXIT_USER_ERROR, UserError

_PARENT = "QWEN_PARENT_PID"
_RUN_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def in_own_process(job: Callable[..., None], *words: str | int | Path) -> None:
    """Call the module-level function `job(*words)`, words as text, with Megatron's groups for one process, on the CPU.

    It runs in a new process, or in this one if it has loaded Megatron (which takes longer than the job), is alone and
    has no groups yet. Raises UserError if the job does, RuntimeError with the end of its stderr if it fails otherwise.
    """
    if "megatron.core" in sys.modules and not _belongs_to_run():
        _run(job, *map(str, words))
        return
    environment = {key: value for key, value in os.environ.items() if key not in _RUN_VARIABLES}
    done = subprocess.run(
        [sys.executable, "-m", "qwen_shared.job.own_process", f"{job.__module__}:{job.__name__}", *map(str, words)],
        env=environment | {"CUDA_VISIBLE_DEVICES": "", _PARENT: str(os.getpid())},
        capture_output=True,
        text=True,
    )
    said = done.stderr.strip()
    if done.returncode == EXIT_USER_ERROR:
        raise UserError(said.rpartition("\n")[2])
    if done.returncode:
        raise RuntimeError(f"{job.__name__} failed: {said[-2000:]}")


def _belongs_to_run() -> bool:
    """Whether this process is one of several, has a GPU, or has process groups."""
    import torch

    return (
        any(key in os.environ for key in _RUN_VARIABLES)
        or torch.cuda.is_available()
        or torch.distributed.is_initialized()
    )


def _run(job: Callable[..., None], *words: str) -> None:
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import start_processes, stop_processes

        start_processes()
        try:
            job(*words)
        finally:
            stop_processes()


def _die_with_parent() -> None:
    """Otherwise a killed run could go on while this process still writes into its directory."""
    if not sys.platform.startswith("linux"):
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != int(os.environ.get(_PARENT, os.getppid())):  # the parent died before the line above
        os._exit(1)


def main() -> None:
    _die_with_parent()
    target, *words = sys.argv[1:]
    module, _, name = target.partition(":")
    try:
        _run(getattr(importlib.import_module(module), name), *words)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
