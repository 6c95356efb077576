"""A report's headline numbers, its tables, and the models that led to the run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from qwen_shared.report.numbers import compact, duration, number, share, size
from qwen_shared.report.record import Record
from qwen_shared.tracking.results import Measure, measures

_SHARES = ("accuracy", "pass@1", "checked", "ended", "preference_share")
_HEADLINES = 4  # results among the tiles
_BAR = 120  # pixels


@dataclass(frozen=True)
class Tile:
    label: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """A result as text, and its place on a bar from 0 to 1, in pixels."""

    name: str
    before: str
    after: str
    interval: str
    bar: dict[str, float] | None = None


@dataclass(frozen=True)
class Link:
    """One model on the way to this run."""

    name: str
    kind: str
    step: str
    hash: str
    place: str
    is_this: bool = False


def tiles(record: Record) -> list[Tile]:
    results = record.manifest.results
    last = {name: value for name, value in (record.metrics[-1:] or [{}])[0].items() if _number(value)}
    found = [
        Tile(
            m.name.removeprefix("eval/"), _shown(m, m.after), "" if m.before is None else f"from {_shown(m, m.before)}"
        )
        for m in _headlines(results)
    ]
    if not found and "train/loss" in last:
        found.append(Tile("train/loss", number(last["train/loss"])))
    found.append(
        Tile("steps", f"{last.get('step', 0):,}", f"{compact(last['tokens'])} tokens" if last.get("tokens") else "")
    )
    if "parameters" in results:
        found.append(Tile("parameters", compact(results["parameters"]), number(results["parameters"])))
    if seconds := results.get("seconds") or last.get("time"):
        found.append(Tile("training time", duration(seconds), "over all restarts"))
    speeds = [r["train/tokens_per_second"] for r in record.metrics if _number(r.get("train/tokens_per_second"))]
    if speeds:
        found.append(Tile("speed", f"{number(round(statistics.median(speeds)))}/s", "tokens, median step"))
    if "peak_memory_bytes" in results:
        found.append(Tile("peak memory", size(results["peak_memory_bytes"]), "of rank 0"))
    return found


def rows(record: Record) -> list[Row]:
    return [_row(measure) for measure in measures(record.manifest.results)]


def all_results(record: Record) -> list[tuple[str, str]]:
    return [(name, number(value)) for name, value in record.manifest.results.items()]


def chain(record: Record) -> list[Link]:
    """Oldest first."""
    manifest = record.manifest
    links = [
        Link(a.name, a.kind or "from elsewhere", f"step {a.step:,}" if a.step else "", (a.hash or "")[:12], a.run)
        for a in reversed(record.lineage)
    ]
    if not links:
        links = [Link("random weights", "", "", "", "")]
    step = f"step {record.metrics[-1]['step']:,}" if record.metrics else ""
    return [*links, Link(manifest.name, manifest.kind, step, "", str(record.directory), is_this=True)]


def data(record: Record) -> list[dict[str, str]]:
    """A line for each data source."""
    found = []
    for source in record.manifest.data:
        train, held_out = source.get("train"), source.get("validation", source.get("held_out"))
        digest = source.get("sha256") or (train.get("sha256") if isinstance(train, dict) else None)
        found.append(
            {
                "name": str(source.get("name", "")),
                "train": _amount(train),
                "held_out": _amount(held_out),
                "sha256": str(digest or "")[:12],
            }
        )
    return found


def environment(record: Record) -> list[tuple[str, str]]:
    manifest = record.manifest
    known = {
        "machine": manifest.machine,
        "precision": manifest.precision,
        "git commit": manifest.git_commit
        and manifest.git_commit[:12] + ("+" if manifest.git_commit[-1] == "+" else ""),
        "tokenizer": manifest.tokenizer and manifest.tokenizer[:12],
        "W&B run": manifest.wandb_run_id,
        **manifest.versions,
    }
    return [(name, value) for name, value in known.items() if value]


def _headlines(results: dict[str, Any]) -> list[Measure]:
    """Held-out results first; those that repeat another one are left out."""
    skipped = ("perplexity", "gzip_bits_per_byte", "ended", "tokens", "loss" if "val/bits_per_byte" in results else "")
    found = [m for m in measures(results) if m.name.rpartition("/")[2] not in skipped and not m.name.startswith("gain")]
    return sorted(found, key=lambda m: m.name.startswith("val/") and m.name != "val/bits_per_byte")[:_HEADLINES]


def _row(m: Measure) -> Row:
    interval, bar = "", None
    if m.low is not None and m.high is not None:
        interval = f"{_shown(m, m.low).removesuffix(' %')} … {_shown(m, m.high)}"
    if _is_share(m):
        bar = {"after": m.after * _BAR}
        if m.before is not None:
            bar["before"] = m.before * _BAR
        if m.low is not None and m.high is not None:
            bar |= {"low": m.low * _BAR, "width": (m.high - m.low) * _BAR}
    return Row(m.name, "" if m.before is None else _shown(m, m.before), _shown(m, m.after), interval, bar)


def _is_share(m: Measure) -> bool:
    inside = all(0 <= value <= 1 for value in (m.after, m.before, m.low, m.high) if value is not None)
    return inside and m.name.rpartition("/")[2] in _SHARES and not m.name.startswith("gain")


def _shown(m: Measure, value: float) -> str:
    return share(value) if _is_share(m) else number(value)


def _amount(of: Any) -> str:
    if isinstance(of, dict):
        return ", ".join(f"{of[name]:,} {name}" for name in ("documents", "tokens") if isinstance(of.get(name), int))
    return f"{of:,}" if isinstance(of, int) else ""


def _number(value: Any) -> bool:
    return isinstance(value, int | float)
