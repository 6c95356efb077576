"""The embedded tasks: solved, apart from the held-out ones, told apart by their tests, the same wherever made."""

import ast
import hashlib
import re
from collections import Counter, defaultdict
from random import Random

import pytest

from code_qwen.problems import (
    COMPOSITIONS,
    FAMILIES,
    FORMS,
    HELD_OUT,
    LANGUAGES,
    held_out,
    is_held_out,
    messages,
    normalise,
    training,
)
from code_qwen.problems.check import run_check
from code_qwen.problems.family import ordinal, spaced
from code_qwen.problems.vocabulary import ARGUMENTS
from qwen_shared.errors import UserError
from qwen_shared.tokenizer import load_tokenizer

pytestmark = pytest.mark.heavy  # programs run in the sandbox

COUNT = 12_000


@pytest.fixture(scope="module")
def tasks():
    return list(training(0, COUNT))


@pytest.fixture(scope="module")
def apart():
    return {name: held_out(name) for name in HELD_OUT}


def everything(tasks, apart):
    return [*tasks, *(task for of in apart.values() for task in of)]


def test_every_solution_passes_its_test(tasks, apart):
    for task in everything(tasks, apart):
        run_check(task.solution, task.entry_point, task.test)
        assert task.test.count("    assert candidate(") >= 5
        assert task.solution.startswith(f"def {task.entry_point}(") and task.solution.endswith("\n")


def test_a_docstring_prompt_is_python_and_may_stand_before_its_solution(tasks, apart):
    for task in everything(tasks[:2000], apart):
        if task.form == "docstring":
            (function,) = ast.parse(task.prompt).body
            assert function.name == task.entry_point
            assert ast.get_docstring(function)
            run_check(task.prompt + "\n" + task.solution, task.entry_point, task.test)
            with pytest.raises((AssertionError, TypeError)):
                run_check(task.prompt, task.entry_point, task.test)


def neighbours(family, parameters):
    """Parameters that differ in one value only: each other choice of it, or some of them where there are many."""
    rng = Random(0)
    for space in family.spaces:
        for slot, values in enumerate(space.slots.values()):
            others = [value for value in values if value != parameters[slot]]
            for value in rng.sample(others, min(40, len(others))):
                changed = (*parameters[:slot], value, *parameters[slot + 1 :])
                if changed in space and family.valid(*changed):
                    yield changed


def test_a_wrong_value_in_any_place_fails(apart):
    tried = 0
    for task in (task for of in apart.values() for task in of):
        family = next(f for f in (*FAMILIES, *COMPOSITIONS) if f.name == task.family)
        for changed in neighbours(family, task.parameters):
            body = family.body("x", *changed).replace("\n", "\n    ")
            try:
                run_check(f"def f(x):\n    {body}\n", "f", task.test)
            except (AssertionError, KeyError):
                tried += 1
            else:
                pytest.fail(f"{task.family} {task.parameters} is not told from {changed}")
    assert tried > 10_000


def test_the_reference_can_tell_a_wrong_solution():
    task = next(iter(training(0, 1)))
    wrong = re.sub(r"return .*", "return None", task.solution)
    with pytest.raises(AssertionError):
        run_check(wrong, task.entry_point, task.test)


def test_neither_prompts_nor_parameters_are_in_training_and_held_out(tasks, apart):
    prompts = {normalise(task.prompt) for task in tasks}
    assert len(prompts) == COUNT, "training tasks are distinct"
    trained = {(task.family, task.parameters) for task in tasks}
    for of in apart.values():
        asked = {normalise(task.prompt) for task in of}
        assert len(asked) == len(of)
        assert not asked & prompts
        assert not {(task.family, task.parameters) for task in of} & trained
        assert all(is_held_out(task) for task in of)
    for seed in (1, 2):
        assert not any(is_held_out(task) for task in training(seed, 2000))


def test_held_out_parameters_are_new_combinations_of_trained_values(tasks, apart):
    trained = defaultdict(set)
    for task in tasks:
        for slot, value in enumerate(task.parameters):
            trained[task.family, slot].add(value)
    for task in apart["functions"]:
        for slot, value in enumerate(task.parameters):
            assert value in trained[task.family, slot], task


def test_compositions_are_never_trained(tasks, apart):
    names = {family.name for family in COMPOSITIONS}
    assert len(names) >= 2
    assert {task.family for task in apart["compositions"]} == names
    assert not {task.family for task in tasks} & names
    programs = {ast.dump(ast.parse(anonymous(task))) for task in tasks}
    for task in apart["compositions"]:
        assert ast.dump(ast.parse(anonymous(task))) not in programs, task.solution


