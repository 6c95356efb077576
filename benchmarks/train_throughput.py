"""Training speed of this suite and of Hugging Face's Trainer, side by side.

    uv run benchmarks/train_throughput.py
    uv run benchmarks/train_throughput.py --precision bf16 --rounds 7 --steps 30 model.num_layers=8

Both train the same architecture from scratch on the same samples, with the same AdamW, micro-batch and number of
threads. They take turns, each turn in a process of its own, so that a busy minute of the machine hits both and nothing
of one's memory or threads is left to the other. Before that the Trainer tries its settings and keeps the fastest;
`--compile` adds torch.compile to what it tries. The suite runs as `qwen-base pretrain` runs it.

Each round also measures the model's matrix products alone. A step's share of that rate counts the FLOPs of
qwen_shared.model.sizes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from contenders import job_recipe
from report import base_recipe, cpu_name, machine, median, save
from rich.console import Console
from rich.table import Table

from qwen_shared.data import prepare
from qwen_shared.errors import UserError
from qwen_shared.model.sizes import flops_per_token, pad_vocab_size, parameter_count
from qwen_shared.run.paths import cache_dir
from qwen_shared.tokenizer import load_tokenizer

_CONTENDERS = Path(__file__).with_name("contenders.py")
_SHARES = ("suite", "trainer")
say = Console(stderr=True, highlight=False).print


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="tiny", help="recipe name or YAML file (default: tiny)")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: 5)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a turn (default: 20)")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them (default: 5)")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False), help="of each (default: cores)")
    parser.add_argument(
        "--compile", action="store_true", help="let the Trainer try torch.compile (needs a C++ compiler)"
    )
    parser.add_argument("--trainer", metavar="SETTING", help="one of the settings it would try, instead of trying all")
    parser.add_argument("--out", type=Path, help="the JSON file (default: results/DATE-MACHINE-train-CONFIG.json)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe keys")
    args = parser.parse_args(argv)
    try:
        return _race(args)
    except UserError as error:
        print(f"train_throughput: error: {error}", file=sys.stderr)
        return 2


def _race(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("accelerate") is None:
        raise UserError("Hugging Face's Trainer needs the package accelerate: uv run --with accelerate …")
    if min(args.rounds, args.steps, args.warmup) < 1:
        raise UserError("--rounds, --steps and --warmup must be 1 or more")
    recipe = base_recipe(args.config, args.overrides)
    prepare(recipe.data, recipe.tokenizer, cache_dir())  # tokenised once, before anybody races
    rows = pad_vocab_size(recipe.model, load_tokenizer(recipe.tokenizer).vocab_size, 1)
    flops = flops_per_token(recipe.model, rows, recipe.data.seq_length)
    job = {key: getattr(args, key) for key in ("config", "overrides", "warmup", "steps", "threads")}
    job_recipe(job)

    results = {precision: _precision(job | {"precision": precision}, args, flops) for precision in args.precision}
    described = machine(args.threads)
    figures = {
        "machine": described,
        "config": args.config,
        "overrides": args.overrides,
        "parameters": parameter_count(recipe.model, rows),
        "micro_batch_size": recipe.training.micro_batch_size,
        "global_batch_size": recipe.training.global_batch_size,
        "seq_length": recipe.data.seq_length,
        "flops_per_token": flops,
        "rounds": args.rounds,
        "timed_steps": args.steps,
        "warmup_steps": args.warmup,
        "results": results,
    }
    path = save(figures, f"train-{Path(args.config).stem}", cpu_name(), args.out)
    _show(figures)
    print(path)
    return 0


def _precision(job: dict[str, Any], args: argparse.Namespace, flops: float) -> dict[str, Any]:
    """All rounds in one precision."""
    variants, trials = _variants(job["precision"], args.compile), {}
    if args.trainer:
        if args.trainer not in variants:
            raise UserError(f"--trainer {args.trainer}: expected one of: {'; '.join(variants)}")
        variants = {args.trainer: variants[args.trainer]}
    for name, variant in variants.items() if len(variants) > 1 else ():
        short = {"steps": max(2, job["steps"] // 3)}
        trials[name] = _turn("trainer", job | short | {"variant": variant})["tokens_per_second"]
        say(f"{job['precision']}  Trainer tries {name}: {trials[name]:,.0f} tokens/s")
    setting = max(variants, key=lambda name: trials.get(name, 0.0))

    rounds: list[dict[str, Any]] = []
    for number in range(1, args.rounds + 1):
        turn = {name: _turn(name, job | {"variant": variants[setting]}) for name in ("suite", "trainer", "matmul")}
        if turn["suite"]["parameters"] != turn["trainer"]["parameters"]:
            raise RuntimeError(f"{turn['suite']['parameters']} parameters against {turn['trainer']['parameters']}")
        rounds.append(turn)
        speeds = ", ".join(f"{name} {turn[name]['tokens_per_second']:,.0f}" for name in _SHARES)
        say(f"{job['precision']}  round {number} of {args.rounds}: {speeds} tokens/s")

    rate = max(turn["matmul"]["flops_per_second"] for turn in rounds)
    summary: dict[str, Any] = {
        "matmul_gflops_per_second": rate / 1e9,
        "ratio": median([t["suite"]["tokens_per_second"] / t["trainer"]["tokens_per_second"] for t in rounds]),
        "trainer_setting": setting,
        "trainer_trials": trials,
    }
    for name in _SHARES:
        speeds = [turn[name]["tokens_per_second"] for turn in rounds]
        summary[name] = {
            "tokens_per_second": median(speeds),
            "slowest_round": min(speeds),
            "fastest_round": max(speeds),
            "share_of_matmul_rate": median(speeds) * flops / rate,
            "mean_loss": rounds[-1][name]["mean_loss"],
            "peak_memory_bytes": max(turn[name]["peak_memory_bytes"] for turn in rounds),
        }
    return summary | {"rounds": rounds}


def _variants(precision: str, compiled: bool) -> dict[str, dict[str, Any]]:
    """The Trainer's settings to choose from, by name. With bf16 weights it keeps less than the suite, whose optimizer
    has fp32 ones, and may be faster for it."""
    return {
        f"{weights} weights, {optimizer}" + (", compiled" if compile_ else ""): {
            "weights": weights,
            "optimizer": optimizer,
            "compile": compile_,
        }
        for weights in (("fp32", "bf16") if precision == "bf16" else ("fp32",))
        for optimizer in ("adamw_torch", "adamw_torch_fused")
        for compile_ in ((False, True) if compiled else (False,))
    }


def _turn(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """One turn in a process of its own."""
    threads = {variable: str(job["threads"]) for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, str(_CONTENDERS), name, json.dumps(job)]
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _show(figures: dict[str, Any]) -> None:
    about, cpu = figures["machine"], figures["machine"]["cpu"]
    table = Table(
        title=f"{figures['config']}, {figures['parameters']:,} parameters, "
        f"{figures['micro_batch_size']} × {figures['seq_length']} tokens a pass",
        caption=f"{cpu}, {about['threads']} threads, torch {about['torch']}, transformers {about['transformers']}; "
        f"median of {figures['rounds']} rounds (slowest to fastest)",
    )
    for column in ("", "tokens/s", "spread", "of matmul rate", "peak memory", "mean loss"):
        table.add_column(column, justify="left" if not column else "right")
    for precision, result in figures["results"].items():
        names = {"suite": f"{precision}  this suite", "trainer": f"{precision}  Trainer ({result['trainer_setting']})"}
        for name, title in names.items():
            row = result[name]
            table.add_row(
                title,
                f"{row['tokens_per_second']:,.0f}",
                f"{row['slowest_round']:,.0f} to {row['fastest_round']:,.0f}",
                f"{row['share_of_matmul_rate']:.0%}",
                f"{row['peak_memory_bytes'] / 2**30:.2f} GiB",
                f"{row['mean_loss']:.3f}",
            )
        rate = f"{result['matmul_gflops_per_second']:,.0f} GFLOP/s"
        table.add_row("      ratio", f"{result['ratio']:.2f} ×", "", rate)
        table.add_section()
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
