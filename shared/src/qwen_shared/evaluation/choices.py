r"""Multiple choice by log-likelihood. No torch.

`accuracy` compares log-likelihoods; `acc_norm` divides them by the choice's length in characters, as lm-eval does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from qwen_shared.errors import UserError
from qwen_shared.evaluation.metrics import percent, share_with_interval
from qwen_shared.evaluation.prompts import chat_prompt
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Answer, Cells, Conditions, Judgement, Metrics, Row, Task
from qwen_shared.tokenizer import Tokenizer


@dataclass(frozen=True)
class ChoiceItem:
    id: str
    question: str  # with its choices if the model is to see them; no white space at the end
    choices: tuple[str, ...]  # a space before a choice belongs to the choice
    gold: int  # index of the right choice
    groups: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ChoiceTask[I: ChoiceItem](Task[I]):
    """A subclass defines `read`; if it has worked examples, also `examples`, `default_shots` and `max_shots`."""

    outcomes: ClassVar[tuple[str, ...]] = ("right", "wrong", "too_long")
    default_shots: ClassVar[int] = 0
    max_shots: ClassVar[int] = 0

    def examples(self, item: I, shots: int) -> str:
        """Text before the question."""
        return ""

    def check(self, settings: EvaluationSettings) -> None:
        super().check(settings)
        if (settings.shots or 0) > self.max_shots:
            raise UserError(
                f"evaluation.shots={settings.shots}: there are {self.max_shots} worked examples for {self.name}"
            )

    def prompt(self, item: I, conditions: Conditions, tokenizer: Tokenizer) -> list[int]:
        shots = conditions.settings.shots
        text = self.examples(item, self.default_shots if shots is None else shots) + item.question
        if conditions.style == "base":
            return tokenizer.encode(text)
        return chat_prompt([{"role": "user", "content": text}], conditions.system, tokenizer)

    def choices(self, item: I, conditions: Conditions) -> Sequence[str]:
        """In the chat form an answer begins without a space."""
        return item.choices if conditions.style == "base" else [choice.lstrip() for choice in item.choices]

    def samples(self, settings: EvaluationSettings) -> int:
        return 1

    def judge(self, items: Sequence[I], answers: Sequence[Answer], conditions: Conditions) -> list[Judgement]:
        return [self._judgement(item, answer) for item, answer in zip(items, answers, strict=True)]

    def _judgement(self, item: I, answer: Answer) -> Judgement:
        found = answer.log_likelihoods
        extras: Row = {"choices": list(item.choices), "gold": item.gold, "log_likelihoods": list(found)}
        if not found:
            reason = "prompt and choice fill the model's positions"
            return Judgement("too_long", 0.0, reason, extras | {"score_norm": 0.0})
        lengths = [max(1, len(choice.strip())) for choice in item.choices]
        by_length = [value / length for value, length in zip(found, lengths, strict=True)]
        right = likeliest(found) == item.gold
        extras["score_norm"] = float(likeliest(by_length) == item.gold)
        return Judgement("right" if right else "wrong", float(right), f"chose {likeliest(found)}", extras)

    def own_metrics(self, rows: Sequence[Row], settings: EvaluationSettings) -> Metrics:
        return share_with_interval("acc_norm", [{"score": row["score_norm"]} for row in rows], 1)

    def own_metric_names(self, settings: EvaluationSettings) -> Sequence[str]:
        return ["acc_norm", "acc_norm_low", "acc_norm_high"]

    def own_cells(self, metrics: Metrics) -> Cells:
        return {"acc_norm": percent(metrics["acc_norm"])}


def likeliest(values: Sequence[float]) -> int:
    """Index of the highest value; the first if several are equal."""
    return max(range(len(values)), key=lambda i: values[i])
