"""Seconds from `qwen-base pretrain` to its first step.

    uv run benchmarks/startup.py

The command runs as a user runs it, in a fresh run directory, until its first line of metrics.jsonl, and is then killed:
with an empty cache of token files, where the text is also tokenised, and with a filled one. The operating system's own
cache of files is as it is, so the first run after a reboot takes longer.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from report import cpu_name, machine, median, save
from rich.console import Console
from rich.table import Table

_PATIENCE = 300.0  # seconds


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="tiny", help="recipe name or YAML file (default: tiny)")
    parser.add_argument("--times", type=int, default=3, help="runs of each kind (default: 3)")
    parser.add_argument("--out", type=Path, help="the JSON file (default: results/DATE-MACHINE-startup-CONFIG.json)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe keys")
    args = parser.parse_args(argv)

    seconds: dict[str, list[float]] = {"empty cache": [], "filled cache": []}
    for _ in range(args.times):
        with tempfile.TemporaryDirectory() as folder:
            for kind, found in seconds.items():  # the first of the two fills the cache for the second
                run_dir = Path(folder, kind.replace(" ", "-"))
                try:
                    found.append(first_step(args.config, args.overrides, run_dir, Path(folder, "cache")))
                except RuntimeError as error:
                    print(f"startup: error: {error}", file=sys.stderr)
                    return 1
    figures: dict[str, Any] = {"machine": machine(), "config": args.config, "overrides": args.overrides}
    figures["seconds"] = {kind: {"median": median(found), "all": found} for kind, found in seconds.items()}
    path = save(figures, f"startup-{Path(args.config).stem}", cpu_name(), args.out)
    table = Table("", "median", "all", title=f"{args.config}: seconds to the first step")
    for kind, row in figures["seconds"].items():
        table.add_row(kind, f"{row['median']:.1f}", ", ".join(f"{value:.1f}" for value in row["all"]))
    Console(width=120).print(table)
    print(path)
    return 0


def first_step(config: str, overrides: list[str], run_dir: Path, cache: Path) -> float:
    """Seconds from starting the command to its first line of metrics. Raises RuntimeError where none comes."""
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_API_KEY"}
    command = [sys.executable, "-m", "qwen_base", "pretrain", "--config", config, "--run-dir", str(run_dir), *overrides]
    metrics = run_dir / "metrics.jsonl"
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment | {"QWEN_CACHE": str(cache)},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not (metrics.exists() and b"\n" in metrics.read_bytes()):
                if process.poll() is not None or time.perf_counter() > began + _PATIENCE:
                    said.seek(0)
                    raise RuntimeError(f"no step came: {said.read().decode()[-2000:]}")
                time.sleep(0.005)
            return time.perf_counter() - began
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
