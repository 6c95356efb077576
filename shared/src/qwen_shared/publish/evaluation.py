"""What was measured of a checkpoint, out of what its run keeps. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from qwen_shared.publish.subject import Subject
from qwen_shared.run import read_metrics
from qwen_shared.run.lineage import tokens_seen

Figures = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """A figure with its 95 % interval."""

    task: str
    metric: str
    value: float
    low: float
    high: float
    problems: int | None
    before: float | None  # of the model that the run started from
    nearest: float | None  # what repeating the nearest training example would get


@dataclass(frozen=True)
class Variant:
    """A quantised copy in a folder of its own."""

    name: str
    bytes: int  # of its weights
    loss: float


@dataclass(frozen=True)
class Quantised:
    """Variants, and the model as it is, by their loss on the same held-out tokens."""

    loss: float
    tokens: int
    bytes: int
    variants: list[Variant]

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Quantised:
        """What `dataclasses.asdict` made of one."""
        return cls(**said | {"variants": [Variant(**variant) for variant in said["variants"]]})


def figures_of(subject: Subject) -> Figures:
    """By the names of the manifest's results: of the last checkpoint those, of an earlier one what `evaluate RUN@STEP`
    or a validation at that step left."""
    if subject.is_last:
        return subject.manifest.results
    metrics = read_metrics(subject.run_dir / "metrics.jsonl")
    found = {k: v for line in metrics if line["step"] == subject.step for k, v in line.items() if k.startswith("val/")}
    report = _json(subject.run_dir / f"evaluation-{subject.step:08d}" / "evaluation.json")
    for task, figures in report.get("tasks", {}).items():
        found |= {f"eval/{task}/{name}": value for name, value in figures.items() if isinstance(value, int | float)}
    return found


def tokens_of(subject: Subject) -> int | None:
    """Tokens that the run saw up to the checkpoint; None where that was not counted."""
    return tokens_seen(subject.run_dir, subject.manifest, subject.step)


def is_missing(kind: str, figures: Figures) -> bool:
    """Whether nothing says how good the model is at what it was trained for."""
    held_out = kind.endswith("-pretrain") and "val/bits_per_byte" in figures
    return not held_out and not any(name.startswith(("eval/", "gain/")) for name in figures)


def with_intervals(figures: Figures) -> list[Measured]:
    """Shares of problems, task by task."""
    rows = []
    for name, value in figures.items():
        low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
        if not name.startswith("eval/") or low is None or high is None:
            continue
        place, _, metric = name.rpartition("/")
        task = place.removeprefix("eval").strip("/") or "held-out pairs"
        problems = figures.get(f"{place}/problems", figures.get(f"{place}/pairs"))
        nearest = figures.get(f"nearest/{task}/{metric}")
        rows.append(Measured(task, metric, value, low, high, problems, figures.get(f"before/{name}"), nearest))
    return rows


def gains(figures: Figures) -> list[Measured]:
    """What a run of PPO changed, measure by measure: `value` is the paired gain, `before` the value at the start."""
    rows = []
    for name, value in figures.items():
        measure = name.removeprefix("gain/")
        if name.startswith("gain/") and f"{name}_low" in figures:
            low, high = figures[f"{name}_low"], figures[f"{name}_high"]
            rows.append(Measured(measure, "gain", value, low, high, None, figures.get(f"before/val/{measure}"), None))
    return rows


def held_out_text(figures: Figures) -> dict[str, dict[str, float]]:
    """Loss, perplexity and bits per byte of held-out data by its name, "" for the run's own; also as `before …`."""
    found: dict[str, dict[str, float]] = {}
    for name, value in figures.items():
        before, rest = name.startswith("before/val/"), name.removeprefix("before/")
        place, _, metric = rest.removeprefix("val/").rpartition("/")
        if rest.startswith("val/") and metric in ("loss", "perplexity", "bits_per_byte", "gzip_bits_per_byte", "bytes"):
            found.setdefault(place, {})["before " * before + metric] = value
    return found


def by_length(subject: Subject) -> dict[str, dict[str, float]]:
    """What `evaluate` of a pretraining run found at several context lengths, of its last checkpoint."""
    report = _json(subject.run_dir / "evaluation.json")
    last = subject.run_dir.resolve() / "export"
    mine = subject.is_last and str(report.get("model", "")).endswith(f"{last.parent.name}/{last.name}")
    # Any text may have been measured: the card speaks of that which the run held out.
    own = [entry["name"] for entry in subject.manifest.data if "source" in entry]
    same = report.get("sources") == own and report.get("bytes") == subject.manifest.results.get("val/bytes")
    return report.get("lengths", {}) if mine and same else {}


def _json(path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
