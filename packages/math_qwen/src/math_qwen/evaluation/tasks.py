"""The evaluation tasks: their problems, how they are asked, and by which rules answers are compared.

`gsm8k`: embedded problems or a dataset on the hub. `gsm8k:PATH`: a file or a dataset's directory of GSM8K's, MATH's,
Math401's or Math23K's form, or of conversations. No torch here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from math_qwen.evaluation import exemplars
from math_qwen.evaluation.scoring import loosely_equal, math401_error
from math_qwen.evaluation.votes import majority_right
from math_qwen.prepare.forms import sample_of
from qwen_shared.errors import UserError
from qwen_shared.evaluation.find import hub_rows, local_rows, missing
from qwen_shared.evaluation.metrics import parts, percent
from qwen_shared.evaluation.prompts import chat_prompt
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Answer, Cells, Conditions, Hub, Judgement, Metrics, Row, Style, Task
from qwen_shared.tokenizer import Tokenizer


@dataclass(frozen=True)
class Item:
    """A problem. `groups`: accuracy is also reported by these."""

    id: str
    question: str
    gold: str
    groups: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """How worked examples and a question become one text (report, section 9)."""

    examples: list[exemplars.Exemplar]
    ask: str  # with {question}; what an answer follows
    stop_texts: tuple[str, ...]  # where a base model goes on to the next problem
    gap: str = ""  # not part of the prompt, whose last space would be a token of its own

    def text(self, question: str, shots: int) -> str:
        shown = [f"{self.ask.format(question=q)}{self.gap}{a}" for q, a in self.examples[:shots]]
        return "\n\n".join([*shown, self.ask.format(question=question)])


_GSM8K = Format(exemplars.WORDS, "Question: {question}\nLet's think step by step\n", ("\n\n", "Question:"))
_MATH = Format(exemplars.BOXED, "Problem: {question}\nSolution:", ("Problem:",), gap=" ")
_ARITHMETIC = Format(exemplars.ARITHMETIC, "{question}", ("\n",))
_CHINESE = Format(exemplars.CHINESE, "问题：{question}\n解答：", ("\n\n", "问题："))


@dataclass(frozen=True)
class MathTask(Task[Item]):
    format: Format = _GSM8K
    base_shots: int = 4
    loose: Callable[[str, str], bool] | None = loosely_equal  # the benchmark's rule, beside the verifier's

    outcomes: ClassVar[tuple[str, ...]] = ("right", "wrong", "unparsable", "timeout", "crash")  # of the verifier
    part_size: ClassVar[int | None] = None

    def read(self, conditions: Conditions) -> Iterator[Item]:
        if self.embedded and not self.path:
            from math_qwen.problems import held_out

            for problem in held_out(self.name, languages=conditions.languages):
                groups = {"family": problem.family, "language": problem.language}
                yield Item(problem.id, problem.question, problem.answer, groups)
        else:
            for number, (row, where) in enumerate(self._rows(), start=1):
                yield read_item(row, where, str(number))

    def prompt(self, item: Item, conditions: Conditions, tokenizer: Tokenizer) -> list[int]:
        """A chat model is asked the bare question, or the few-shot text in one turn."""
        shots = self.shots(conditions.style, conditions.settings.shots)
        text = self.format.text(item.question, shots)
        if conditions.style == "base":
            return tokenizer.encode(text)
        turn = {"role": "user", "content": text if shots else item.question}
        return chat_prompt([turn], conditions.system, tokenizer)

    def shots(self, style: Style, given: int | None) -> int:
        """Raises UserError if there are fewer worked examples than `given`."""
        shots = given if given is not None else self.base_shots if style == "base" else 0
        if shots > len(self.format.examples):
            raise UserError(
                f"evaluation.shots={shots}: there are {len(self.format.examples)} worked examples for {self.name}"
            )
        return shots

    def check(self, settings: EvaluationSettings) -> None:
        if not self.path and not self.hub and not self.embedded:
            raise UserError(missing(self.name, "it has no dataset on the hub"))
        self.shots("base", settings.shots)

    def stop_texts(self) -> tuple[str, ...]:
        return self.format.stop_texts

    def judge(self, items: Sequence[Item], answers: Sequence[Answer], conditions: Conditions) -> list[Judgement]:
        return [
            Judgement(outcome, float(outcome == "right"), reason, self._extras(item, answer))
            for item, answer, (outcome, reason) in zip(items, answers, self.outcomes_of(items, answers), strict=True)
        ]

    def outcomes_of(self, items: Sequence[Item], answers: Sequence[Answer]) -> list[tuple[str, str]]:
        from math_qwen.verify import verify_many

        verdicts = verify_many([(item.gold, answer.text) for item, answer in zip(items, answers, strict=True)])
        return [(str(verdict.outcome), verdict.reason) for verdict in verdicts]

    def _extras(self, item: Item, answer: Answer) -> Row:
        extras = {"question": item.question, "gold": item.gold}
        return extras | ({"loose": self.loose(item.gold, answer.text)} if self.loose else {})

    def own_metrics(self, rows: Sequence[Row], settings: EvaluationSettings) -> Metrics:
        metrics: Metrics = {}
        if self.loose:
            metrics["loose_accuracy"] = fmean(row["loose"] for row in rows)
        if (samples := settings.samples) > 1:
            votes = [(row["completion"], row["outcome"] == "right") for row in rows]
            metrics[f"majority@{samples}"] = fmean(majority_right(parts(votes, samples)))
        return metrics

    def own_metric_names(self, settings: EvaluationSettings) -> list[str]:
        votes = [f"majority@{settings.samples}"] if settings.samples > 1 else []
        return (["loose_accuracy"] if self.loose else []) + votes

    def own_cells(self, metrics: Metrics) -> Cells:
        loose = {"loose": percent(metrics["loose_accuracy"])} if "loose_accuracy" in metrics else {}
        return loose | {key: percent(value) for key, value in metrics.items() if key.startswith("majority@")}

    def _rows(self) -> Iterator[tuple[Row, str]]:
        if self.path:
            return _local_rows(self.path, self.hub.split if self.hub else "test")
        assert self.hub  # see `check`
        return hub_rows(self.name, self.hub)


@dataclass(frozen=True)
class ArithmeticTask(MathTask):
    """Math401: judged by its own rule, |difference| < 1e-3, with the relative error."""

    format: Format = _ARITHMETIC
    loose: Callable[[str, str], bool] | None = None

    def outcomes_of(self, items: Sequence[Item], answers: Sequence[Answer]) -> list[tuple[str, str]]:
        errors = [math401_error(item.gold, answer.text) for item, answer in zip(items, answers, strict=True)]
        return [
            ("unparsable", "no number") if e is None else ("right" if e[0] < 1e-3 else "wrong", f"off by {e[0]:.4g}")
            for e in errors
        ]

    def own_metrics(self, rows: Sequence[Row], settings: EvaluationSettings) -> Metrics:
        errors = [math401_error(row["gold"], row["completion"]) for row in rows]
        return super().own_metrics(rows, settings) | {
            "relative_error": fmean(10.0 if error is None else error[1] for error in errors),
            "non_number": fmean(error is None for error in errors),
        }

    def own_metric_names(self, settings: EvaluationSettings) -> list[str]:
        return [*super().own_metric_names(settings), "relative_error", "non_number"]


# Entry points of the group `qwen.tasks`.
LEVEL1 = MathTask("level1", embedded=True)
LEVEL1_UNSEEN_PAIRS = MathTask("level1_unseen_pairs", embedded=True)
LEVEL2 = MathTask("level2", embedded=True)
LEVEL3 = MathTask("level3", embedded=True)
GSM8K = MathTask("gsm8k", Hub("openai/gsm8k", "main"), base_shots=8)
MATH = MathTask("math", Hub("HuggingFaceH4/MATH-500"), format=_MATH, loose=None)
MATH401 = ArithmeticTask("math401")
MATH23K = MathTask("math23k", format=_CHINESE)


def read_item(row: dict[str, Any], where: str, id: str) -> Item:
    """A row of GSM8K's form (question, answer with ####), MATH's (problem, solution with a box, or answer), Math401's
    (query, response), Math23K's (original_text, ans) or of conversations (messages).

    Raises UserError, which names `where`.
    """
    short = next((keys for keys in _SHORT_FORMS if all(key in row for key in keys) and "solution" not in row), None)
    if short:
        question, gold = (str(row[key]).strip() for key in short)
        groups = {key: str(row[key]) for key in ("level", "type", "subject") if row.get(key)}
        item = Item(str(row.get("id") or row.get("unique_id") or id), question, gold, groups)
        if short[1] == "ans":
            item = replace(item, gold=_math23k_number(gold))
    else:
        sample = sample_of(row, where, where, id)
        gold = gold_answer(sample.solution if sample.gold is None else sample.gold)
        item = Item(sample.id, sample.question.strip(), gold, {key: str(value) for key, value in sample.extra.items()})
    if not item.question or not item.gold:
        raise UserError(f"{where}: the question or its answer is empty")
    return item


# Forms with an answer and no solution: (question, answer).
_SHORT_FORMS = (("query", "response"), ("original_text", "ans"), ("segmented_text", "ans"), ("problem", "answer"))


def gold_answer(solution: str) -> str:
    """The final answer of a worked solution: the text after `####`, else in the last box, else all of it."""
    from math_qwen.prepare.boxed import last_box  # brings sympy, which a plan does not need

    _, marked, rest = solution.rpartition("####")
    if marked:
        return rest.strip()
    return last_box(solution) or solution.strip()


def _math23k_number(text: str) -> str:
    """`1(3/4)` and `((1)/(3))` of Math23K as 1 3/4 and 1/3."""
    mixed = re.fullmatch(r"\s*(\d*)\(+(\d+)\)?/\(?(\d+)\)+\s*", text)
    return f"{mixed[1]} {mixed[2]}/{mixed[3]}".strip() if mixed else text


def _local_rows(place: str, split: str) -> Iterator[tuple[dict[str, Any], str]]:
    path = Path(place).expanduser()
    if path.suffix.lower() == ".json" and path.is_file() and _begins_with_object(path):
        yield from _objects(path)  # Math401 and Math23K are published so
    else:
        # A copy of the hub's dataset keeps its configurations; a directory of files has none.
        yield from local_rows(place, None, split)


def _begins_with_object(path: Path) -> bool:
    return path.read_bytes()[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _objects(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Objects that follow each other in a .json file, with or without line breaks."""
    decoder, at, number = json.JSONDecoder(), 0, 0
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        while at < len(text):
            number += 1
            row, at = decoder.raw_decode(text, at)
            at += len(text[at:]) - len(text[at:].lstrip()) if at < len(text) else 0
            yield row, f"{path} item {number}"
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} item {number}: not valid JSON: {error}") from None
