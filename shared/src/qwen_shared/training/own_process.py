"""Work that needs Megatron's groups for one process, done beside a run whose groups may be for many.

`python -m qwen_shared.training.own_process JOB WORD…` is the other side of `as_only_process`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from qwen_shared.errors import EXIT_USER_ERROR, UserError

_PARENT = "QWEN_PARENT_PID"
_OF_THE_RUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def as_only_process(job: str, *words: str | int | Path) -> None:
    """Do one of the jobs below on the CPU: the GPU's memory is the run's. In a process of its own, but in this one
    where that has loaded Megatron, is alone and has no groups yet: to load all that again takes longer than the job.

    Raises UserError where the job does, RuntimeError with the end of what it said where it fails otherwise.
    """
    if "megatron.core" in sys.modules and not _of_a_run():
        _run(job, *map(str, words))
        return
    environment = {key: value for key, value in os.environ.items() if key not in _OF_THE_RUN}
    done = subprocess.run(
        [sys.executable, "-m", "qwen_shared.training.own_process", job, *map(str, words)],
        env=environment | {"CUDA_VISIBLE_DEVICES": "", _PARENT: str(os.getpid())},
        capture_output=True,
        text=True,
    )
    said = done.stderr.strip()
    if done.returncode == EXIT_USER_ERROR:
        raise UserError(said.rpartition("\n")[2])
    if done.returncode:
        raise RuntimeError(f"{job} failed: {said[-2000:]}")


def _export(run_dir: str, step: str, target: str) -> None:
    from qwen_shared.recipe import TrainedModel
    from qwen_shared.tracking.manifest import read_recipe
    from qwen_shared.training.export import export_run

    export_run(Path(run_dir), read_recipe(Path(run_dir), TrainedModel), int(step), Path(target))


def _prove_import(directory: str, tokenizer: str, digest: str, certificate: str) -> None:
    from qwen_shared.convert.import_hf import prove_import
    from qwen_shared.tokenizer import load_tokenizer
    from qwen_shared.tracking.files import write_atomic

    found = {"hash": digest} | prove_import(Path(directory), load_tokenizer(tokenizer))
    write_atomic(Path(certificate), json.dumps(found, indent=2) + "\n")


_JOBS = {"export": _export, "prove-import": _prove_import}


def _of_a_run() -> bool:
    """Whether this process is one of several, has a GPU, or is at work already."""
    import torch

    return (
        any(key in os.environ for key in _OF_THE_RUN) or torch.cuda.is_available() or torch.distributed.is_initialized()
    )


def _run(job: str, *words: str) -> None:
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import start_processes, stop_processes

        start_processes()
        try:
            _JOBS[job](*words)
        finally:
            stop_processes()


def _die_with_parent() -> None:
    """A run that was killed must not find, when it goes on, that somebody still writes into its directory."""
    if not sys.platform.startswith("linux"):
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != int(os.environ.get(_PARENT, os.getppid())):  # it died before the line above
        os._exit(1)


def main() -> None:
    _die_with_parent()
    try:
        _run(*sys.argv[1:])
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
