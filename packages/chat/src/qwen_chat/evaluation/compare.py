"""Two models' answers to the same prompts: which are better, and by how much."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, pstdev, stdev
from typing import Any

from qwen_chat.evaluation.run import Result
from qwen_chat.evaluation.tasks import GROUPS
from qwen_shared.evaluation.scoring import parts, wilson

MEASURES = ("reward", "preference", "right")  # what an answer has of these; the first one sorts samples
_KEPT = ("answer", *MEASURES, "ended", "tokens")
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Comparison:
    """`figures` by measure: wins, ties and losses (of pairs of answers); win_rate, ties counting half, with the ends of
    its 95 % interval, win_rate_low and win_rate_high; difference (ours less theirs, mean over prompts) with its own,
    difference_low and difference_high; difference_in_std, in standard deviations of their answers.

    `rows`: both answers to every prompt.
    """

    figures: dict[str, dict[str, float]]
    rows: list[dict[str, Any]]


def compare(ours: Result, theirs: Result) -> Comparison:
    """Answers are paired: the i-th to a prompt with the i-th, so that what a prompt is worth to both cancels out.

    Raises ValueError where the prompts are not the same.
    """
    pairs = list(zip(ours.rows, theirs.rows, strict=True))
    if ours.samples != theirs.samples or any(a["prompt"] != b["prompt"] for a, b in pairs):
        raise ValueError("the two models did not answer the same prompts")
    figures = {m: _figures(pairs, m, ours.samples) for m in MEASURES if all(m in a and m in b for a, b in pairs)}
    rows = []
    for a, b in pairs:
        row = {key: a[key] for key in (*GROUPS, "prompt", "reference") if key in a}
        rows.append(row | {"ours": _kept(a), "theirs": _kept(b)})
    return Comparison(figures, rows)


def samples(comparison: Comparison, count: int) -> list[dict[str, Any]]:
    """A few pairs to be read: as many wins as losses, evenly spread over the prompts; any, where nothing tells the two
    apart."""
    measure = next(iter(comparison.figures), None)
    if measure is None:
        return _spread(comparison.rows, count)
    signs = [_sign(row["ours"], row["theirs"], measure) for row in comparison.rows]
    by_sign = {s: [row for row, sign in zip(comparison.rows, signs, strict=True) if sign == s] for s in (1, -1, 0)}
    lost = min(len(by_sign[-1]), count // 2)
    won = min(len(by_sign[1]), count - lost)
    lost = min(len(by_sign[-1]), count - won)
    tied = min(len(by_sign[0]), count - won - lost)
    return _spread(by_sign[1], won) + _spread(by_sign[-1], lost) + _spread(by_sign[0], tied)


def named(task: str, other: str, comparison: Comparison) -> dict[str, float]:
    """The figures under the names that the manifest and W&B have; `other` is short for the other model."""
    return {
        f"eval/{task}/against/{other}/{measure}/{key}": value
        for measure, figures in comparison.figures.items()
        for key, value in figures.items()
    }


def _figures(pairs: list[tuple[dict, dict]], measure: str, samples: int) -> dict[str, float]:
    signs = [_sign(a, b, measure) for a, b in pairs]
    # The answers to one prompt are no independent trials: the intervals count prompts.
    rates = [fmean((1 + sign) / 2 for sign in part) for part in parts(signs, samples)]
    differences = [fmean(a[measure] - b[measure] for a, b in part) for part in parts(pairs, samples)]
    # A tie counts as half a win and half a loss, and varies less than either: Wilson's interval is rather too wide.
    low, high = wilson(sum(rates), len(rates))
    half = _Z95 * stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    difference, spread = fmean(differences), pstdev(b[measure] for _, b in pairs)
    figures: dict[str, float] = {"wins": signs.count(1), "ties": signs.count(0), "losses": signs.count(-1)}
    figures |= {"win_rate": fmean(rates), "win_rate_low": low, "win_rate_high": high, "difference": difference}
    if math.isfinite(half):
        figures |= {"difference_low": difference - half, "difference_high": difference + half}
    return figures | ({"difference_in_std": difference / spread} if spread else {})


def _sign(ours: dict[str, Any], theirs: dict[str, Any], measure: str) -> int:
    return (ours[measure] > theirs[measure]) - (ours[measure] < theirs[measure])


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in _KEPT if key in row}


def _spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    count = min(count, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]
