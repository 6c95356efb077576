"""Runs a family's stages one after another, each as its package's command in its own process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from qwen_shared.convert.hf_files import weights_hash
from qwen_shared.errors import EXIT_FINISHED, UserError
from qwen_shared.family.schema import Family, Stage, parse_goal
from qwen_shared.launch.launchers import Launch
from qwen_shared.run import Manifest
from qwen_shared.run.manifest import MANIFEST
from qwen_shared.run.paths import export_directory


def find_problems(family: Family, launch_args: list[str]) -> list[str]:
    """A line for each stage that would fail, found before any stage runs: its arguments, recipe or goals are wrong, or
    its run has another recipe or another parent model."""
    return [
        f"stage {stage.name}: {problem}"
        for stage in family.stages
        if (problem := _parent_problem(family, stage) or _recipe_problem(family, stage, launch_args))
    ]


def run(family: Family, stage: Stage, launch_args: list[str]) -> int:
    """Run or resume a stage; returns its exit code. A finished stage takes a second. A signal to us stops the stage."""
    with _SignalForwarder() as process:
        code = process.run([*_arguments(family, stage, launch_args), *_parent_flag(family, stage)])
        if code == EXIT_FINISHED and stage.publish:
            code = process.run([_program(stage), "publish", str(family.run_dir(stage))])
    if process.stopped and code == EXIT_FINISHED:  # the stage had just finished; the next must not start
        raise KeyboardInterrupt
    return code


def submit(family: Family, launch: Launch) -> int:
    """Submit every unfinished stage as a Slurm job, which waits for the jobs of the stages that it needs."""
    jobs: dict[str, str] = {}
    for stage in family.stages:
        if (found := manifest(family, stage)) and found.status == "finished":
            continue
        words = [*_arguments(family, stage, []), *_parent_flag(family, stage)][1:]
        package, run_dir = stage.command.split()[0].replace("-", "_"), family.run_dir(stage)
        job = launch.slurm_job(package, words, run_dir)
        jobs[stage.name] = job.submit([jobs[name] for name in stage.needs if name in jobs])
        print(f"{stage.name}: job {jobs[stage.name]}")
    print(
        "--plan shows their state; when they have finished, the same command without Slurm publishes and checks goals"
    )
    return EXIT_FINISHED


def manifest(family: Family, stage: Stage) -> Manifest | None:
    run_dir = family.run_dir(stage)
    return Manifest.read(run_dir) if (run_dir / MANIFEST).is_file() else None


def results(family: Family, stage: Stage) -> dict[str, float]:
    """Empty unless the stage has finished."""
    found = manifest(family, stage)
    return found.results if found and found.status == "finished" else {}


def missed_goals(family: Family, stage: Stage) -> list[str]:
    """One text for each goal that the stage's results miss."""
    found = results(family, stage)
    return [
        f"{name} {found[name]:.4g}, to be {goal}" if name in found else f"{name} is not among the run's results"
        for name, goal in stage.goals.items()
        if not (name in found and parse_goal(goal).holds(found[name]))
    ]


def _arguments(family: Family, stage: Stage, launch_args: list[str]) -> list[str]:
    config, run_dir = stage.config or family.name, family.run_dir(stage)
    verb = stage.command.split()[1]
    return [_program(stage), verb, "--config", config, "--run-dir", str(run_dir), *launch_args, *family.keys_of(stage)]


def _parent_flag(family: Family, stage: Stage) -> list[str]:
    if stage.parent is None:
        return []
    return ["--from", str(family.run_dir(family.stage(stage.parent)))]


def _program(stage: Stage) -> str:
    """Beside this Python, where the workspace installs commands, else on PATH."""
    program = stage.command.split()[0]
    found = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise UserError(f"stage {stage.name}: no command {program} is installed (`uv sync` installs the workspace's)")
    return found


def _recipe_problem(family: Family, stage: Stage, launch_args: list[str]) -> str | None:
    arguments = [*_arguments(family, stage, launch_args), *_parent_flag(family, stage), "--check"]
    known = results(family, stage)
    arguments += [word for name in stage.goals if name not in known for word in ("--result", name)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return (lines[-1] if lines else f"exit code {done.returncode}") if done.returncode else None


def _parent_problem(family: Family, stage: Stage) -> str | None:
    own = manifest(family, stage)
    if stage.parent is None or own is None or own.parent is None or own.parent.hash is None:
        return None
    parent = family.run_dir(family.stage(stage.parent))
    export = export_directory(parent)
    if (export / "config.json").is_file() and weights_hash(export) != own.parent.hash:
        run_dir = family.run_dir(stage)
        return f"{run_dir} started from other weights than {parent} has now; move it away to train it anew"
    return None


class _SignalForwarder:
    """Forwards signals to the running command, so that it saves before we end. A Ctrl-C reaches it twice, from the
    terminal too; the second does nothing."""

    def __enter__(self) -> _SignalForwarder:
        self._process: subprocess.Popen | None = None
        self.stopped = False
        self._before = {n: signal.signal(n, self._forward) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, words: list[str]) -> int:
        if self.stopped:
            raise KeyboardInterrupt
        self._process = subprocess.Popen(words)
        code = self._process.wait()
        self._process = None
        return code

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        if self._process:
            self._process.send_signal(number)
