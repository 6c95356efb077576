"""What the sandbox costs, and whether it is right: HumanEval's and MBPP's reference solutions with every limit on.

    uv run benchmarks/sandbox.py --humaneval HumanEval.jsonl.gz --mbpp mbpp.jsonl

The overhead of a program is the time of `run` and `run_tests` beyond a bare `python -c` of the same program, one at a
time and in turn; the medians are reported. "Cores busy" counts the whole machine: run this on an idle
one.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from report import cpu_name, machine, median, save
from rich.console import Console
from rich.table import Table

from code_qwen.sandbox import Submission, isolation, run, run_tests, run_tests_many

FUNCTION = "def f(n):\n    return sum(range(n))\n"
PROGRAM = FUNCTION + "assert f(10) == 45\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--humaneval", type=Path, help="HumanEval's problems, JSONL or JSONL.gz")
    parser.add_argument("--mbpp", type=Path, help="MBPP's problems, JSONL")
    parser.add_argument("--workers", type=int, default=4, help="programs at a time (default: 4)")
    parser.add_argument("--rounds", type=int, default=40, help="programs for the overhead (default: 40)")
    parser.add_argument("--out", type=Path, help="the JSON file (default: results/DATE-MACHINE-sandbox.json)")
    args = parser.parse_args(argv)
    for path in (args.humaneval, args.mbpp):
        if path is not None and not path.is_file():
            print(f"sandbox: error: no file {path}", file=sys.stderr)
            return 2

    figures: dict[str, Any] = {"machine": machine(), "workers": args.workers, "overhead_ms": overhead(args.rounds)}
    sets: dict[str, list[Submission]] = {}
    if args.humaneval:
        rows = read(args.humaneval)
        for name, body in (("references", "canonical_solution"), ("empty bodies", None)):
            sets[f"HumanEval, {name}"] = [
                Submission(row["prompt"], row[body] if body else "", row["test"], row["entry_point"], 10.0)
                for row in rows
            ]
    if args.mbpp:
        sets["MBPP, references"] = [
            Submission("", row["code"], "\n".join([row["test_setup_code"], *row["test_list"]]), "", 10.0)
            for row in read(args.mbpp)
        ]
    figures["sets"] = {name: judged(jobs, args.workers) for name, jobs in sets.items()}
    figures["isolation"] = {g.name: {"held": g.held, "how": g.how} for g in isolation()}
    path = save(figures, "sandbox", cpu_name(), args.out)
    show(figures, path)
    return 0


def overhead(rounds: int) -> dict[str, float]:
    """Milliseconds: of a bare interpreter, and what `run` and `run_tests` take beyond it."""
    times: dict[str, list[float]] = {"bare": [], "run": [], "run_tests": []}
    for k in range(rounds + 1):
        for name, action in (
            ("bare", lambda: subprocess.run([sys._base_executable, "-c", PROGRAM], check=True)),
            ("run", lambda: run(PROGRAM)),
            ("run_tests", lambda: run_tests("", FUNCTION, "assert f(10) == 45")),
        ):
            began = time.perf_counter()
            action()
            if k:  # the first starts the supervisor
                times[name].append(1000 * (time.perf_counter() - began))
    bare = median(times["bare"])
    return {"bare": bare, "run": median(times["run"]) - bare, "run_tests": median(times["run_tests"]) - bare}


def judged(jobs: list[Submission], workers: int) -> dict[str, Any]:
    run_tests_many(jobs[: 2 * workers], workers)  # starts the supervisors before the clock
    busy, began = cores_busy(), time.perf_counter()
    outcomes = Counter(verdict.outcome.value for verdict in run_tests_many(jobs, workers))
    seconds = time.perf_counter() - began
    return {
        "programs": len(jobs),
        "outcomes": dict(outcomes),
        "seconds": seconds,
        "per_second": len(jobs) / seconds,
        "cores_busy": (cores_busy() - busy) / seconds,
    }


def cores_busy() -> float:
    """Seconds that the machine's cores have worked, together: also the kernel's, which builds and clears the boxes."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def read(path: Path) -> list[dict[str, Any]]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines() if line.strip()]


def show(figures: dict[str, Any], path: Path) -> None:
    console = Console()
    table = Table("", "programs", "outcomes", "per second", "cores busy", title=f"{figures['workers']} workers")
    for name, found in figures["sets"].items():
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items())
        table.add_row(
            name, f"{found['programs']:,}", outcomes, f"{found['per_second']:.1f}", f"{found['cores_busy']:.2f}"
        )
    console.print(table)
    cost = figures["overhead_ms"]
    console.print(
        f"overhead over python -c ({cost['bare']:.1f} ms): "
        f"run {cost['run']:+.1f}, run_tests {cost['run_tests']:+.1f} ms"
    )
    for name, held in figures["isolation"].items():
        console.print(f"{name}: {'held' if held['held'] else 'NOT held'}, {held['how']}")
    console.print(f"figures: {path}")


if __name__ == "__main__":
    sys.exit(main())