def anonymous(task):
    """The program's shape: without names, numbers and strings."""
    text = re.sub(r"\(\w+\):", "(x):", task.solution.replace(task.entry_point, "f", 1))
    for name in (name for names in ARGUMENTS.values() for name in names if name != "n"):
        text = re.sub(rf'(?<!"){name}\b(?!")', "x", text)
    return re.sub(r'"[^"]*"', '"s"', re.sub(r"\d+", "1", text))


def test_a_prompt_says_what_to_do(tasks, apart):
    """Two tasks with one prompt but for the function's name have one solution but for it."""
    said = {}
    for task in everything(tasks, apart):
        name = task.entry_point
        prompt = normalise(task.prompt.replace(f"{name}(", "f("))
        solution = task.solution.replace(f"{name}(", "f(")
        assert said.setdefault(prompt, solution) == solution


def test_every_value_stands_in_the_prompt(tasks):
    words = {"op", "kind", "order"}  # said in words
    for task in tasks:
        family = next(f for f in FAMILIES if f.name == task.family)
        for slot, value in zip(family.spaces[0].slots, task.parameters, strict=True):
            if value is not None and slot not in words:
                shown = f'"{value}"' if isinstance(value, str) else rf"(?<!\d){value}(?!\d)"
                pattern = re.escape(shown) if isinstance(value, str) else shown
                assert re.search(pattern, task.prompt), task
        assert "{" not in task.prompt


def test_families_languages_and_forms_come_equally_often(tasks, apart):
    assert len(FAMILIES) >= 12
    for key, expected in (("family", len(FAMILIES)), ("language", 2), ("form", 2)):
        shares = Counter(getattr(task, key) for task in tasks)
        assert len(shares) == expected
        assert all(abs(count * expected / COUNT - 1) < 0.15 for count in shares.values())
    for name, families in (("functions", FAMILIES), ("compositions", COMPOSITIONS)):
        kinds = Counter((task.family, task.language, task.form) for task in apart[name])
        assert len(kinds) == 4 * len(families)
        assert set(kinds.values()) == {6}
    assert {task.language for task in training(0, 100, languages=("zh",))} == {"zh"}
    assert {task.form for task in training(0, 100, forms=("docstring",))} == {"docstring"}
    assert {task.language for task in held_out("functions", 4, languages=("en",))} == {"en"}


def test_chinese_prompts_hold_no_english_sentence_and_the_reverse(tasks):
    for task in tasks:
        assert bool(re.search(r"[\u4e00-\u9fff]", task.prompt)) == (task.language == "zh")
        if task.language == "zh":
            assert not re.search(r"\b(Return|Write|the|of|is)\b", task.prompt.replace('"', ""))


def test_conversations_are_short(tasks):
    tokenizer = load_tokenizer("default")
    lengths = [len(tokenizer.render(messages(task))[0]) for task in tasks[:1000]]
    assert sum(lengths) / len(lengths) < 110
    assert max(lengths) < 200


def test_the_same_everywhere():
    """Fixed by this digest: another one means that figures measured before no longer compare."""
    texts = [f"{task.prompt}{task.solution}{task.test}" for task in [*training(7, 500), *held_out("compositions")]]
    assert hashlib.sha256("".join(texts).encode()).hexdigest()[:16] == DIGEST
    assert list(training(7, 100)) == list(training(7, 500))[:100]
    assert list(training(8, 100)) != list(training(7, 100))


DIGEST = "f26d7abef7b1f5f0"


def test_messages():
    for task in training(0, 50):
        asked, answered = messages(task)
        assert asked == {"role": "user", "content": task.prompt}
        fenced = f"```python\n{task.solution}```"
        assert answered["content"] == (fenced if task.form == "instruction" else task.solution.strip())


def test_unknown_names_are_the_users_mistakes():
    with pytest.raises(UserError, match="compositions"):
        held_out("function")
    with pytest.raises(UserError, match="zh"):
        training(0, 1, languages=("de",))
    with pytest.raises(UserError, match="docstring"):
        training(0, 1, forms=())
    assert (LANGUAGES, FORMS) == (("en", "zh"), ("instruction", "docstring"))


def test_normalise():
    assert normalise('  Return  "a" if x > 5.\n') == 'return "a" if x > 5.'
    assert normalise("返回：x，不小于５") == normalise("返回:x,不小于5")
    assert normalise("x > 5") != normalise("x < 5")


def test_wording_helpers():
    shown = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 22: "22nd", 30: "30th"}
    assert {number: ordinal(number) for number in shown} == shown
    assert spaced('返回text中"a"的个数，再减3') == '返回 text 中 "a" 的个数，再减3'
