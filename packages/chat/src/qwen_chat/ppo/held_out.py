"""The policy's greedy answers to the same held-out prompts, before and during training."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev, stdev
from typing import Any

import torch

from qwen_chat.ppo.engine import Engine
from qwen_chat.ppo.prompts import Query
from qwen_chat.ppo.rollout import Sampler, VllmSampler
from qwen_chat.ppo.scorer import RewardFunction, Scorer, score_by
from qwen_shared.files import write_atomic
from qwen_shared.generation.sampling import Sampling

Row = dict[str, Any]  # prompt, text, ended, tokens, and a score for every measure


@dataclass(frozen=True)
class HeldOutPrompts:
    queries: list[Query]
    scorer: Scorer
    functions: dict[str, RewardFunction]
    sampling: Sampling  # greedy
    rank: int
    world_size: int

    def answers(self, policy: Engine, sampler: Sampler | VllmSampler) -> list[Row]:
        """A row for every prompt, in order, on every rank. A collective call."""
        with policy.whole():
            sampler.sync_weights()
            responses = sampler(self.queries[self.rank :: self.world_size], self.sampling)
        scores = {"reward": self.scorer(responses)}
        scores |= {name: score_by(function, name, responses) for name, function in self.functions.items()}
        rows = [
            {"prompt": query.messages, "text": text, "ended": ended, "tokens": len(ids)}
            | {name: values[i] for name, values in scores.items()}
            for i, (query, text, ended, ids) in enumerate(
                zip(responses.queries, responses.texts, responses.ended, responses.ids, strict=True)
            )
        ]
        if self.world_size == 1:
            return rows
        parts: list[list[Row]] = [[] for _ in range(self.world_size)]
        torch.distributed.all_gather_object(parts, rows)
        return [parts[i % self.world_size][i // self.world_size] for i in range(len(self.queries))]

    @property
    def measures(self) -> list[str]:
        return ["reward", *self.functions]


def metrics(rows: list[Row], measures: list[str]) -> dict[str, float]:
    """Means under val/…, and deviations of scores."""
    found = {f"val/{name}": fmean(row[name] for row in rows) for name in (*measures, "ended", "tokens")}
    return found | {f"val/{name}_std": pstdev(row[name] for row in rows) for name in measures}


def gains(before: list[Row], after: list[Row], measures: list[str]) -> dict[str, float]:
    """Paired changes: gain/NAME with its 95 % interval (normal), and gain_sd/NAME in deviations before training."""
    found = {}
    for name in measures:
        differences = [new[name] - old[name] for old, new in zip(before, after, strict=True)]
        gain, spread = fmean(differences), pstdev(row[name] for row in before)
        found[f"gain/{name}"] = gain
        if len(differences) > 1:
            margin = 1.96 * stdev(differences) / math.sqrt(len(differences))
            found |= {f"gain/{name}_low": gain - margin, f"gain/{name}_high": gain + margin}
        if spread:
            found[f"gain_sd/{name}"] = gain / spread
    return found


def write_answers(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_answers(path: Path) -> list[Row] | None:
    if not path.is_file():
        return None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
