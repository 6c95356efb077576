"""Two models' answers to the same prompts: which are better, and by how much."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, pstdev, stdev
from typing import Any

from qwen_shared.evaluation.metrics import parts, wilson
from qwen_shared.evaluation.run import Result
from qwen_shared.evaluation.task import Row

# By their logged names the keys of rows. The first one that both models' rows have sorts samples.
MEASURES = {"reward": "reward", "preference": "preference", "right": "score"}
_KEPT = ("completion", *MEASURES.values(), "stopped", "tokens")
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Comparison:
    """`metrics` by measure: `wins`, `ties`, `losses` (pairs); `win_rate` (a tie is half a win) with its 95 %
    interval `win_rate_low`, `win_rate_high`; `difference` (ours minus theirs, mean over prompts) with `difference_low`,
    `difference_high`; `difference_in_std`, in standard deviations of their answers.

    `rows`: both answers to every prompt.
    """

    metrics: dict[str, dict[str, float]]
    rows: list[Row]


def compare(ours: Result, theirs: Result, samples: int) -> Comparison:
    """Answers are paired, the i-th to a prompt with the i-th, so that a prompt's difficulty cancels out. There are
    `samples` to a prompt.

    Raises ValueError if the prompts are not the same.
    """
    pairs = list(zip(ours.rows, theirs.rows, strict=True))
    if any(_asked(a) != _asked(b) for a, b in pairs):
        raise ValueError("the two models did not answer the same prompts")
    measured = [m for m, key in MEASURES.items() if all(r.get(key) is not None for pair in pairs for r in pair)]
    metrics = {m: _metrics(pairs, MEASURES[m], samples) for m in measured}
    rows = []
    for a, b in pairs:
        row = {key: a[key] for key in ("task_id", "sample", "groups", "messages", "prompt", "reference") if key in a}
        rows.append(row | {"ours": _kept(a), "theirs": _kept(b)})
    return Comparison(metrics, rows)


def _asked(row: Row) -> Any:
    """Without the system turn, which may be each model's own."""
    return row["task_id"], row["sample"], row.get("messages")


def samples(comparison: Comparison, count: int) -> list[Row]:
    """A few pairs to be read: as many wins as losses, evenly spread over the prompts; any, if the answers have no
    measure."""
    measure = next(iter(comparison.metrics), None)
    if measure is None:
        return _spread(comparison.rows, count)
    signs = [_sign(row["ours"], row["theirs"], MEASURES[measure]) for row in comparison.rows]
    by_sign = {s: [row for row, sign in zip(comparison.rows, signs, strict=True) if sign == s] for s in (1, -1, 0)}
    lost = min(len(by_sign[-1]), count // 2)
    won = min(len(by_sign[1]), count - lost)
    lost = min(len(by_sign[-1]), count - won)
    tied = min(len(by_sign[0]), count - won - lost)
    return _spread(by_sign[1], won) + _spread(by_sign[-1], lost) + _spread(by_sign[0], tied)


def named(task: str, other: str, comparison: Comparison) -> dict[str, float]:
    """Metrics by their names in the manifest and W&B; `other` is a short name of the other model."""
    return {
        f"eval/{task}/against/{other}/{measure}/{key}": value
        for measure, metrics in comparison.metrics.items()
        for key, value in metrics.items()
    }


def _metrics(pairs: list[tuple[Row, Row]], key: str, samples: int) -> dict[str, float]:
    signs = [_sign(a, b, key) for a, b in pairs]
    # Several answers to one prompt are not independent: intervals count prompts.
    rates = [fmean((1 + sign) / 2 for sign in part) for part in parts(signs, samples)]
    differences = [fmean(a[key] - b[key] for a, b in part) for part in parts(pairs, samples)]
    # A tie varies less than a win or a loss: Wilson's interval is slightly too wide.
    low, high = wilson(sum(rates), len(rates))
    half = _Z95 * stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    difference, spread = fmean(differences), pstdev(b[key] for _, b in pairs)
    metrics: dict[str, float] = {"wins": signs.count(1), "ties": signs.count(0), "losses": signs.count(-1)}
    metrics |= {"win_rate": fmean(rates), "win_rate_low": low, "win_rate_high": high, "difference": difference}
    if math.isfinite(half):
        metrics |= {"difference_low": difference - half, "difference_high": difference + half}
    return metrics | ({"difference_in_std": difference / spread} if spread else {})


def _sign(ours: Row, theirs: Row, key: str) -> int:
    return (ours[key] > theirs[key]) - (ours[key] < theirs[key])


def _kept(row: Row) -> Row:
    return {key: row[key] for key in _KEPT if key in row}


def _spread(rows: list[Row], count: int) -> list[Row]:
    count = min(count, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]
