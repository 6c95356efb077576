"""Supervised fine-tuning of this suite and of trl's SFTTrainer, side by side: supervised tokens per second.

    uv run benchmarks/sft_throughput.py
    uv run benchmarks/sft_throughput.py --from runs/base-pretrain/tiny --data train.jsonl --precision bf16 --rounds 7

All start from the same weights and train on the same conversations, with the same AdamW, as many tokens a step and as
many threads; what is in the loss is compared before it is timed. They take turns, each turn in a process of its own, so
that a busy minute of the machine hits all of them. Before that each form of trl's tries its settings and keeps the
fastest. The ratio that counts is against packing as trl does it by default; its other forms are raced beside it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import psutil
from report import ROOT, cpu_name, machine, median, save
from rich.console import Console
from rich.table import Table

from math_qwen import problems
from qwen_shared.errors import UserError

_CONTENDERS = Path(__file__).with_name("sft_contenders.py")
_TITLES = {
    "suite": "this suite, packed",
    "packed": "trl, packed (bfd)",
    "wrapped": "trl, packed (wrapped)",
    "padded": "trl, padded",
}
_START = ROOT / "runs" / "base-pretrain" / "tiny" / "export"
_TOLERANCE = 0.01  # of the supervised tokens of an epoch
say = Console(stderr=True, highlight=False).print


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="start", default=str(_START), help="a run or a Hugging Face directory")
    parser.add_argument("--data", type=Path, help="JSONL with `messages` (default: problems made here)")
    parser.add_argument("--problems", type=int, default=4_000, help="how many of those (default: 4,000)")
    parser.add_argument("--config", default="tiny", help="math-qwen's recipe name or YAML file (default: tiny)")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--packed-only", action="store_true", help="leave trl's other forms out")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: 3)")
    parser.add_argument("--steps", type=int, default=12, help="timed steps of a turn (default: 12)")
    parser.add_argument("--warmup", type=int, default=3, help="steps before them (default: 3)")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False), help="of each (default: cores)")
    parser.add_argument("--no-trials", action="store_true", help="take the first of trl's settings untried")
    parser.add_argument("--out", type=Path, help="the JSON file (default: results/DATE-MACHINE-sft-CONFIG.json)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe keys")
    args = parser.parse_args(argv)
    try:
        return _race(args)
    except UserError as error:
        print(f"sft_throughput: error: {error}", file=sys.stderr)
        return 2


def _race(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("trl") is None:
        raise UserError("the peer is the package trl: uv run --with trl …")
    if min(args.rounds, args.steps, args.warmup, args.problems) < 1:
        raise UserError("--rounds, --steps, --warmup and --problems must be 1 or more")
    if args.start == str(_START) and not _START.is_dir():
        raise UserError(f"{_START}: no model to start from; `qwen-base pretrain` makes it, or --from names another")
    with tempfile.TemporaryDirectory() as folder:
        # Caches of the race's own: what one turn tokenised, the next finds.
        os.environ |= {"QWEN_CACHE": f"{folder}/qwen", "HF_DATASETS_CACHE": f"{folder}/datasets"}
        data = args.data or _problems(Path(folder, "problems.jsonl"), args.problems)
        job = {key: getattr(args, key) for key in ("start", "config", "overrides", "warmup", "steps", "threads")}
        job |= {"data": str(data.resolve())}
        about = _describe(job)
        job |= {key: about[key] for key in ("global_batch_size", "rows_per_step")}
        names = ["suite", "packed"] if args.packed_only else list(_TITLES)
        results = {precision: _precision(job | {"precision": precision}, names, args) for precision in args.precision}
    versions = {"trl": importlib.metadata.version("trl")}
    figures = {
        "machine": machine(args.threads) | versions,
        "config": args.config,
        "overrides": args.overrides,
        "from": os.path.relpath(args.start, ROOT) if Path(args.start).exists() else args.start,
        "data": args.data.name if args.data else f"{args.problems} problems of math_qwen.problems",
        **about,
        "rounds": args.rounds,
        "timed_steps": args.steps,
        "warmup_steps": args.warmup,
        "results": results,
    }
    path = save(figures, f"sft-{Path(args.config).stem}", cpu_name(), args.out)
    _show(figures)
    print(path)
    return 0


def _problems(path: Path, count: int) -> Path:
    lines = (json.dumps({"messages": problems.messages(p)}, ensure_ascii=False) for p in problems.training(0, count))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _describe(job: dict[str, Any]) -> dict[str, Any]:
    """The step and the data as the suite sees them, tokenised once, before anybody races."""
    from sft_contenders import conversations, sft_recipe

    recipe, _ = sft_recipe(job)
    found = conversations(recipe)
    G, S = recipe.training.global_batch_size, recipe.data.seq_length
    count, tokens = (sum(getattr(p, name) for p in found.train) for name in ("num_conversations", "num_tokens"))
    return {
        "global_batch_size": G,
        "micro_batch_size": recipe.training.micro_batch_size,
        "seq_length": S,
        "conversations": count,
        "mean_length": tokens / count,
        # As many conversations as a step of packed samples holds, in a number of passes that divides G.
        "rows_per_step": max(1, round(S * count / tokens)) * G,
    }


def _precision(job: dict[str, Any], names: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """All rounds in one precision."""
    precision, settings, trials = job["precision"], {}, {}
    for name in names[1:]:
        variants, tried = _variants(name, precision, job["global_batch_size"]), {}
        for title, variant in () if args.no_trials else variants.items():
            short = {"steps": max(2, job["steps"] // 3), "warmup": min(2, job["warmup"]), "variant": variant}
            tried[title] = _turn(name, job | short)["supervised_tokens_per_second"]
            say(f"{precision}  {_TITLES[name]} tries {title}: {tried[title]:,.0f} supervised tokens/s")
        best = max(variants, key=lambda title: tried.get(title, 0.0))
        settings[name], trials[name] = (best, variants[best]), tried

    rounds: list[dict[str, Any]] = []
    for number in range(1, args.rounds + 1):
        turn = {name: _turn(name, job | ({"variant": settings[name][1]} if name != "suite" else {})) for name in names}
        _check_same(turn)
        rounds.append(turn)
        speeds = ", ".join(f"{name} {turn[name]['supervised_tokens_per_second']:,.0f}" for name in names)
        say(f"{precision}  round {number} of {args.rounds}: {speeds} supervised tokens/s")

    summary: dict[str, Any] = {}
    for name in names:
        speeds = [turn[name]["supervised_tokens_per_second"] for turn in rounds]
        summary[name] = {
            "supervised_tokens_per_second": median(speeds),
            "slowest_round": min(speeds),
            "fastest_round": max(speeds),
            "tokens_per_second": median([turn[name]["tokens_per_second"] for turn in rounds]),
            **{key: rounds[-1][name][key] for key in ("padding_share", "supervised_per_step", "mean_loss")},
            **{key: rounds[0][name][key] for key in ("supervised_per_epoch", "change_in_neighbours")},
            "isolated": rounds[0][name]["change_in_neighbours"] == 0,
            "peak_memory_bytes": max(turn[name]["peak_memory_bytes"] for turn in rounds),
        }
        if name != "suite":
            ours = [turn["suite"]["supervised_tokens_per_second"] for turn in rounds]
            ratios = [a / b for a, b in zip(ours, speeds, strict=True)]
            summary[name] |= {"setting": settings[name][0], "trials": trials[name]}
            summary[name] |= {"ratio": median(ratios), "ratio_of_each_round": ratios}
    return {"ratio": summary["packed"]["ratio"], **summary, "rounds": rounds}


def _variants(name: str, precision: str, global_batch: int) -> dict[str, dict[str, Any]]:
    """A form's settings to choose from, by name.

    Packing by "bfd" makes one sequence of all samples of a pass, with a mask as large as its square, so several passes
    a step may be faster than one. With bf16 weights trl keeps less than the suite, whose optimizer has fp32 ones. Rows
    to be padded are grouped by length, so that there is less to pad.
    """
    some = range(1, global_batch + 1) if name == "packed" else {1, global_batch}
    passes = sorted((number for number in some if global_batch % number == 0), reverse=True)
    order = "group_by_length" if name == "padded" else "random"
    return {
        f"{weights} weights, {count} pass{'es' * (count > 1)} a step": {
            "weights": weights,
            "passes": count,
            "order": order,
        }
        for weights, count in product(("float32", "bfloat16") if precision == "bf16" else ("float32",), passes)
    }


def _check_same(turn: dict[str, dict[str, Any]]) -> None:
    """Raises UserError where the contenders do not learn the same model from the same tokens."""
    suite = turn["suite"]
    for name, other in turn.items():
        if other["parameters"] != suite["parameters"]:
            raise UserError(f"{_TITLES[name]} has {other['parameters']:,} parameters, not {suite['parameters']:,}")
        ours, theirs = suite["supervised_per_epoch"], other["supervised_per_epoch"]
        if abs(theirs - ours) > _TOLERANCE * ours:
            raise UserError(
                f"{_TITLES[name]} supervises {theirs:,} tokens an epoch, this suite {ours:,}: the data must have no "
                "copies and nothing longer than a sample or the model's positions, and the chat template must mark "
                "what the assistant says"
            )


def _turn(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """One turn in a process of its own."""
    threads = {variable: str(job["threads"]) for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, str(_CONTENDERS), name, json.dumps(job)]
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _show(figures: dict[str, Any]) -> None:
    about = figures["machine"]
    table = Table(
        title=f"SFT from {figures['from']}: {figures['conversations']:,} conversations of {figures['mean_length']:.0f} "
        f"tokens, {figures['global_batch_size']} × {figures['seq_length']} a step",
        caption=f"{about['cpu']}, {about['threads']} threads, torch {about['torch']}, transformers "
        f"{about['transformers']}, trl {about['trl']}; median of {figures['rounds']} rounds (slowest to fastest)",
    )
    for column in ("", "in the loss/s", "spread", "tokens/s", "padding", "neighbours", "memory", "ours ÷ it"):
        table.add_column(column, justify="left" if not column else "right")
    for precision, result in figures["results"].items():
        for name in (name for name in _TITLES if name in result):
            row = result[name]
            title = f"{precision}  {_TITLES[name]}" + (f"\n      {row['setting']}" if "setting" in row else "")
            table.add_row(
                title,
                f"{row['supervised_tokens_per_second']:,.0f}",
                f"{row['slowest_round']:,.0f} to {row['fastest_round']:,.0f}",
                f"{row['tokens_per_second']:,.0f}",
                f"{row['padding_share']:.1%}",
                "unseen" if row["isolated"] else "seen",
                f"{row['peak_memory_bytes'] / 2**30:.2f} GiB",
                f"{row['ratio']:.2f} ×" if "ratio" in row else "",
            )
        table.add_section()
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
