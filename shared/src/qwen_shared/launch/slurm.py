"""`--launcher slurm`: a batch script that starts `--launcher torchrun` on every node, and goes back into the queue.

Ahead of the time limit Slurm sends SIGUSR1. The launchers make it the stop that they make of any signal: everything is
saved, and the exit code is 75. On that the script puts its own job back into the queue, to go on there.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from qwen_shared.errors import EXIT_STOPPED, UserError
from qwen_shared.files import write_atomic
from qwen_shared.recipe.schema import Positive, Section, Whole

_TIME = re.compile(r"(?:(\d+)-(\d+)(?::(\d\d))?(?::(\d\d))?)|(\d+)(?::(\d\d))?(?::(\d\d))?")


def _seconds(time: str) -> int | None:
    """Of a limit as Slurm reads it: minutes, m:ss, h:mm:ss, d-hh, d-hh:mm or d-hh:mm:ss; None for anything else."""
    match = _TIME.fullmatch(time)
    if match is None:
        return None
    days, hours, minutes, seconds, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[5] is None:
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return first * 3600 + second * 60 + third if match[7] else first * 60 + second


def _is_time(text: str) -> str:
    if _seconds(text) is None:
        raise ValueError(f"'{text}' is no limit of Slurm's: write minutes, h:mm:ss or d-hh:mm:ss")
    return text


class SlurmSettings(Section):
    """What a cluster wants to know of a job; where a key is null, the cluster's own default holds."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: Annotated[str, AfterValidator(_is_time)] | None = Field(
        None, description="limit of each stay: minutes, h:mm:ss or d-hh:mm:ss"
    )
    gpus_per_node: Whole = Field(0, ge=0, description="also the processes per node, where --nproc does not say")
    cpus_per_node: Positive | None = Field(None, description="default: one for each process")
    memory: str | None = Field(None, description="of each node, as 64G")
    exclude: list[str] = Field([], description="nodes to be left out")
    venv: str | None = Field(None, description="a virtual environment; default: the one that submits")
    container: str | None = Field(None, description="an image: for Apptainer where it ends in .sif, else for Pyxis")
    mounts: list[str] = Field([], description="directories that the container sees, FROM:TO")
    setup: list[str] = Field([], description="lines of shell before the start: modules to load, variables to export")
    sbatch: list[str] = Field([], description="other options of sbatch, as --constraint=h100")
    stop_before: Positive = Field(180, description="seconds ahead of the limit at which the run stops and saves")
    max_requeues: Whole = Field(100, ge=0, description="after that the job ends where it stopped")

    @model_validator(mode="after")
    def _check(self) -> SlurmSettings:
        if self.time and _seconds(self.time) <= self.stop_before:
            raise ValueError(f"time={self.time} is no longer than stop_before={self.stop_before} s: it would only stop")
        return self


@dataclass(frozen=True)
class Job:
    """`python -m package argv` on `nodes` times `nproc` processes. `argv` says nothing of launchers."""

    package: str
    argv: Sequence[str]
    settings: SlurmSettings
    nodes: int
    nproc: int
    max_restarts: int
    run_dir: Path

    def submit(self, after: Sequence[str] = ()) -> str:
        """Hand it to Slurm, to begin when the jobs `after` have all finished well; returns its id.

        The command is not looked at before it runs, so that it may begin from what the other jobs are going to leave.
        The script and what it says go to the run's logs; nothing is left there where Slurm refuses. Raises UserError.
        """
        script = self.run_dir / "logs" / "slurm.sh"
        try:
            script.parent.mkdir(parents=True, exist_ok=True)  # Slurm itself makes no directory for the output
            write_atomic(script, batch_script(self))
        except OSError as error:
            raise UserError(f"{error.filename or script}: cannot be written: {error.strerror}") from None
        words = ["sbatch", "--parsable"]
        if after:
            words += [f"--dependency=afterok:{':'.join(after)}", "--kill-on-invalid-dep=yes"]
        try:
            done = subprocess.run([*words, str(script)], capture_output=True, text=True)
        except FileNotFoundError:
            _take_back(script)
            raise UserError("--launcher slurm: there is no sbatch here: submit from a machine of the cluster") from None
        if done.returncode:
            _take_back(script)
            raise UserError(f"--launcher slurm: {done.stderr.strip() or f'sbatch ended with {done.returncode}'}")
        return done.stdout.strip().partition(";")[0]


def _take_back(script: Path) -> None:
    """With the directories that are empty then, the logs' and the run's."""
    with contextlib.suppress(OSError):
        script.unlink()
        for directory in script.parents[:2]:
            directory.rmdir()


def batch_script(job: Job) -> str:
    """The script that `submit` hands over; nothing is written."""
    settings = job.settings
    cpus = settings.cpus_per_node or job.nproc
    options = {
        "job-name": "-".join(job.run_dir.parts[-2:]),
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "nodes": job.nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": settings.gpus_per_node or None,
        "cpus-per-task": cpus,
        "mem": settings.memory,
        "time": settings.time,
        "exclude": ",".join(settings.exclude) or None,
        "output": job.run_dir / "logs" / "slurm-%j.txt",
        "signal": f"USR1@{settings.stop_before}",
    }
    stated = [f"--{name}={shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    # One file for all stays of the job.
    directives = [*stated, "--open-mode=append", "--requeue", *settings.sbatch]
    if broken := next((line for line in directives if len(line.splitlines()) != 1), None):
        raise UserError(f"--launcher slurm: {broken!r} has a line end in it")
    in_container, python = _environment(settings)
    launcher = ["--launcher", "torchrun", "--nodes", str(job.nodes), "--nproc", str(job.nproc)]
    launcher += ["--max-restarts", str(job.max_restarts)]
    command = shlex.join([python, "-m", job.package, *job.argv, *launcher])
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {directive}" for directive in directives),
        "",
        *settings.setup,
        "# The hosts meet at the first of them, at a port that is this job's own.",
        'host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "# Hosts end together; the one that ends first must not take a good exit code from the others.",
        f"srun --cpus-per-task={cpus} --kill-on-bad-exit=0 --wait=300 {in_container}\\",
        f"    {command} \\",
        '    --rdzv-endpoint "$host:$((10000 + SLURM_JOB_ID % 20000))"',
        "code=$?",
        f"# {EXIT_STOPPED}: stopped ahead of the time limit, with everything saved. The queue, and then on from there.",
        f'if [ "$code" -eq {EXIT_STOPPED} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {settings.max_requeues} ]; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def _environment(settings: SlurmSettings) -> tuple[str, str]:
    """What comes between srun and the command, with a blank at its end, and which Python runs it."""
    python = sys.executable
    if settings.container:
        python = "python3"
    if settings.venv:
        python = f"{settings.venv.rstrip('/')}/bin/python"
    if not settings.container:
        return "", python
    mounts = ",".join(settings.mounts)
    if settings.container.endswith(".sif"):
        words = ["apptainer", "exec", *(["--nv"] if settings.gpus_per_node else [])]
        words += [*(["--bind", mounts] if mounts else []), settings.container]
    else:
        words = [f"--container-image={settings.container}", *([f"--container-mounts={mounts}"] if mounts else [])]
    return shlex.join(words) + " ", python
