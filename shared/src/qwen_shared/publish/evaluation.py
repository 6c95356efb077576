"""What was measured of a checkpoint, read from its run. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qwen_shared.evaluation.results import read_report, read_results
from qwen_shared.publish.checkpoint import Checkpoint
from qwen_shared.publish.kind import Kind
from qwen_shared.run import read_metrics
from qwen_shared.run.lineage import tokens_seen

Results = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """A number with its 95 % interval."""

    task: str
    metric: str
    value: float
    low: float
    high: float
    problems: float | None  # their number
    before: float | None  # of the parent model
    nearest: float | None  # of an answer that repeats the nearest training example's


@dataclass(frozen=True)
class Variant:
    name: str
    bytes: int  # of its weights
    loss: float


@dataclass(frozen=True)
class Quantised:
    """The model and its variants, with their losses on the same held-out tokens."""

    loss: float
    tokens: int
    bytes: int
    variants: list[Variant]

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Quantised:
        return cls(**said | {"variants": [Variant(**variant) for variant in said["variants"]]})


def results_of(checkpoint: Checkpoint) -> Results:
    """The manifest's results for the last checkpoint; for an earlier one those of its validation and its evaluation, by
    the same names."""
    if checkpoint.is_last:
        return checkpoint.manifest.results
    metrics = read_metrics(checkpoint.run_dir / "metrics.jsonl")
    found = {
        k: v for line in metrics if line["step"] == checkpoint.step for k, v in line.items() if k.startswith("val/")
    }
    return found | read_results(checkpoint.run_dir / f"evaluation-{checkpoint.step:08d}")


def tokens_of(checkpoint: Checkpoint) -> int | None:
    """Tokens that the run saw up to the checkpoint; None if it did not count them."""
    return tokens_seen(checkpoint.run_dir, checkpoint.manifest, checkpoint.step)


def is_unmeasured(kind: Kind, results: Results) -> bool:
    held_out = kind.model == "base" and "val/bits_per_byte" in results
    return not held_out and not any(name.startswith(("eval/", "gain/")) for name in results)


def with_intervals(results: Results) -> list[Measured]:
    """Shares of problems, by task."""
    rows = []
    for name, value in results.items():
        low, high = results.get(f"{name}_low"), results.get(f"{name}_high")
        if not name.startswith("eval/") or low is None or high is None:
            continue
        place, _, metric = name.rpartition("/")
        task = place.removeprefix("eval").strip("/") or "held-out pairs"
        problems = results.get(f"{place}/problems", results.get(f"{place}/pairs"))
        nearest = results.get(f"nearest/{task}/{metric}")
        rows.append(Measured(task, metric, value, low, high, problems, results.get(f"before/{name}"), nearest))
    return rows


def gains(results: Results) -> list[Measured]:
    """Paired gains over the parent model: `value` is the gain, `before` the parent's value."""
    rows = []
    for name, value in results.items():
        measure = name.removeprefix("gain/")
        if name.startswith("gain/") and f"{name}_low" in results:
            low, high = results[f"{name}_low"], results[f"{name}_high"]
            rows.append(Measured(measure, "gain", value, low, high, None, results.get(f"before/val/{measure}"), None))
    return rows


def held_out_text(results: Results) -> dict[str, dict[str, float]]:
    """Loss, perplexity and bits per byte by held-out data set ("" is the run's own); also as `before …`."""
    found: dict[str, dict[str, float]] = {}
    for name, value in results.items():
        before, rest = name.startswith("before/val/"), name.removeprefix("before/")
        place, _, metric = rest.removeprefix("val/").rpartition("/")
        if rest.startswith("val/") and metric in ("loss", "perplexity", "bits_per_byte", "gzip_bits_per_byte", "bytes"):
            found.setdefault(place, {})["before " * before + metric] = value
    return found


def by_length(checkpoint: Checkpoint) -> dict[str, dict[str, float]]:
    """Losses of the last checkpoint at several context lengths, if `evaluate` measured them."""
    report = read_report(checkpoint.run_dir / "evaluation") or _older(read_report(checkpoint.run_dir))
    task = report.get("tasks", {}).get("held-out text")
    last = checkpoint.run_dir.resolve() / "export"
    mine = checkpoint.is_last and str(report.get("model", "")).endswith(f"{last.parent.name}/{last.name}")
    if not task or not mine:
        return {}
    # `evaluate` takes any text; the card shows only the run's own held-out text.
    own = ", ".join(entry["name"] for entry in checkpoint.manifest.data if "source" in entry)
    same = task["place"] == own and task["metrics"]["bytes"] == checkpoint.manifest.results.get("val/bytes")
    return task["by"]["length"] if same else {}


def _older(report: dict[str, Any]) -> dict[str, Any]:
    """A report on held-out text in the shape of before version 0.2, in today's."""
    if "lengths" not in report:
        return {}
    task = {"place": ", ".join(report["sources"]), "metrics": {"bytes": report["bytes"]}}
    return {"model": report["model"], "tasks": {"held-out text": task | {"by": {"length": report["lengths"]}}}}
