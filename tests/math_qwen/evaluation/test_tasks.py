"""Tasks: every published form is read, prompts are the report's, mistakes are one line."""

import gzip
import json

import pytest

from math_qwen.evaluation import exemplars, tasks
from math_qwen.evaluation.tasks import GSM8K, Item, MathTask, gold_answer, read_item
from math_qwen.evaluation.votes import final_answer
from math_qwen.recipe import MathEvaluation
from qwen_shared.errors import UserError
from qwen_shared.evaluation import find
from qwen_shared.evaluation.task import Conditions
from qwen_shared.tokenizer import load_tokenizer

TASKS = [task for task in vars(tasks).values() if isinstance(task, MathTask)]
GSM8K_ROW = {"question": "How many are 3 and 4?", "answer": "They are <<3+4=7>>7.\n#### 7"}


def conditions(style="chat", system=None, languages=("en", "zh"), **settings):
    return Conditions(MathEvaluation(interval=1, **settings), style, system, languages)


def find_tasks(names):
    return find.find_tasks(names, MathEvaluation(interval=1))


def write(path, *rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize(
    ("row", "item"),
    [
        (GSM8K_ROW, Item("1", "How many are 3 and 4?", "7")),
        (
            {"problem": "p", "solution": r"so $\boxed{\frac{1}{\sqrt{2}}}$", "level": "Level 3", "type": "Algebra"},
            Item("1", "p", r"\frac{1}{\sqrt{2}}", {"level": "Level 3", "type": "Algebra"}),
        ),
        (
            {
                "problem": "p",
                "solution": r"\boxed{2}",
                "answer": "2",
                "unique_id": "a/1.json",
                "subject": "S",
                "level": 2,
            },
            Item("a/1.json", "p", "2", {"subject": "S", "level": "2"}),
        ),
        ({"problem": "p", "answer": "(0, 1]"}, Item("1", "p", "(0, 1]")),
        ({"query": "1+1=", "response": "2"}, Item("1", "1+1=", "2")),
        ({"id": "7", "original_text": "问", "equation": "x=1", "ans": "2((3)/(4))"}, Item("7", "问", "2 3/4")),
        ({"segmented_text": "问", "ans": "((1)/(3))"}, Item("1", "问", "1/3")),
        ({"original_text": "问", "ans": "75%"}, Item("1", "问", "75%")),
        (
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a\n#### 5"}]},
            Item("1", "q", "5"),
        ),
    ],
)
def test_every_form_is_read(row, item):
    assert read_item(row, "here", "1") == item


@pytest.mark.parametrize(
    "row", [{"text": "x"}, {"question": "", "answer": "#### 1"}, {"question": "q", "answer": "#### "}, {"messages": []}]
)
def test_a_row_without_problem_or_answer_is_named(row):
    with pytest.raises(UserError, match=r"^data.jsonl line 3"):
        read_item(row, "data.jsonl line 3", "1")


def test_gold_answer():
    assert gold_answer("1 + 1 = 2\n#### 1,000") == "1,000"
    assert gold_answer(r"\boxed{1} then $\boxed{\{1, 2\}}$.") == r"\{1, 2\}"
    assert gold_answer(" x = 3 ") == "x = 3"


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_local_file_stands_in_for_the_dataset(tmp_path, name):
    path = write(tmp_path / name, GSM8K_ROW, GSM8K_ROW | {"question": "And 5 and 6?"})
    (task,) = find_tasks([f"gsm8k:{path}"])
    assert [item.question for item in task.items(conditions())] == ["How many are 3 and 4?", "And 5 and 6?"]
    assert len(task.items(conditions(limit=1))) == 1


def test_a_dataset_in_a_directory_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"test": datasets.Dataset.from_list([GSM8K_ROW])}).save_to_disk(str(tmp_path / "saved"))
    (task,) = find_tasks([f"gsm8k:{tmp_path / 'saved'}"])
    assert [item.gold for item in task.items(conditions())] == ["7"]
    datasets.Dataset.from_list([GSM8K_ROW]).to_parquet(str(tmp_path / "rows.parquet"))
    (task,) = find_tasks([f"gsm8k:{tmp_path / 'rows.parquet'}"])
    assert [item.gold for item in task.items(conditions())] == ["7"]


@pytest.mark.parametrize("between", ["\n", "", " \n\n "])
def test_objects_that_follow_each_other_in_a_json_file(tmp_path, between):
    """As Math401 and Math23K are published."""
    path = tmp_path / "math401.json"
    path.write_text(between.join(json.dumps({"query": f"{i}+1=", "response": str(i + 1)}, indent=1) for i in range(3)))
    (task,) = find_tasks([f"math401:{path}"])
    assert [(item.id, item.gold) for item in task.items(conditions())] == [("1", "1"), ("2", "2"), ("3", "3")]
    path.write_text('{"query": "1+1=", "response": "2"}\n{"query"')
    with pytest.raises(UserError, match=r"math401\.json item 2: not valid JSON"):
        task.items(conditions())


