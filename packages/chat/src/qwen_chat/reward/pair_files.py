"""A run's rendered pairs, in RUN/pairs, for every rank and for resuming."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Sequence, Value, load_from_disk

from qwen_chat.reward.pairs import EncodedPair, StagePairs
from qwen_shared.files import replace_directory
from qwen_shared.log import say

_META = "meta.json"


class PairFiles:
    """`counts`: for each stage, how many pairs were used, cut and dropped, and their hash."""

    def __init__(self, run_dir: Path):
        self._directory = run_dir / "pairs"
        self.counts: dict[str, dict[str, Any]] = json.loads((self._directory / _META).read_text())

    @classmethod
    def exist(cls, run_dir: Path) -> bool:
        return (run_dir / "pairs" / _META).is_file()

    @classmethod
    def write(cls, run_dir: Path, pairs: Iterable[tuple[str, StagePairs]]) -> PairFiles:
        target, meta = run_dir / "pairs", {}
        temporary = run_dir / ".pairs.writing"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for stage, found in pairs:
            for side in ("train", "held_out"):
                _as_dataset(getattr(found, side)).save_to_disk(temporary / f"{stage}-{side}")
            sizes = {"train": len(found.train), "held_out": len(found.held_out), "sha256": found.digest()}
            meta[stage] = asdict(found.counts) | sizes
            say(f"data   {_describe(stage, found)}")
        (temporary / _META).write_text(json.dumps(meta, indent=2) + "\n")
        replace_directory(temporary, target)
        return cls(run_dir)

    def train(self, stage: str) -> Dataset:
        return load_from_disk(self._directory / f"{stage}-train")

    def held_out(self, stage: str, count: int | None = None) -> Dataset:
        """All held-out pairs, or `count` of them, spread evenly, the same each time."""
        pairs = load_from_disk(self._directory / f"{stage}-held_out")
        if count is None or count >= len(pairs):
            return pairs
        return pairs.select([i * len(pairs) // count for i in range(count)])


def _describe(stage: str, found: StagePairs) -> str:
    counts = found.counts
    remarks = {
        "with equal answers": counts.identical,
        "too long": counts.too_long,
        "left out for the balance of tags": counts.balanced,
        "cut at the front": counts.cut,
    }
    told = "".join(f", {count:,} {what}" for what, count in remarks.items() if count)
    sides = f"{len(found.train):,} pairs to train on, {len(found.held_out):,} held out"
    return f"{stage}: {sides}; {counts.pairs:,} read{told}"


def _as_dataset(pairs: list[EncodedPair]) -> Dataset:
    ids, text = Sequence(Value("int32")), Value("string")
    features = {"chosen_ids": ids, "rejected_ids": ids, "shared": Value("int32"), "tag": text, "reason": text}
    columns = {
        "chosen_ids": [pair.chosen for pair in pairs],
        "rejected_ids": [pair.rejected for pair in pairs],
        "shared": [pair.shared for pair in pairs],
        "tag": [pair.tag for pair in pairs],
        "reason": [pair.reason for pair in pairs],
    }
    return Dataset.from_dict(columns, features=Features(features))
