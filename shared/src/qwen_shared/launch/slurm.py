"""`--launcher slurm`: a batch script that starts `--launcher torchrun` on every node and requeues itself.

Before the time limit Slurm sends SIGUSR1; the run saves everything and exits with 75; the script requeues its job.
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
    """Of minutes, m:ss, h:mm:ss, d-hh, d-hh:mm or d-hh:mm:ss; else None."""
    match = _TIME.fullmatch(time)
    if match is None:
        return None
    days, hours, minutes, seconds, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[5] is None:
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return first * 3600 + second * 60 + third if match[7] else first * 60 + second


def _is_time(text: str) -> str:
    if _seconds(text) is None:
        raise ValueError(f"'{text}' is not a Slurm time limit: write minutes, h:mm:ss or d-hh:mm:ss")
    return text


class SlurmSettings(Section):
    """A cluster's settings for a job; null means the cluster's default."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: Annotated[str, AfterValidator(_is_time)] | None = Field(
        None, description="limit of each allocation: minutes, h:mm:ss or d-hh:mm:ss"
    )
    gpus_per_node: Whole = Field(0, ge=0, description="also the processes per node, unless --nproc is given")
    cpus_per_node: Positive | None = Field(None, description="default: one per process")
    memory: str | None = Field(None, description="of each node, such as 64G")
    exclude: list[str] = Field([], description="nodes to avoid")
    venv: str | None = Field(None, description="a virtual environment; default: the submitting one")
    container: str | None = Field(None, description="an image: for Apptainer if it ends in .sif, else for Pyxis")
    mounts: list[str] = Field([], description="directories to mount in the container, FROM:TO")
    setup: list[str] = Field([], description="shell lines to run first: modules to load, variables to export")
    sbatch: list[str] = Field([], description="more sbatch options, such as --constraint=h100")
    stop_before: Positive = Field(180, description="seconds before the limit at which the run stops and saves")
    max_requeues: Whole = Field(100, ge=0, description="after these the job ends where it stopped")

    @model_validator(mode="after")
    def _check(self) -> SlurmSettings:
        limit = _seconds(self.time) if self.time else None
        if limit is not None and limit <= self.stop_before:
            raise ValueError(f"time={self.time} is not above stop_before={self.stop_before} s: the run would only stop")
        return self


@dataclass(frozen=True)
class Job:
    """`python -m package argv` on `nodes` times `nproc` processes. `argv` has no launch flags."""

    package: str
    argv: Sequence[str]
    settings: SlurmSettings
    nodes: int
    nproc: int
    max_restarts: int
    run_dir: Path

    def submit(self, after: Sequence[str] = ()) -> str:
        """Submits the job, to start after all jobs `after` have succeeded; returns its id.

        Does not check the command, which may need results of those jobs. Script and output go to the run's logs; a
        refusal leaves nothing there. Raises UserError.
        """
        script = self.run_dir / "logs" / "slurm.sh"
        try:
            script.parent.mkdir(parents=True, exist_ok=True)  # Slurm does not make the output's directory
            write_atomic(script, batch_script(self))
        except OSError as error:
            raise UserError(f"{error.filename or script}: cannot be written: {error.strerror}") from None
        command = ["sbatch", "--parsable"]
        if after:
            command += [f"--dependency=afterok:{':'.join(after)}", "--kill-on-invalid-dep=yes"]
        try:
            done = subprocess.run([*command, str(script)], capture_output=True, text=True)
        except FileNotFoundError:
            _remove(script)
            raise UserError("--launcher slurm: no sbatch here: submit from a machine of the cluster") from None
        if done.returncode:
            _remove(script)
            raise UserError(f"--launcher slurm: {done.stderr.strip() or f'sbatch ended with {done.returncode}'}")
        return done.stdout.strip().partition(";")[0]


def _remove(script: Path) -> None:
    """Also removes the run's logs and directory if they are empty then."""
    with contextlib.suppress(OSError):
        script.unlink()
        for directory in script.parents[:2]:
            directory.rmdir()


def batch_script(job: Job) -> str:
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
    given = [f"--{name}={shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    # All allocations of the job append to one output.
    directives = [*given, "--open-mode=append", "--requeue", *settings.sbatch]
    if broken := next((line for line in directives if len(line.splitlines()) != 1), None):
        raise UserError(f"--launcher slurm: {broken!r} contains a line end")
    in_container, python = _environment(settings)
    launcher = ["--launcher", "torchrun", "--nodes", str(job.nodes), "--nproc", str(job.nproc)]
    launcher += ["--max-restarts", str(job.max_restarts)]
    command = shlex.join([python, "-m", job.package, *job.argv, *launcher])
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {directive}" for directive in directives),
        "",
        *settings.setup,
        "# The hosts meet at the first of them, on a port of this job.",
        'host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "# Hosts end together: the first to end must not spoil the exit code of the others.",
        f"srun --cpus-per-task={cpus} --kill-on-bad-exit=0 --wait=300 {in_container}\\",
        f"    {command} \\",
        '    --rdzv-endpoint "$host:$((10000 + SLURM_JOB_ID % 20000))"',
        "code=$?",
        f"# {EXIT_STOPPED}: stopped before the time limit with everything saved. Requeue, and continue from there.",
        f'if [ "$code" -eq {EXIT_STOPPED} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {settings.max_requeues} ]; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def _environment(settings: SlurmSettings) -> tuple[str, str]:
    """What comes between srun and the command, and the Python to use."""
    python = sys.executable
    if settings.container:
        python = "python3"
    if settings.venv:
        python = f"{settings.venv.rstrip('/')}/bin/python"
    if not settings.container:
        return "", python
    mounts = ",".join(settings.mounts)
    if settings.container.endswith(".sif"):
        wrapper = ["apptainer", "exec", *(["--nv"] if settings.gpus_per_node else [])]
        wrapper += [*(["--bind", mounts] if mounts else []), settings.container]
    else:
        wrapper = [f"--container-image={settings.container}", *([f"--container-mounts={mounts}"] if mounts else [])]
    return shlex.join(wrapper) + " ", python