def test_a_list_in_a_json_file(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([GSM8K_ROW]))
    (task,) = find_tasks([f"gsm8k:{tmp_path / 'rows.json'}"])
    assert [item.gold for item in task.items(conditions())] == ["7"]


def test_embedded_problems_are_the_held_out_ones():
    from math_qwen.problems import held_out

    (task,) = find_tasks(["level3"])
    assert {item.groups["language"] for item in task.items(conditions(limit=20, languages=["zh"]))} == {"zh"}
    items = task.items(conditions(limit=20))
    assert [(i.question, i.gold) for i in items] == [(p.question, p.answer) for p in held_out("level3")[:20]]
    assert {key for item in items for key in item.groups} == {"family", "language"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["gsm8"], "tasks=gsm8: no such task; nearest: gsm8k"),
        (["gsm8k:/no/such/file"], "no such file or directory: /no/such/file"),
        (["math23k"], "task math23k: it has no dataset on the hub; for a local copy .* say math23k:PATH"),
        (["level1", "level1"], "level1 stands there twice"),
        ([], "none given"),
    ],
)
def test_mistakes_are_one_line(names, message):
    with pytest.raises(UserError, match=message):
        find_tasks(names)


def test_an_empty_file_and_a_hub_that_cannot_be_reached(tmp_path, monkeypatch):
    from qwen_shared.data import rows

    (task,) = find_tasks([f"gsm8k:{write(tmp_path / 'rows.jsonl')}"])
    with pytest.raises(UserError, match="task gsm8k: no problem in"):
        task.items(conditions())

    def unreachable(written, config, split, revision):
        assert (written, config, split) == ("hf:openai/gsm8k", "main", "test")
        raise UserError("no network")

    monkeypatch.setattr(rows, "read_hf_rows", unreachable)
    with pytest.raises(UserError, match=r"task gsm8k: openai/gsm8k cannot be had: no network; .* say gsm8k:PATH"):
        find_tasks(["gsm8k"])[0].items(conditions())


def test_base_prompt_of_gsm8k():
    tokenizer = load_tokenizer("default")
    text = tokenizer.decode(GSM8K.prompt(Item("1", "Why {that}?", "1"), conditions("base"), tokenizer))
    parts = text.split("\n\n")
    assert len(parts) == 9
    assert all(part.startswith("Question: ") and "\nLet's think step by step\n" in part for part in parts)
    assert parts[-1] == "Question: Why {that}?\nLet's think step by step\n"
    assert not any(stop in answer for stop in GSM8K.stop_texts() for _, answer in exemplars.WORDS)


def test_chat_prompts():
    tokenizer = load_tokenizer("default")
    item = Item("1", "How many?", "1")
    bare = tokenizer.render([{"role": "user", "content": "How many?"}], add_generation_prompt=True)[0]
    assert GSM8K.prompt(item, conditions(), tokenizer) == bare
    told = [{"role": "system", "content": "Count."}, {"role": "user", "content": "How many?"}]
    rendered = tokenizer.render(told, add_generation_prompt=True)[0]
    assert GSM8K.prompt(item, conditions(system="Count."), tokenizer) == rendered
    shown = tokenizer.decode(GSM8K.prompt(item, conditions(shots=4), tokenizer))
    assert shown.count("Question: ") == 5 and shown.count("user\n") == 1


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_no_prompt_ends_with_a_space_and_shots_are_bounded(task):
    text = task.format.text("How many?", task.base_shots)
    assert text == text.rstrip(" ")
    assert task.base_shots <= len(task.format.examples)
    with pytest.raises(UserError, match="worked examples"):
        task.shots("base", 99)


EXAMPLES = [e for part in (exemplars.WORDS, exemplars.BOXED, exemplars.CHINESE) for e in part]


@pytest.mark.parametrize(("question", "answer"), EXAMPLES)
def test_the_worked_examples_are_right(question, answer):
    """Every plain calculation in them, and that they name an answer."""
    from math_qwen.prepare.plain_equations import plain_equations

    assert final_answer(answer)
    if "\\" not in answer:
        found = plain_equations(answer)
        assert found and all(equation.check.ok for equation in found)


def test_the_worked_expressions_are_right():
    from math_qwen.equations import check

    assert all(check(question + answer).ok for question, answer in exemplars.ARITHMETIC)
