"""The evaluation tasks: where problems come from, how they are asked, by what rule an answer is also compared.

A task is named alone (`gsm8k`: embedded problems or a dataset on the hub) or with a place (`gsm8k:PATH`: a file or a
dataset's directory of GSM8K's, MATH's, Math401's or Math23K's form, or of conversations). No torch here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from math_qwen.evaluation import exemplars
from math_qwen.evaluation.scoring import loosely_equal
from math_qwen.prepare.forms import sample_of
from qwen_shared.errors import UserError
from qwen_shared.evaluation.prompts import Style, chat_prompt
from qwen_shared.evaluation.tasks import Hub, hub_rows, local_rows, missing, named_tasks
from qwen_shared.tokenizer import Tokenizer

OUTCOMES = ("right", "wrong", "unparsable", "timeout", "crash")  # the verifier's
EMBEDDED = ("level1", "level1_unseen_pairs", "level2", "level3")
LANGUAGES = ("en", "zh")  # of the embedded problems


@dataclass(frozen=True)
class Item:
    """A problem as an evaluation sees it. `groups` are what its accuracy is also reported by."""

    id: str
    question: str
    gold: str
    groups: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """How worked examples and a question become one text (report, section 9); the model writes what follows it."""

    examples: list[exemplars.Exemplar]
    ask: str  # with {question}; what an answer follows
    stop_texts: tuple[str, ...]  # where a base model goes on to the next problem
    gap: str = ""  # between the two; a prompt that ended with a space would be cut into tokens as no text is

    def text(self, question: str, shots: int) -> str:
        shown = [f"{self.ask.format(question=q)}{self.gap}{a}" for q, a in self.examples[:shots]]
        return "\n\n".join([*shown, self.ask.format(question=question)])


GSM8K = Format(exemplars.WORDS, "Question: {question}\nLet's think step by step\n", ("\n\n", "Question:"))
MATH = Format(exemplars.BOXED, "Problem: {question}\nSolution:", ("Problem:",), gap=" ")
ARITHMETIC = Format(exemplars.ARITHMETIC, "{question}", ("\n",))
CHINESE = Format(exemplars.CHINESE, "问题：{question}\n解答：", ("\n\n", "问题："))


@dataclass(frozen=True)
class Task:
    name: str
    format: Format
    base_shots: int
    hub: Hub | None = None
    loose: Callable[[str, str], bool] | None = loosely_equal  # the benchmark's published rule, beside the verifier's
    path: str | None = None

    def prompt(self, item: Item, style: Style, shots: int, system: str | None, tokenizer: Tokenizer) -> list[int]:
        """The ids that the model goes on from. A chat model is asked the bare question, or the few-shot text in one
        turn."""
        text = self.format.text(item.question, shots)
        if style == "base":
            return tokenizer.encode(text)
        return chat_prompt([{"role": "user", "content": text if shots else item.question}], system, tokenizer)

    def shots(self, style: Style, wanted: int | None) -> int:
        """How many worked examples; raises UserError where there are not so many."""
        shots = wanted if wanted is not None else self.base_shots if style == "base" else 0
        if shots > len(self.format.examples):
            raise UserError(
                f"evaluation.shots={shots}: there are {len(self.format.examples)} worked examples for {self.name}"
            )
        return shots

    def items(self, limit: int = 0, languages: Sequence[str] = LANGUAGES) -> list[Item]:
        """The problems, the first `limit` of them where it is not 0; embedded ones in `languages`. Raises UserError
        where they cannot be had."""
        items = list(islice(self._read(tuple(languages)), limit or None))
        if not items:
            raise UserError(f"task {self.name}: no problem in {self.path or self.hub}")
        return items

    def _read(self, languages: tuple[str, ...]) -> Iterator[Item]:
        if self.path:
            for number, (row, where) in enumerate(_local_rows(self.path, self.hub), start=1):
                yield read_item(row, where, str(number))
        elif self.name in EMBEDDED:
            from math_qwen.problems import held_out

            for problem in held_out(self.name, languages=languages):
                groups = {"family": problem.family, "language": problem.language}
                yield Item(problem.id, problem.question, problem.answer, groups)
        elif self.hub:
            for number, (row, where) in enumerate(hub_rows(self.name, self.hub), start=1):
                yield read_item(row, where, str(number))
        else:
            raise UserError(missing(self.name, "it has no dataset on the hub"))


TASKS: dict[str, Task] = {
    task.name: task
    for task in [
        *(Task(name, GSM8K, 4) for name in EMBEDDED),
        Task("gsm8k", GSM8K, 8, ("openai/gsm8k", "main", "test")),
        Task("math", MATH, 4, ("HuggingFaceH4/MATH-500", None, "test"), loose=None),
        Task("math401", ARITHMETIC, 4, loose=None),
        Task("math23k", CHINESE, 4),
    ]
}


def find_tasks(names: Sequence[str], shots: int | None = None) -> list[Task]:
    """The tasks of a recipe's `tasks`. Raises UserError for an unknown name, one that stands twice, a missing path, and
    for more `shots` than a task has."""
    tasks: list[Task] = []
    for name, path in named_tasks(names, TASKS):
        task = TASKS[name]
        if not path and not task.hub and name not in EMBEDDED:
            raise UserError(missing(name, "it has no dataset on the hub"))
        task.shots("base", shots)
        tasks.append(replace(task, path=path))
    return tasks


def read_item(row: dict[str, Any], where: str, id: str) -> Item:
    """A row of GSM8K's form (question, answer with ####), MATH's (problem, solution with a box, or answer), Math401's
    (query, response), Math23K's (original_text, ans) or of conversations (messages). Raises UserError, naming
    `where`."""
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


# Forms that give an answer and no solution: the columns of both.
_SHORT_FORMS = (("query", "response"), ("original_text", "ans"), ("segmented_text", "ans"), ("problem", "answer"))


def gold_answer(solution: str) -> str:
    """The final answer of a worked solution: what follows `####`, else what stands in the last box, else all of it."""
    from math_qwen.prepare.boxed import last_box  # brings sympy, which a plan needs not

    _, marked, rest = solution.rpartition("####")
    if marked:
        return rest.strip()
    return last_box(solution) or solution.strip()


def _math23k_number(text: str) -> str:
    """`1(3/4)` and `((1)/(3))`, as Math23K writes numbers, as 1 3/4 and 1/3."""
    mixed = re.fullmatch(r"\s*(\d*)\(+(\d+)\)?/\(?(\d+)\)+\s*", text)
    return f"{mixed[1]} {mixed[2]}/{mixed[3]}".strip() if mixed else text


def _local_rows(place: str, hub: Hub | None) -> Iterator[tuple[dict[str, Any], str]]:
    path = Path(place).expanduser()
    if path.suffix.lower() == ".json" and path.is_file() and _begins_with_object(path):
        yield from _objects(path)  # Math401 and Math23K are published so
    else:
        # A copy of the hub's dataset keeps its configurations; a directory of files has none.
        yield from local_rows(place, None, hub[2] if hub else "test")


def _begins_with_object(path: Path) -> bool:
    return path.read_bytes()[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _objects(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Objects that follow each other in a .json file, with or without line breaks in them."""
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
