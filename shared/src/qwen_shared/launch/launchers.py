"""Where a command's processes run, and how they start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.errors import EXIT_FINISHED
from qwen_shared.launch import local
from qwen_shared.launch.slurm import Job, SlurmSettings
from qwen_shared.launched import is_launched

LAUNCHERS = ("local", "torchrun", "slurm")


@dataclass(frozen=True)
class Launch:
    launcher: str = "local"
    nodes: int = 1
    nproc: int = 1  # on each node
    endpoint: tuple[str, int] | None = None  # torchrun: where several nodes meet
    max_restarts: int = 0
    settings: SlurmSettings | None = None  # of slurm alone

    @property
    def world_size(self) -> int:
        return self.nodes * self.nproc

    @property
    def starts_processes(self) -> bool:
        """Whether this process only starts others. A launched process never does."""
        return not is_launched() and (self.launcher != "local" or self.nproc > 1)

    def slurm_job(self, package: str, argv: Sequence[str], run_dir: Path) -> Job:
        assert self.settings is not None, "of --launcher slurm alone"
        return Job(package, argv, self.settings, self.nodes, self.nproc, self.max_restarts, run_dir)


def start(launch: Launch, package: str, argv: Sequence[str], run_dir: Path) -> int:
    """Runs `python -m package argv` as `launch` says; returns the exit code. `argv` is without flags of launchers."""
    if launch.launcher == "local":
        return local.launch(package, argv, launch.nproc, run_dir / "logs")
    if launch.launcher == "torchrun":
        # torch reads this on import. We report what its warnings are about.
        unset = "TORCH_CPP_LOG_LEVEL" not in os.environ
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from qwen_shared.launch import elastic

        if unset:
            del os.environ["TORCH_CPP_LOG_LEVEL"]
        return elastic.launch(package, argv, launch.nodes, launch.nproc, launch.endpoint, launch.max_restarts, run_dir)
    job = launch.slurm_job(package, argv, run_dir).submit()
    print(f"submitted as job {job}; its output goes to {run_dir / 'logs' / f'slurm-{job}.txt'}")
    return EXIT_FINISHED
