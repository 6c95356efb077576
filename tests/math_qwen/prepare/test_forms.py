"""Formats of rows."""

import pytest

from math_qwen.prepare.forms import sample_of
from qwen_shared.errors import UserError


def test_forms():
    of = [
        sample_of({"problem": "p", "solution": r"\boxed{1}", "level": "Level 5"}, "w", "s", "1"),
        sample_of(
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "w", "s", "2"
        ),
        sample_of({"question": "q", "answer": "a", "id": 7}, "w", "s", "3"),
    ]
    assert [(s.question, s.solution, s.id) for s in of] == [("p", r"\boxed{1}", "1"), ("q", "a", "2"), ("q", "a", "7")]
    assert of[0].extra == {"level": "Level 5"}
    for row, message in (
        ({"text": "t"}, "expected question and answer"),
        ({"question": "q", "answer": 5}, "'answer' is int"),
        ({"messages": []}, "last of the messages"),
        ({"messages": [{"role": "user", "content": "q"}]}, "last of the messages"),
    ):
        with pytest.raises(UserError, match=message):
            sample_of(row, "data.jsonl line 3", "s", "1")
