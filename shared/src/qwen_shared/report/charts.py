"""Which metrics stand together on one chart, and the chart's geometry. The page's template draws it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from qwen_shared.report.axes import Axis, value_axis
from qwen_shared.report.curves import Curve, curve
from qwen_shared.report.words import number, short

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 54, 16, 10, 34


@dataclass(frozen=True)
class Plan:
    """A chart that a run may have: metrics by name or pattern; a pattern's group names its curve."""

    title: str
    unit: str
    metrics: dict[str, str]  # pattern → label
    log: bool = False  # the axis may be logarithmic


LEARNING = (
    Plan(
        "Loss",
        "nats per token",
        {"train/loss": "training", "val/loss": "held out", "val/(.+)/loss": "held out: {}"},
        log=True,
    ),
    Plan("Held-out text", "bits per byte", {"val/bits_per_byte": "held out", "val/(.+)/bits_per_byte": "{}"}),
    Plan("Accuracy", "share of pairs", {"train/accuracy": "training", "val/accuracy": "held out"}),
    Plan("Margin", "reward, chosen − rejected", {"train/margin": "training", "val/margin": "held out"}),
    Plan("Reward", "as scored", {"ppo/reward": "training prompts", "val/reward": "held-out prompts"}),
    Plan("Watched reward", "never trained on", {"ppo/held_out_reward": "training prompts"}),
    Plan("KL from the reference", "nats per response", {"ppo/kl": "KL"}),
    Plan("Entropy", "nats per token", {"ppo/entropy": "policy"}),
    Plan("Response length", "tokens", {"ppo/response_tokens": "training prompts", "val/tokens": "held-out prompts"}),
    Plan("Value model", "share of variance explained", {"ppo/explained_variance": "explained"}),
    Plan("Value loss", "squared reward", {"ppo/value_loss": "value loss"}, log=True),
    Plan(
        "Gradient norm", "before clipping", {"train/grad_norm": "norm", "ppo/(policy|value)_gradient": "{}"}, log=True
    ),
    Plan("Learning rate", "", {"train/lr": "rate"}),
)
THROUGHPUT = (
    Plan("Speed", "tokens per second", {"train/tokens_per_second": "speed"}),
    Plan("MFU", "share of the hardware's peak", {"train/mfu": "MFU"}),
    Plan("Seconds of a step", "seconds", {"time/(rollout|score|learn)": "{}"}),
)
# exp(loss) and a count that belongs to it say nothing new; the rest is the x axis in other units.
_LEFT_OUT = re.compile(r"step|time|tokens|samples|train/loss_tokens|val/(.+/)?perplexity")


@dataclass(frozen=True)
class Line:
    """One curve on the paper: SVG paths, and its figures in words."""

    label: str
    path: str
    band: str
    dots: list[tuple[float, float]]
    last: str
    lowest: str
    highest: str


@dataclass(frozen=True)
class Chart:
    title: str
    unit: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    log: bool
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)
    left: int = field(default=LEFT, init=False)
    right: int = field(default=WIDTH - RIGHT, init=False)
    top: int = field(default=TOP, init=False)
    bottom: int = field(default=HEIGHT - BOTTOM, init=False)


def charts(records: list[dict[str, Any]]) -> dict[str, list[Chart]]:
    """The charts of a run's metrics by section; a metric that no plan knows has one of its own."""
    names = list(dict.fromkeys(name for record in records for name in record))
    sections: dict[str, list[Chart]] = {}
    used: set[str] = set()
    for section, plans in (("Learning", LEARNING), ("Throughput", THROUGHPUT)):
        found = []
        for plan in plans:
            labels = _labels(plan, names)
            used |= labels.keys()
            if plan.unit == "nats per token" and "train/margin" in names:
                plan = replace(plan, unit="nats per pair")  # a reward model's
            found.append(_chart(plan, [curve(records, name, labels[name]) for name in labels]))
        sections[section] = [chart for chart in found if chart]
    rest = [name for name in names if name not in used and not _LEFT_OUT.fullmatch(name)]
    others = [_chart(Plan(name, "", {}), [curve(records, name, name.rpartition("/")[2])]) for name in rest]
    sections["Other measures"] = [chart for chart in others if chart]
    return sections


def _labels(plan: Plan, names: list[str]) -> dict[str, str]:
    labels = {}
    for pattern, label in plan.metrics.items():
        for name in names:
            if name not in labels and (match := re.fullmatch(pattern, name)):
                labels[name] = label.format(*match.groups())
    return labels


def _chart(plan: Plan, found: list[Curve | None]) -> Chart | None:
    curves = [curve for curve in found if curve is not None]
    if not curves:
        return None
    first, last = min(float(c.x[0]) for c in curves), max(float(c.x[-1]) for c in curves)
    x = Axis(first, last, LEFT, WIDTH - RIGHT)
    y = value_axis([curve.bounds for curve in curves], HEIGHT - BOTTOM, TOP, plan.log)
    return Chart(
        plan.title,
        plan.unit,
        [_line(curve, x, y) for curve in curves],
        [(round(x.at(tick), 1), short(tick)) for tick in x.ticks()],
        [(round(y.at(tick), 1), short(tick)) for tick in y.ticks()],
        y.log,
    )


def _line(curve: Curve, x: Axis, y: Axis) -> Line:
    points = [(round(x.at(a), 1), round(y.at(b), 1)) for a, b in zip(curve.x.tolist(), curve.y.tolist(), strict=True)]
    band = ""
    if curve.band is not None:
        upper = [(x.at(step), y.at(high)) for step, _, high in curve.band.tolist()]
        lower = [(x.at(step), y.at(low)) for step, low, _ in curve.band.tolist()]
        band = _path([*upper, *reversed(lower)]) + "Z"
    return Line(
        curve.label,
        _path(points),
        band,
        points if len(points) <= 20 else [],
        number(curve.last),
        number(curve.lowest),
        number(curve.highest),
    )


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in points)
