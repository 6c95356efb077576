"""Kills one run again and again and proves that nothing came of it: the result is that of a run never stopped.

    uv run python scripts/prove_resume.py                        50 kills over 200 steps of a small model
    uv run python scripts/prove_resume.py --kills 8 --steps 60 --nproc 2 data.sources=corpus/
    uv run python scripts/prove_resume.py --signal TERM          asked to stop instead

The same `qwen-base pretrain` is run twice: once undisturbed, once killed with SIGKILL and started again by the same
command. Then every figure of every line of metrics.jsonl must be equal to the last bit, and the exported weights byte
for byte. Exits with 1 where they are not. Of several processes, any one is hit, the launcher included: the others must
end by themselves. One that is asked to stop must do so with exit code 75 and lose not a step.

The moments are spread evenly over the steps, and drawn by what the run is doing then, so that short phases are hit as
well as long ones. What it is doing it says itself (see `qwen_shared.faults`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

# In what the kills shall fall, and how many of them relative to each other.
PHASES = {"start-up": 1, "training": 2, "evaluation": 2, "generation": 2, "checkpointing": 2, "export": 2}
# What differs between two runs of one recipe without being a result: these, and all of time/…
SPEED = {"time", "train/tokens_per_second", "train/mfu"}
END_S = 60  # for a process that was hit, and those that wait for it, to be gone
# A run of half a minute that is at its special moments more often than longer ones are.
RECIPE = """
    model.num_layers=2 model.hidden_size=64 model.ffn_hidden_size=176 data.seq_length=64 schedule.warmup_steps=10
    training.global_batch_size=8 training.micro_batch_size=4 checkpoint.interval=10 export=every
    evaluation.interval=10 evaluation.max_tokens=8192 evaluation.prompts=[the,a] evaluation.sample_tokens=12
    tracking.wandb=disabled
