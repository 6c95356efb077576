"""A family's stages, one after another: each is its package's own command, in a process of its own."""

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
from qwen_shared.family.schema import Family, Stage, goal_of
from qwen_shared.launch.launchers import Launch
from qwen_shared.run import Manifest
from qwen_shared.run.manifest import MANIFEST
from qwen_shared.run.paths import export_directory


def mistakes(family: Family, launch: list[str]) -> list[str]:
    """What is wrong, a line for each stage, before the first of them costs anything: with its words, recipe and goals;
    that a run which is there has another recipe, or began from a model that is no longer there."""
    return [
        f"stage {stage.name}: {said}"
        for stage in family.stages
        if (said := _descent_mistake(family, stage) or _recipe_mistake(family, stage, launch))
    ]


def run(family: Family, stage: Stage, launch: list[str]) -> int:
    """Runs or goes on with a stage; its exit code. A finished one takes a second. What stops this stops the stage."""
    with _Passed() as passed:
        code = passed.run([*_words(family, stage, launch), *_start(family, stage)])
        if code == EXIT_FINISHED and stage.publish:
            program = _program(stage)
            code = passed.run([program, "publish", str(family.run_dir(stage))])
    if passed.stopped and code == EXIT_FINISHED:  # it was at its end; what comes next was not wanted any more
        raise KeyboardInterrupt
    return code


def submit(family: Family, launch: Launch) -> int:
    """Hands what is left of a family to Slurm, a job for each stage, which waits for those that it needs."""
    jobs: dict[str, str] = {}
    for stage in family.stages:
        if (found := manifest(family, stage)) and found.status == "finished":
            continue
        words = [*_words(family, stage, []), *_start(family, stage)][1:]
        package, run_dir = stage.command.split()[0].replace("-", "_"), family.run_dir(stage)
        job = launch.slurm_job(package, words, run_dir)
        jobs[stage.name] = job.submit([jobs[name] for name in stage.needs if name in jobs])
        print(f"{stage.name}: job {jobs[stage.name]}")
    print("--plan shows how far they are; without Slurm, the same command publishes and judges what is finished")
    return EXIT_FINISHED


def manifest(family: Family, stage: Stage) -> Manifest | None:
    run_dir = family.run_dir(stage)
    return Manifest.read(run_dir) if (run_dir / MANIFEST).is_file() else None


def figures(family: Family, stage: Stage) -> dict[str, float]:
    """The results of a finished stage by name; of another, none."""
    found = manifest(family, stage)
    return found.results if found and found.status == "finished" else {}


def missed(family: Family, stage: Stage) -> list[str]:
    """The goals that a stage's results do not reach, in words."""
    found = figures(family, stage)
    return [
        f"{name} {found[name]:.4g}, to be {goal}" if name in found else f"{name} is no result of the run"
        for name, goal in stage.goals.items()
        if not (name in found and goal_of(goal).holds(found[name]))
    ]


def _words(family: Family, stage: Stage, launch: list[str]) -> list[str]:
    config, run_dir = stage.config or family.name, family.run_dir(stage)
    verb = stage.command.split()[1]
    return [_program(stage), verb, "--config", config, "--run-dir", str(run_dir), *launch, *family.keys_of(stage)]


def _start(family: Family, stage: Stage) -> list[str]:
    if stage.parent is None:
        return []
    return ["--from", str(family.run_dir(_named(family, stage.parent)))]


def _program(stage: Stage) -> str:
    """Beside this Python, where the workspace's commands are; else wherever the shell would find it."""
    program = stage.command.split()[0]
    found = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise UserError(f"stage {stage.name}: no command {program} is installed (`uv sync` installs the workspace's)")
    return found


def _recipe_mistake(family: Family, stage: Stage, launch: list[str]) -> str | None:
    words = [*_words(family, stage, launch), *_start(family, stage), "--check"]
    there = figures(family, stage)
    words += [word for name in stage.goals if name not in there for word in ("--result", name)]
    done = subprocess.run(words, capture_output=True, text=True)
    said = (done.stderr or done.stdout).strip().splitlines()
    return (said[-1] if said else f"exit code {done.returncode}") if done.returncode else None


def _descent_mistake(family: Family, stage: Stage) -> str | None:
    own = manifest(family, stage)
    if stage.parent is None or own is None or own.parent is None or own.parent.hash is None:
        return None
    parent = family.run_dir(_named(family, stage.parent))
    export = export_directory(parent)
    if (export / "config.json").is_file() and weights_hash(export) != own.parent.hash:
        run_dir = family.run_dir(stage)
        return f"{run_dir} began from other weights than those of {parent} now; move it away to train it anew"
    return None


def _named(family: Family, name: str) -> Stage:
    return next(stage for stage in family.stages if stage.name == name)


class _Passed:
    """Inside, signals go to the command that runs, and do not end us before it has saved. A terminal has sent it Ctrl-C
    already: the second does nothing there."""

    def __enter__(self) -> _Passed:
        self._process: subprocess.Popen | None = None
        self.stopped = False
        self._before = {n: signal.signal(n, self._pass) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
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

    def _pass(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        if self._process:
            self._process.send_signal(number)
