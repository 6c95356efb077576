"""How well a reward model scores: its run's held-out pairs, once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qwen_chat.evaluation.model import AskedChat
from qwen_chat.reward.recipe import STAGES, RewardRecipe
from qwen_shared.errors import UserError
from qwen_shared.run.manifest import read_recipe

_AT_ONCE = 512  # conversations between two signs of progress


def score_pairs(
    asked: AskedChat, directory: Path, output: Path
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """`evaluation.json`, with the names that the run's manifest has, and the tables of pairs for W&B; every pair goes
    into `output`.

    Raises UserError if the run has no held-out pairs.
    """
    from datasets import load_from_disk

    from qwen_chat.reward.model import load_reward_model
    from qwen_chat.reward.report import report
    from qwen_shared.convert.hf_files import weights_hash
    from qwen_shared.evaluation.progress import counting
    from qwen_shared.tokenizer import load_tokenizer

    assert asked.run_dir
    stages = STAGES[read_recipe(asked.run_dir, RewardRecipe).stage]
    places = {stage: asked.run_dir / "pairs" / f"{stage}-held_out" for stage in stages}
    for place in places.values():
        if not place.is_dir():
            raise UserError(f"{place}: the run's held-out pairs are not there any more")
    pairs = {stage: found for stage, place in places.items() if len(found := load_from_disk(place))}
    if not pairs:
        raise UserError(f"{asked.run_dir}: no pair was held out (data.validation_fraction)")
    model, tokenizer = load_reward_model(directory), load_tokenizer(str(directory))
    tasks: dict[str, Any] = {}
    results: dict[str, float] = {}
    tables = {}
    for stage, held_out in pairs.items():
        rows = [*held_out["chosen_ids"], *held_out["rejected_ids"]]
        rewards: list[float] = []
        with counting("scoring pairs") as progress:
            for first in range(0, len(rows), _AT_ONCE):
                rewards += model.score(rows[first : first + _AT_ONCE])
                progress(len(rewards), len(rows))
        # Named as the run named them when it ended.
        name = "pairs" if len(stages) == 1 else f"pairs-{stage}"
        prefix = "eval" if stage == stages[-1] else f"eval/{stage}"
        chosen, rejected = rewards[: len(held_out)], rewards[len(held_out) :]
        title = f"{asked.name}: held-out pairs of {stage}"
        metrics, shown = report(held_out, chosen, rejected, tokenizer, output / f"{name}.jsonl", title)
        tasks[name] = {"place": str(places[stage]), "metrics": metrics}
        results |= {f"{prefix}/{key}": value for key, value in metrics.items()}
        tables[f"{prefix}/{name}"] = shown
    said = {"model": asked.name, "weights": weights_hash(directory), "tasks": tasks, "results": results}
    return said, tables