"""


@dataclass
class Run:
    """A run directory, the command that works on it, and what can be seen of its state from outside."""

    command: list[str]  # without --run-dir
    directory: Path
    env: dict[str, str]
    seconds: Counter[str] = field(default_factory=Counter)  # how long it was watched in each phase
    _started: float = 0.0
    _is_up: bool = False

    @cached_property
    def recipe(self) -> dict[str, Any]:
        return yaml.safe_load((self.directory / "recipe.yaml").read_text())

    def start(self) -> subprocess.Popen:
        self._started, self._is_up = time.time(), False
        self._told.unlink(missing_ok=True)
        with self.directory.with_suffix(".console.txt").open("wb") as out:
            command = [*self.command, "--run-dir", str(self.directory)]
            env = self.env | {"QWEN_FAULTS": f"tell={self._told}"}
            return subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True)

    @property
    def _told(self) -> Path:
        return self.directory.with_suffix(".phase.txt")

    def told(self) -> tuple[str, int]:
        """The phase that it has begun last, and for which step."""
        with contextlib.suppress(FileNotFoundError, ValueError):  # not there yet; half-written
            phase, step = self._told.read_text().split()
            return phase, int(step)
        return "start-up", 0

    def console(self) -> str:
        return self.directory.with_suffix(".console.txt").read_text(errors="replace")

    def is_up(self) -> bool:
        """Whether it has said its first step, or that it exports: from then on metrics.jsonl is its own."""
        self._is_up = self._is_up or any(words in self.console() for words in ("\nstep ", "\nexporting "))
        return self._is_up

    def newest_checkpoint(self) -> int:
        return max((int(path.name[5:]) for path in self.directory.glob("checkpoints/step-*")), default=0)

    def half_written(self) -> list[str]:
        """Directories that this process is making or deleting; not those that a kill has left."""
        names = []
        for path in self.directory.glob("checkpoints/*ing-*"):
            with contextlib.suppress(FileNotFoundError):
                names += [path.name] if path.stat().st_ctime > self._started else []
        return names

    def last_record(self) -> dict[str, Any]:
        """The last whole line of metrics.jsonl, {"step": 0} where there is none."""
        with contextlib.suppress(FileNotFoundError), (self.directory / "metrics.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            for line in reversed(file.read().split(b"\n")[:-1]):
                with contextlib.suppress(ValueError):
                    return json.loads(line)
        return {"step": 0}

    def phase(self) -> str:
        """One of PHASES. While a checkpoint is written training goes on; that is checkpointing here."""
        if not self.is_up():
            return "start-up"
        phase = "checkpointing" if self.half_written() else self.told()[0]
        return phase if phase in PHASES else "training"

    def watch(self, process: subprocess.Popen, until=lambda: False, progress=lambda step: None) -> None:
        """Wait until a condition holds or the process ends; counts the time in each phase.

        Raises SystemExit with what it said where the process fails.
        """
        before = time.monotonic()
        try:
            while process.poll() is None and not until():
                now = time.monotonic()
                self.seconds[self.phase()] += now - before
                before = now
                progress(self.last_record()["step"])
                time.sleep(0.002)
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.poll():
            raise SystemExit(f"{self.directory} ended with exit code {process.returncode}:\n{self.console()[-3000:]}")


def has_begun(run: Run, phase: str, step: int) -> bool:
    """Whether a run has come to where it does this for this step."""
    if phase == "start-up" or not run.is_up():
        return phase == "start-up"
    if phase == "checkpointing" and f"writing-{step:08d}" in run.half_written():
        return True
    if phase == "checkpointing":
        return run.newest_checkpoint() >= step
    if phase in ("evaluation", "generation", "export") and run.told() == (phase, step):
        return True
    # Or it is past that already.
    return run.last_record()["step"] >= (step - 1 if phase == "training" else step + (phase == "export"))


def draw_kill(draw: random.Random, number: int, kills: int, every: dict[str, int], saved: int) -> tuple[str, int]:
    """Phase and step of the `number`-th of so many kills: in its share of the steps, or soon after that."""
    steps = every["start-up"]
    if number == kills - 1:  # only the last may meet the end: a run that is through cannot be killed
        return draw.choice(list(PHASES)), steps
    if saved == steps:
        return "start-up", steps
    earliest = max(saved + 1, int(steps * (number + draw.random()) / kills))
    latest = min(steps - 1, steps * (number + 1) // kills + every["checkpointing"])
    comes = {phase: -(-earliest // every[phase]) * every[phase] for phase in PHASES}
    comes["start-up"] = comes["training"] = min(earliest, steps - 1)
    possible = [phase for phase in PHASES if comes[phase] <= max(latest, comes["training"])]
    phase = draw.choices(possible, [PHASES[phase] for phase in possible])[0]
    return phase, comes[phase]


def hit_one(process: subprocess.Popen, number: int, draw: random.Random) -> str | None:
    """Send the signal to one of the run's processes and wait for the end of all; in words, what is wrong about it."""
    launcher = psutil.Process(process.pid)
    children = launcher.children(recursive=True)
    # Of one process there is no launcher, and what it starts is not the run.
    ranks = [child for child in children if child.ppid() == process.pid and "qwen_base" in child.cmdline()]
    victim = draw.choice([launcher, *ranks]) if number == signal.SIGKILL else launcher
    victim.send_signal(number)
    try:
        code = process.wait(timeout=END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"not over {END_S} s after the signal"
    if left := psutil.wait_procs(children, timeout=END_S)[1]:
        return f"{len(left)} processes outlive the signal"
    expected = {-signal.SIGKILL, 128 + signal.SIGKILL}
    if number == signal.SIGTERM:
        expected = {75, 0, -signal.SIGTERM}  # 0: all was done; the last: before it could be heard
    return None if code in expected else f"exit code {code}"


def run_killed(
    run: Run, like: Run, kills: int, number: int, draw: random.Random, progress, console: Console
) -> tuple[Counter[str], list[str]]:
    """Run to the end with so many kills; returns how many fell in which phase, and what was wrong about them. `like` is
    the run that is not killed."""
    steps, saving = like.recipe["training"]["steps"], like.recipe["checkpoint"]["interval"]
    # How many steps lie between two times of each phase.
    every = {"start-up": steps, "training": 1, "evaluation": like.recipe["evaluation"]["interval"]}
    every["generation"] = every["evaluation"]
    every |= {"checkpointing": saving, "export": saving if like.recipe["export"] == "every" else steps}
    hit: Counter[str] = Counter()
    wrong = []
    for count in range(kills):
        aim, step = draw_kill(draw, count, kills, every, run.newest_checkpoint())
        process = run.start()
        run.watch(process, lambda aim=aim, step=step: has_begun(run, aim, step))
        usual = like.seconds[aim] / max(1, steps // every[aim])
        deadline = time.monotonic() + draw.random() * usual / (2 if count == kills - 1 else 1)
        over = run.is_up if aim == "start-up" else lambda: False  # it may be quicker this time
        run.watch(process, lambda deadline=deadline, over=over: time.monotonic() >= deadline or over())
        phase = run.phase()
        if process.poll() is not None:
            break
        before = run.last_record()["step"]
        problem = hit_one(process, number, draw)
        done, saved = run.last_record()["step"], run.newest_checkpoint()
        if number == signal.SIGTERM and phase != "start-up" and saved < done:
            problem = problem or f"{done} steps were done, but only {saved} are saved"
        wrong += [f"kill {count + 1} in {phase}: {problem}"] if problem else []
        hit[phase] += 1
        progress(count + 1)
        console.print(f"kill {count + 1}: {phase}, with {before} steps done")
    run.watch(run.start())
    return hit, wrong


def differences(one: Run, other: Run) -> list[str]:
    """What is not the same in two finished runs, in words."""
    found: list[str] = []
    texts = [(run.directory / "metrics.jsonl").read_text().splitlines() for run in (one, other)]
    for number, (a, b) in enumerate(zip_longest(*texts, fillvalue="{}"), start=1):
        a, b = json.loads(a), json.loads(b)
        names = sorted(n for n in (a.keys() | b.keys()) - SPEED if not n.startswith("time/") and a.get(n) != b.get(n))
        found += [f"metrics.jsonl line {number}: {name} is {a.get(name)} and {b.get(name)}" for name in names]
    weights = [[p.read_bytes() for p in sorted(r.directory.glob("export/*.safetensors"))] for r in (one, other)]
    return found if weights[0] and weights[0] == weights[1] else [*found, "the exported weights differ"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe keys, on top of a small run's")
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="default: 50")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: 0)")
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL", help="default: KILL")
    parser.add_argument("--nproc", type=int, default=1, metavar="N", help="processes of the run (default: 1)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="a new directory for both runs, which stays")
    args = parser.parse_intermixed_args()
    if args.work and args.work.exists():
        parser.error(f"--work {args.work} is there already")
    with tempfile.TemporaryDirectory(prefix="prove-resume-") as temporary:
        return prove(args, args.work or Path(temporary))


def prove(args: argparse.Namespace, work: Path) -> int:
    work.mkdir(parents=True, exist_ok=True)
    began, console = time.monotonic(), Console(highlight=False)
    words = ["--nproc", str(args.nproc), *RECIPE.split(), f"training.steps={args.steps}", *args.overrides]
    command = [sys.executable, "-m", "qwen_base", "pretrain", *words]
    # One thread is enough for so small a model, and leaves the machine to others.
    env = {"OMP_NUM_THREADS": "1"} | os.environ
    unbroken, killed = Run(command, work / "unbroken", env), Run(command, work / "killed", env)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("steps, unbroken", total=args.steps)
        unbroken.watch(unbroken.start(), progress=lambda step: bars.update(bar, completed=step))
        bar = bars.add_task("kills", total=args.kills)
        draw = random.Random(args.seed)
        number = signal.Signals[f"SIG{args.signal}"]
        update = partial(bars.update, bar)
        hit, wrong = run_killed(killed, unbroken, args.kills, number, draw, lambda n: update(completed=n), console)
    wrong, last = [*wrong, *differences(unbroken, killed)], killed.last_record()
    passed = not wrong and hit.total() == args.kills
    minutes = round((time.monotonic() - began) / 60, 1)
    table = Table("phase", "share of the unbroken run's time", "kills")
    for phase in PHASES:
        table.add_row(phase, f"{unbroken.seconds[phase] / unbroken.seconds.total():.1%}", str(hit[phase]))
    console.print(table)
    verdict = "PASS: all lines of metrics and the exported weights are identical" if passed else "FAIL"
    verdict += f"; {hit.total()} of {args.kills} kills, {minutes} min, loss {last['train/loss']}"
    console.print("\n".join([*wrong[:20], verdict]), markup=False)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
