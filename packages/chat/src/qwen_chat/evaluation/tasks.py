"""The tasks of a chat model: embedded held-out dialogues, or a user's file of prompts. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, ClassVar, Self

from qwen_chat import dialogues
from qwen_chat.evaluation.statistics import distinct, repeated, words
from qwen_shared.data.conversations import Messages
from qwen_shared.errors import UserError
from qwen_shared.evaluation.metrics import decimals, percent, share_with_interval
from qwen_shared.evaluation.prompts import chat_prompt
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Answer, Cells, Conditions, Judgement, Metrics, Row, Task
from qwen_shared.recipe.sft_schema import SftData
from qwen_shared.tokenizer import Tokenizer

GROUPS = ("kind", "language")
_RIGHT = ("accuracy", "accuracy_low", "accuracy_high")
_SCORED = ("preference", "preference_std")
_WORDS = ("tokens", "characters", "distinct_1", "distinct_2", "repeated_4")


@dataclass(frozen=True)
class Question:
    id: str
    turns: Messages  # up to the last user's
    groups: dict[str, str]  # kind and language, if known
    dialogue: dialogues.Dialogue | None = None  # None: no program can tell if an answer is right


@dataclass(frozen=True)
class ChatTask(Task[Question]):
    """Metrics: `ended` (share of answers that ended by themselves), means of tokens and characters, and how varied the
    answers are (see `statistics`). If a program can check answers: accuracy, and the mean and standard deviation of the
    score that labels preference pairs. If a reward model scored them: those of `reward`."""

    logged_groups: ClassVar[Mapping[str, Sequence[str]]] = {"kind": ("accuracy", "reward")}
    shown_groups: ClassVar[Sequence[str]] = GROUPS
    part_size: ClassVar[int | None] = None

    def read(self, conditions: Conditions) -> Iterator[Question]:
        for number, d in enumerate(dialogues.held_out(self.name)):
            groups = {"kind": d.kind, "language": d.language}
            yield Question(f"{self.name}/{number}", dialogues.prompt(d), groups, d)

    def check(self, settings: EvaluationSettings) -> None:
        super().check(settings)
        if settings.prompt == "base":
            raise UserError(f"evaluation.prompt=base: the prompts of {self.name} are conversations; give chat or auto")

    def prompt(self, item: Question, conditions: Conditions, tokenizer: Tokenizer) -> list[int]:
        system = None if item.turns[0]["role"] == "system" else conditions.system
        return chat_prompt(item.turns, system, tokenizer)

    def judge(self, items: Sequence[Question], answers: Sequence[Answer], conditions: Conditions) -> list[Judgement]:
        return [_judgement(item, answer.text) for item, answer in zip(items, answers, strict=True)]

    def metrics(self, rows: Sequence[Row], settings: EvaluationSettings) -> Metrics:
        metrics: Metrics = {"problems": len(rows) // settings.samples}
        if rows[0]["score"] is not None:
            metrics |= share_with_interval(self.measure, rows, settings.samples)
        metrics["ended"] = fmean(row["stopped"] for row in rows)
        for key in ("preference", "reward"):
            if key in rows[0]:
                values = [row[key] for row in rows]
                metrics |= {key: fmean(values), f"{key}_std": pstdev(values)}
        said = [words(row["completion"]) for row in rows]
        return metrics | {
            "tokens": fmean(row["tokens"] for row in rows),
            "characters": fmean(len(row["completion"]) for row in rows),
            "distinct_1": distinct(said, 1),
            "distinct_2": distinct(said, 2),
            "repeated_4": fmean(repeated(answer, 4) for answer in said),
        }

    def group_metrics(self, rows: Sequence[Row], settings: EvaluationSettings) -> Metrics:
        return self.metrics(rows, settings)

    def metric_names(self, settings: EvaluationSettings) -> list[str]:
        return ["problems", *(_RIGHT if self.embedded else ()), "ended", *(_SCORED if self.embedded else ()), *_WORDS]

    def cells(self, metrics: Metrics) -> list[Cells]:
        low, high = (metrics.get(name) for name in _RIGHT[1:])
        interval = {} if low is None or high is None else {"95 %": f"{100 * low:.1f} … {100 * high:.1f}"}
        texts = {name.replace("_", "-"): decimals(metrics[name], 3) for name in _WORDS[2:]}
        main = _right(metrics) | interval | {"ended": percent(metrics["ended"])} | _scored(metrics, spread=True)
        return [main | _problems(metrics), _lengths(metrics) | texts]

    def group_cells(self, metrics: Metrics) -> Cells:
        tokens = {"tokens": decimals(metrics["tokens"], 1)}
        ended = {"ended": percent(metrics["ended"])}
        return _right(metrics) | ended | _scored(metrics, spread=False) | tokens | _problems(metrics)


@dataclass(frozen=True)
class Prompts(ChatTask):
    """`prompts:FILE`, named after the file: prompts or conversations whose last answer is left out."""

    def at(self, path: str) -> Self:
        name = Path(path).name
        suffix = next((suffix for suffix in SftData.suffixes if name.endswith(suffix)), "")
        return replace(self, name=name.removesuffix(suffix), path=path)

    def check(self, settings: EvaluationSettings) -> None:
        super().check(settings)
        suffixes = ", ".join(SftData.suffixes)
        if self.path is None:
            raise UserError(f"tasks={self.name}: give a file of prompts ({suffixes}): {self.name}:PATH")
        if not self.path.endswith(SftData.suffixes) or not Path(self.path).expanduser().is_file():
            raise UserError(f"tasks={self.path}: a file of prompts is one of {suffixes}")
        if self.name in dialogues.HELD_OUT:
            raise UserError(f"tasks={self.path}: {self.name} is the name of an embedded task; rename the file")

    def read(self, conditions: Conditions) -> Iterator[Question]:
        from qwen_chat.ppo.prompts import prompt_of
        from qwen_shared.data.rows import read_rows

        assert self.path  # see `check`
        for number, (row, where, _) in enumerate(read_rows(Path(self.path).expanduser())):
            groups = {key: row[key] for key in GROUPS if isinstance(row.get(key), str)}
            yield Question(f"{self.name}/{number}", prompt_of(row, where), groups)


# Entry points of the group `qwen.tasks`.
DIALOGUES = ChatTask("dialogues", embedded=True)
PROMPTS = Prompts("prompts")


def _judgement(question: Question, text: str) -> Judgement:
    extras: dict[str, Any] = {"messages": question.turns}
    if question.dialogue is None:
        return Judgement(None, None, extras=extras)
    right = dialogues.right(question.dialogue, text)
    preference = dialogues.preference_score(question.dialogue, text)
    extras |= {"reference": question.dialogue.answer, "preference": preference}
    return Judgement("right" if right else "wrong", float(right), extras=extras)


def _right(metrics: Metrics) -> Cells:
    return {"right": percent(metrics["accuracy"])} if "accuracy" in metrics else {}


def _scored(metrics: Metrics, spread: bool) -> Cells:
    return {
        name: decimals(metrics[name], 2) + (f" ± {metrics[f'{name}_std']:.2f}" if spread else "")
        for name in ("preference", "reward")
        if name in metrics
    }


def _lengths(metrics: Metrics) -> Cells:
    return {name: decimals(metrics[name], 1) for name in _WORDS[:2]}


def _problems(metrics: Metrics) -> Cells:
    return {"problems": f"{metrics['problems']:,}"}
