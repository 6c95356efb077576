"""Which prompts a name stands for."""

import json

import pytest

from qwen_chat import dialogues
from qwen_chat.recipe import _tasks
from qwen_shared.errors import UserError
from qwen_shared.evaluation import find
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Conditions


def find_tasks(names):
    """As the recipe reads them: a file alone is a file of prompts."""
    return find.find_tasks(_tasks(names), EvaluationSettings(interval=1))


def conditions(limit=0):
    return Conditions(EvaluationSettings(interval=1, limit=limit))


def prompts(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_embedded_dialogues_say_their_kind_and_language():
    (task,) = find_tasks(["dialogues"])
    questions = task.items(conditions(40))
    assert [q.turns for q in questions] == [dialogues.prompt(d) for d in dialogues.held_out("dialogues")[:40]]
    assert {q.groups["language"] for q in questions} == {"en", "zh"}
    assert all(q.groups["kind"] == q.dialogue.kind for q in questions)


def test_own_prompts_are_texts_or_messages(tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    answered = [*turns, {"role": "assistant", "content": "Hello."}]
    path = prompts(
        tmp_path / "mine.jsonl",
        {"prompt": "Why?", "kind": "question"},
        {"prompt": turns},
        {"messages": answered, "language": 3},
    )
    (task,) = find_tasks([path])
    assert (task.name, task.place) == ("mine", path)
    questions = task.items(conditions())
    assert [q.turns for q in questions] == [[{"role": "user", "content": "Why?"}], turns, turns]
    assert [q.groups for q in questions] == [{"kind": "question"}, {}, {}]
    assert all(q.dialogue is None for q in questions)
    assert len(task.items(conditions(2))) == 2


@pytest.mark.parametrize(
    "names, said",
    [
        (["dialogue"], "nearest: dialogues"),
        (["no/such.jsonl"], "no such file"),
        (["dialogues", "dialogues"], "stands there twice"),
    ],
)
def test_mistakes_are_named(names, said):
    with pytest.raises(UserError, match=said):
        find_tasks(names)


def test_files_that_cannot_be_asked(tmp_path):
    (tmp_path / "notes.md").write_text("?")
    with pytest.raises(UserError, match=r"one of \.jsonl"):
        find_tasks([str(tmp_path / "notes.md")])
    with pytest.raises(UserError, match="give a file of prompts"):
        find_tasks(["prompts"])
    with pytest.raises(UserError, match="prompts of dialogues are conversations"):
        find.find_tasks(["dialogues"], EvaluationSettings(interval=1, prompt="base"))
    with pytest.raises(UserError, match="embedded task"):
        find_tasks([prompts(tmp_path / "dialogues.jsonl", {"prompt": "x"})])
    (task,) = find_tasks([prompts(tmp_path / "empty.jsonl")])
    with pytest.raises(UserError, match="no problem in"):
        task.items(conditions())
    (task,) = find_tasks([prompts(tmp_path / "odd.jsonl", {"prompt": "x"}, {"question": "y"})])
    with pytest.raises(UserError, match=r"odd\.jsonl line 2"):
        task.items(conditions())
