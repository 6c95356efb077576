"""Which metrics stand together on one chart, and the chart's geometry. The page's template draws it.

Thousands of noisy points become a smooth line over a pale band of the measured values.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qwen_shared.report.numbers import compact, number

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 54, 16, 10, 34
_DECADES = 2.0  # an axis that spans more is logarithmic
_MAX_POINTS = 60  # a curve of more is a line over a band
_COLUMNS = 200  # of a band, and of its line
_WINDOW = 50  # the mean goes over a fiftieth of all points


@dataclass(frozen=True)
class ChartSpec:
    """A chart that a run may have."""

    title: str
    unit: str
    metrics: dict[str, str]  # pattern → label, in which {} is the pattern's group
    log: bool = False  # the axis may be logarithmic


LEARNING = (
    ChartSpec(
        "Loss",
        "nats per token",
        {"train/loss": "training", "val/loss": "held out", "val/(.+)/loss": "held out: {}"},
        log=True,
    ),
    ChartSpec("Held-out text", "bits per byte", {"val/bits_per_byte": "held out", "val/(.+)/bits_per_byte": "{}"}),
    ChartSpec("Accuracy", "share of pairs", {"train/accuracy": "training", "val/accuracy": "held out"}),
    ChartSpec("Margin", "reward, chosen − rejected", {"train/margin": "training", "val/margin": "held out"}),
    ChartSpec("Reward", "as scored", {"ppo/reward": "training prompts", "val/reward": "held-out prompts"}),
    ChartSpec("Watched reward", "never trained on", {"ppo/held_out_reward": "training prompts"}),
    ChartSpec("KL from the reference", "nats per response", {"ppo/kl": "KL"}),
    ChartSpec("Entropy", "nats per token", {"ppo/entropy": "policy"}),
    ChartSpec(
        "Response length", "tokens", {"ppo/response_tokens": "training prompts", "val/tokens": "held-out prompts"}
    ),
    ChartSpec("Value model", "share of variance explained", {"ppo/explained_variance": "explained"}),
    ChartSpec("Value loss", "squared reward", {"ppo/value_loss": "value loss"}, log=True),
    ChartSpec(
        "Gradient norm", "before clipping", {"train/grad_norm": "norm", "ppo/(policy|value)_gradient": "{}"}, log=True
    ),
    ChartSpec("Learning rate", "", {"train/lr": "rate"}),
)
THROUGHPUT = (
    ChartSpec("Speed", "tokens per second", {"train/tokens_per_second": "speed"}),
    ChartSpec("MFU", "share of the hardware's peak", {"train/mfu": "MFU"}),
    ChartSpec("Seconds of a step", "seconds", {"time/(rollout|score|learn)": "{}"}),
)
# Perplexity is exp(loss), and loss tokens only weigh it; the rest is the x axis in other units.
_LEFT_OUT = re.compile(r"step|time|tokens|samples|train/loss_tokens|val/(.+/)?perplexity")


@dataclass(frozen=True)
class Line:
    """A curve as SVG paths, and its numbers as text."""

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
    """A run's charts by section; a metric that no spec names gets its own chart."""
    names = list(dict.fromkeys(name for record in records for name in record))
    sections: dict[str, list[Chart]] = {}
    used: set[str] = set()
    for section, specs in (("Learning", LEARNING), ("Throughput", THROUGHPUT)):
        found = []
        for spec in specs:
            labels = _labels(spec, names)
            used |= labels.keys()
            if spec.unit == "nats per token" and "train/margin" in names:
                spec = replace(spec, unit="nats per pair")  # a reward model's
            found.append(_chart(spec, [curve(records, name, labels[name]) for name in labels]))
        sections[section] = [chart for chart in found if chart]
    rest = [name for name in names if name not in used and not _LEFT_OUT.fullmatch(name)]
    others = [_chart(ChartSpec(name, "", {}), [curve(records, name, name.rpartition("/")[2])]) for name in rest]
    sections["Other measures"] = [chart for chart in others if chart]
    return sections


