"""Answers as a reward model scores them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from qwen_chat.evaluation.model import REWARD, kind_of, run_recipe
from qwen_shared.data.conversations import Messages
from qwen_shared.errors import UserError
from qwen_shared.evaluation.run import Result, count
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.run.manifest import RECIPE
from qwen_shared.run.paths import find_export
from qwen_shared.tokenizer import Tokenizer

_AT_ONCE = 512  # conversations between two signs of progress

# Rewards of conversations that end with an assistant's turn.
Scorer = Callable[[list[Messages]], list[float]]


def with_rewards(result: Result, score: Scorer, settings: EvaluationSettings) -> Result:
    """The same answers with a `reward` each. A task that is no conversation stays as it is."""
    if "messages" not in result.rows[0]:
        return result
    conversations = [[*row["messages"], {"role": "assistant", "content": row["completion"]}] for row in result.rows]
    rows = [row | {"reward": r} for row, r in zip(result.rows, score(conversations), strict=True)]
    counted = count(result.task, rows, settings)
    return replace(result, metrics=counted.metrics, groups=counted.groups, rows=rows)


def reward_directory(place: str) -> Path:
    """The reward model of a run of `qwen-chat reward`, or one in Hugging Face form. Raises UserError."""
    path = Path(place).expanduser()
    if not path.is_dir():
        raise UserError(f"--reward {place}: no such directory; `qwen-chat reward` makes a reward model")
    if not (path / RECIPE).is_file():
        return path
    if (kind := kind_of(path)) != REWARD:
        raise UserError(f"--reward {place}: a run of kind {kind}, not of a reward model; `qwen-chat reward` makes one")
    found = find_export(path)
    if found is None:
        raise UserError(f"--reward {place}: its reward model has not been exported; is the run finished?")
    return found


def load_scorer(place: str) -> Scorer:
    """Rewards by the model in `reward_directory(place)`, read at each answer's end token."""
    from qwen_chat.reward.model import load_reward_model
    from qwen_shared.evaluation.progress import counting
    from qwen_shared.tokenizer import load_tokenizer

    directory, path = reward_directory(place), Path(place).expanduser()
    system = run_recipe(path).data.system if (path / RECIPE).is_file() else None
    tokenizer = load_tokenizer(str(directory))
    model = load_reward_model(directory)

    def score(conversations: list[Messages]) -> list[float]:
        rows = [judged_ids(conversation, system, tokenizer) for conversation in conversations]
        rewards: list[float] = []
        with counting("scoring") as progress:
            for first in range(0, len(rows), _AT_ONCE):
                rewards += model.score(rows[first : first + _AT_ONCE])
                progress(len(rewards), len(rows))
        return rewards

    return score


def judged_ids(conversation: Messages, system: str | None, tokenizer: Tokenizer) -> list[int]:
    """A conversation up to the end token of its last answer, as a reward model reads it; a cut answer gets one,
    too.

    Raises UserError if the template's answers have no end token.
    """
    turns = conversation
    if system is not None and conversation[0]["role"] != "system":
        turns = [{"role": "system", "content": system}, *conversation]
    ids, mask = tokenizer.render(turns)
    if not any(mask):
        raise UserError("the reward model's chat template closes no answer: there is no token to read the reward at")
    return ids[: max(at for at, inside in enumerate(mask) if inside) + 1]
