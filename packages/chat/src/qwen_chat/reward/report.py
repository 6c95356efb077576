"""Metrics and tables of a reward model on held-out pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from qwen_shared.evaluation.metrics import by_group, percent, wilson
from qwen_shared.files import write_atomic
from qwen_shared.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from datasets import Dataset
    from rich.console import Group
    from rich.table import Table

_BINS = 5
_ROWS = 1000  # in a W&B table


@dataclass(frozen=True)
class Bin:
    """Pairs with sigmoid(|margin|) in one fifth of 0.5 to 1."""

    low: float
    high: float
    pairs: int
    confidence: float  # mean sigmoid(|margin|)
    accuracy: float


def pair_metrics(chosen: Sequence[float], rejected: Sequence[float]) -> dict[str, float]:
    """Pairs; accuracy with its 95 % interval (a tie counts half); loss, -log sigmoid(margin); margin and its deviation;
    calibration_error over the bins of `calibration`.
    """
    margins = [a - b for a, b in zip(chosen, rejected, strict=True)]
    right = sum(map(_won, margins))
    low, high = wilson(right, len(margins))
    bins = calibration(margins)
    return {
        "pairs": len(margins),
        "accuracy": right / len(margins),
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": fmean(_softplus(-margin) for margin in margins),
        "margin": fmean(margins),
        "margin_std": pstdev(margins),
        "calibration_error": sum(b.pairs * abs(b.accuracy - b.confidence) for b in bins) / len(margins),
    }


def calibration(margins: Sequence[float]) -> list[Bin]:
    """Accuracy by confidence, without empty bins."""
    groups: list[list[tuple[float, float]]] = [[] for _ in range(_BINS)]
    for margin in margins:
        sure = 1 / (1 + math.exp(-min(abs(margin), 700.0)))
        groups[min(_BINS - 1, int((sure - 0.5) * 2 * _BINS))].append((sure, _won(margin)))
    width = 0.5 / _BINS
    return [
        Bin(0.5 + i * width, 0.5 + (i + 1) * width, len(g), fmean(s for s, _ in g), fmean(w for _, w in g))
        for i, g in enumerate(groups)
        if g
    ]


def length_metrics(
    chosen: Sequence[float], rejected: Sequence[float], lengths: Sequence[tuple[int, int]]
) -> dict[str, float]:
    """longer_wins: the accuracy of preferring the longer answer; length_correlation of reward and tokens over answers;
    margin_length_correlation of the margin and the difference in tokens over pairs.
    """
    differences = [a - b for a, b in lengths]
    margins = [a - b for a, b in zip(chosen, rejected, strict=True)]
    tokens = [a for a, _ in lengths] + [b for _, b in lengths]
    return {
        "longer_wins": fmean(map(_won, differences)),
        "length_correlation": correlation([*chosen, *rejected], tokens),
        "margin_length_correlation": correlation(margins, differences),
    }


def correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's; 0 if one of them is constant."""
    mean_a, mean_b = fmean(a), fmean(b)
    together = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    apart = math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return together / apart if apart else 0.0


def report(
    pairs: Dataset, chosen: Sequence[float], rejected: Sequence[float], tokenizer: Tokenizer, path: Path, title: str
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Metrics, and rows of the first pairs; prints tables, writes every pair to `path` (.jsonl)."""
    from rich.console import Console

    columns = pairs.to_dict()
    rows = [
        _row(tokenizer, dict(zip(columns, values, strict=True)), a, b)
        for *values, a, b in zip(*columns.values(), chosen, rejected, strict=True)
    ]
    metrics = pair_metrics(chosen, rejected)
    metrics |= length_metrics(chosen, rejected, [(row["chosen_tokens"], row["rejected_tokens"]) for row in rows])
    groups = by_group(
        [{key: str(row[key]) for key in ("tag", "reason") if row[key] is not None} for row in rows],
        [_won(row["margin"]) for row in rows],
        lambda won: {"problems": len(won), "accuracy": fmean(won)},
    )
    for key, values in groups.items():
        for value, of_value in values.items():
            metrics[f"{key}/{value}/accuracy"] = of_value["accuracy"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    Console().print(_tables(metrics, groups, calibration([row["margin"] for row in rows]), title))
    return metrics, rows[:_ROWS]


def _row(tokenizer: Tokenizer, pair: dict[str, Any], chosen: float, rejected: float) -> dict[str, Any]:
    shared = pair["shared"]
    sides = {name: pair[f"{name}_ids"] for name in ("chosen", "rejected")}
    return {
        "prompt": tokenizer.decode(sides["chosen"][:shared]),
        **{name: tokenizer.decode(ids[shared:]) for name, ids in sides.items()},
        "tag": pair["tag"],
        "reason": pair["reason"],
        "chosen_reward": chosen,
        "rejected_reward": rejected,
        "margin": chosen - rejected,
        **{f"{name}_tokens": len(ids) - shared for name, ids in sides.items()},
    }


def _tables(metrics: dict[str, float], groups: dict, bins: list[Bin], title: str) -> Group:
    from rich.console import Group

    low, high = metrics["accuracy_low"], metrics["accuracy_high"]
    shown = {
        "pairs": f"{metrics['pairs']:,}",
        "right": f"{percent(metrics['accuracy'])} ({100 * low:.1f} … {100 * high:.1f})",
        "'longer wins' is right": percent(metrics["longer_wins"]),
        "margin": f"{metrics['margin']:.2f} ± {metrics['margin_std']:.2f}",
        "calibration error": percent(metrics["calibration_error"]),
        "reward ~ length": f"{metrics['length_correlation']:+.2f}",
        "margin ~ difference in length": f"{metrics['margin_length_correlation']:+.2f}",
    }
    tables = [_table(shown, {"held out": str}, title, "")]
    for key, values in groups.items():
        columns = {"right": lambda f: percent(f["accuracy"]), "pairs": lambda f: f"{f['problems']:,}"}
        tables.append(_table(values, columns, None, key))
    columns = {
        "right": lambda b: percent(b.accuracy),
        "says": lambda b: percent(b.confidence),
        "pairs": lambda b: f"{b.pairs:,}",
    }
    tables.append(_table({f"{b.low:.1f} to {b.high:.1f}": b for b in bins}, columns, None, "sigmoid(|margin|)"))
    return Group(*tables)


def _table[T](rows: Mapping[str, T], columns: Mapping[str, Callable[[T], str]], title: str | None, first: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=title and escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column(first, overflow="fold")
    for column in columns:
        shown.add_column(column, justify="right", no_wrap=True)
    for name, of_row in rows.items():
        shown.add_row(escape(name), *(show(of_row) for show in columns.values()))
    return shown


def _won(margin: float) -> float:
    return 1.0 if margin > 0 else 0.0 if margin < 0 else 0.5


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