def _labels(spec: ChartSpec, names: list[str]) -> dict[str, str]:
    labels = {}
    for pattern, label in spec.metrics.items():
        for name in names:
            if name not in labels and (match := re.fullmatch(pattern, name)):
                labels[name] = label.format(*match.groups())
    return labels


def _chart(spec: ChartSpec, found: list[Curve | None]) -> Chart | None:
    curves = [curve for curve in found if curve is not None]
    if not curves:
        return None
    first, last = min(float(c.x[0]) for c in curves), max(float(c.x[-1]) for c in curves)
    x = Axis(first, last, LEFT, WIDTH - RIGHT)
    y = value_axis([curve.bounds for curve in curves], HEIGHT - BOTTOM, TOP, spec.log)
    return Chart(
        spec.title,
        spec.unit,
        [_line(curve, x, y) for curve in curves],
        [(round(x.at(tick), 1), compact(tick)) for tick in x.ticks()],
        [(round(y.at(tick), 1), compact(tick)) for tick in y.ticks()],
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


# ---- curves


@dataclass(frozen=True)
class Curve:
    """One metric over steps."""

    label: str
    x: np.ndarray  # [N]
    y: np.ndarray  # [N]
    band: np.ndarray | None  # [M, 3]: step, lowest and highest value; None: the line passes all values
    last: float
    lowest: float
    highest: float

    @property
    def bounds(self) -> tuple[float, float]:
        """What the axis must span. The rarest 2 % of spikes may stick out."""
        low, high = float(self.y.min()), float(self.y.max())
        if self.band is not None:
            low = min(low, float(np.quantile(self.band[:, 1], 0.02)))
            high = max(high, float(np.quantile(self.band[:, 2], 0.98)))
        return low, high


def curve(records: list[dict[str, Any]], metric: str, label: str) -> Curve | None:
    """The metric's curve, or None if fewer than two records have it."""
    points = [(r["step"], v) for r in records if _is_number(v := r.get(metric))]
    if len(points) < 2:
        return None
    x, y = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    shown: dict[str, Any] = {"label": label, "last": float(y[-1]), "lowest": float(y.min()), "highest": float(y.max())}
    if len(x) <= _MAX_POINTS:
        return Curve(x=x, y=y, band=None, **shown)
    edges = np.unique(np.linspace(0, len(x), _COLUMNS + 1).astype(int))[:-1]
    band = np.stack([x[edges], np.minimum.reduceat(y, edges), np.maximum.reduceat(y, edges)], axis=1)
    kept = np.unique(np.linspace(0, len(x) - 1, _COLUMNS).astype(int))
    return Curve(x=x[kept], y=_running_mean(y)[kept], band=band, **shown)


def _running_mean(y: np.ndarray) -> np.ndarray:
    """The mean around each point, [N] → [N]. The window shrinks towards the beginning, where curves are steep; at the
    end it loses only its later half."""
    n = len(y)
    index = np.arange(n)
    back = np.minimum(max(2, n // _WINDOW // 2), index)
    ahead = np.minimum(back, n - 1 - index)
    sums = np.concatenate([[0.0], np.cumsum(y)])
    return (sums[index + ahead + 1] - sums[index - back]) / (back + ahead + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# ---- axes


@dataclass(frozen=True)
class Axis:
    """Maps values `low` to `high` to pixels `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(max(value, low / 10)), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values within the axis, about `count` of them."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, (last - first) // count)
            return [10.0**power for power in range(first, last + 1, every)]
        raw = (self.high - self.low) / count
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]


def value_axis(bounds: list[tuple[float, float]], start: float, end: float, may_be_log: bool) -> Axis:
    """An axis that holds all bounds, with a margin."""
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    if may_be_log and low > 0 and math.log10(high / low) > _DECADES:
        return Axis(low / 1.2, high * 1.2, start, end, log=True)
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    # Shares, counts and losses are never negative.
    return Axis(0.0 if low >= 0 > low - margin else low - margin, high + margin, start, end)
