r"""A task: problems, prompts, and how answers are judged. No torch.

To add one, write a file with a subclass of `Task` (or `choices.ChoiceTask`) and an instance, and register it in the
entry-point group `qwen.tasks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from statistics import fmean
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

from qwen_shared.errors import UserError
from qwen_shared.evaluation.metrics import decimals, percent, share_with_interval
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.tokenizer import Tokenizer

Style = Literal["chat", "base"]  # the tokenizer's chat template, or plain text to continue
Row = dict[str, Any]
Metrics = dict[str, float]
Cells = dict[str, str]  # column ► text


class Hub(NamedTuple):
    dataset: str
    config: str | None = None
    split: str = "test"
    revision: str | None = None  # a commit or tag; None: the newest


class Item(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def groups(self) -> Mapping[str, str]:
        """{"family": "sums"}: metrics are also counted per value."""
        ...


@dataclass(frozen=True)
class Conditions:
    """How a model is asked. Metrics compare only if these are equal."""

    settings: EvaluationSettings
    style: Style = "chat"
    system: str | None = None  # if a prompt has no system turn; None: the template's own
    languages: tuple[str, ...] = ("en", "zh")  # of embedded problems

    @classmethod
    def of(cls, recipe: Any, style: Style = "chat") -> Self:
        problems = getattr(recipe, "problems", None)
        languages = tuple(problems.languages) if problems else cls.languages
        return cls(recipe.evaluation, style, getattr(recipe.data, "system", None), languages)

    def as_dict(self, weights: str) -> dict[str, Any]:
        """For `evaluation.json`. `weights`: the model's hash."""
        settings = self.settings.of_answers()
        return {"weights": weights, "style": self.style, "system": self.system, "settings": settings}


@dataclass(frozen=True)
class Answer:
    text: str  # cut before a stop text; the likeliest choice of a choice task
    tokens: int
    stopped: bool  # False: cut by max_new_tokens or by the model's positions
    log_likelihoods: tuple[float, ...] = ()  # of the choices; empty if they exceed the model's positions


@dataclass(frozen=True)
class Judgement:
    outcome: str | None  # one of `Task.outcomes`; None: there is no right answer
    score: float | None  # 0 to 1; the mean is `Task.measure`
    reason: str = ""
    extras: Row = field(default_factory=dict)  # more keys of the row


@dataclass(frozen=True)
class Task[I: Item](ABC):
    """Keys of a row: `task_id`, `sample`, `prompt`, `completion`, `outcome`, `score`, `reason`, `tokens`, `stopped`,
    `groups`, and the judgement's extras."""

    name: str
    hub: Hub | None = None
    path: str | None = None  # `tasks=NAME:PATH`: a file or directory instead of the hub
    embedded: bool = False  # the package makes the problems

    measure: ClassVar[str] = "accuracy"
    outcomes: ClassVar[tuple[str, ...]] = ("right", "wrong")
    logged_groups: ClassVar[Mapping[str, Sequence[str]]] = {}  # group ► its logged metrics
    shown_groups: ClassVar[Sequence[str]] = ()  # in tables
    part_size: ClassVar[int | None] = 512  # answers between saves, with a seed of their own; None: all, one seed
    strips: ClassVar[bool] = True  # white space around answers is removed

    @abstractmethod
    def read(self, conditions: Conditions) -> Iterator[I]:
        """Raises UserError if problems cannot be read."""

    @abstractmethod
    def prompt(self, item: I, conditions: Conditions, tokenizer: Tokenizer) -> list[int]: ...

    @abstractmethod
    def judge(self, items: Sequence[I], answers: Sequence[Answer], conditions: Conditions) -> list[Judgement]:
        """One judgement per answer; an item with several answers appears several times."""

    def items(self, conditions: Conditions) -> list[I]:
        """The first `settings.limit` problems (0: all). Raises UserError if there are none."""
        items = list(islice(self.read(conditions), conditions.settings.limit or None))
        if not items:
            raise UserError(f"task {self.name}: no problem in {self.place}")
        return items

    def check(self, settings: EvaluationSettings) -> None:
        """Raises UserError for settings or paths that do not fit the task. Reads no problem."""
        if self.path and self.embedded:
            raise UserError(f"tasks={self.name}:{self.path}: {self.name} is made here and is read from nowhere")

    def at(self, path: str) -> Self:
        return replace(self, path=path)

    @property
    def place(self) -> str:
        """The problems' source, for messages."""
        return self.path or ("made here" if self.embedded else str(self.hub and self.hub.dataset))

    def stop_texts(self) -> tuple[str, ...]:
        """Texts that end a base model's answer."""
        return ()

    def samples(self, settings: EvaluationSettings) -> int:
        """Answers per problem."""
        return settings.samples

    def facts(self) -> dict[str, Any]:
        """More for `evaluation.json`, such as how programs are isolated. Called before any answer."""
        return {}

    # Metrics. `rows` are those of whole problems; a problem's `samples` are adjacent.

    def metrics(self, rows: Sequence[Row], settings: EvaluationSettings) -> Metrics:
        samples = self.samples(settings)
        counts = Counter(row["outcome"] for row in rows)
        return {
            "problems": len(rows) // samples,
            **share_with_interval(self.measure, rows, samples),
            **{outcome: counts[outcome] for outcome in self.outcomes},
            **self.own_metrics(rows, settings),
            "tokens": fmean(row["tokens"] for row in rows),
            "cut": fmean(not row["stopped"] for row in rows),
        }

    def own_metrics(self, rows: Sequence[Row], settings: EvaluationSettings) -> Metrics:
        return {}

    def group_metrics(self, rows: Sequence[Row], settings: EvaluationSettings) -> Metrics:
        metrics = share_with_interval(self.measure, rows, self.samples(settings))
        return {"problems": len(rows) // self.samples(settings), self.measure: metrics[self.measure]}

    def metric_names(self, settings: EvaluationSettings) -> list[str]:
        """Names in `metrics`, known before any answer."""
        ends = [f"{self.measure}{end}" for end in ("", "_low", "_high")]
        return ["problems", *ends, *self.outcomes, *self.own_metric_names(settings), "tokens", "cut"]

    def own_metric_names(self, settings: EvaluationSettings) -> Sequence[str]:
        return ()

    # Tables: each has one row per task.

    def cells(self, metrics: Metrics) -> list[Cells]:
        """Columns of each table."""
        low, high = metrics[f"{self.measure}_low"], metrics[f"{self.measure}_high"]
        shown = {
            self.measure: percent(metrics[self.measure]),
            "95 %": f"{100 * low:.1f} … {100 * high:.1f}",
            **self.own_cells(metrics),
            "tokens": decimals(metrics["tokens"], 1),
            "cut": percent(metrics["cut"]),
        }
        return [shown, {key: f"{metrics[key]:,}" for key in ("problems", *self.outcomes)}]

    def own_cells(self, metrics: Metrics) -> Cells:
        return {}

    def group_cells(self, metrics: Metrics) -> Cells:
        return {self.measure: percent(metrics[self.measure]), "problems": f"{metrics['problems']:,}"}
