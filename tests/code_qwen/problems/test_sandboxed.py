"""Held-out tasks as an evaluation runs them: taken out of the answer, in the sandbox, each family in both forms."""

import pytest

from code_qwen.extract import extract
from code_qwen.problems import HELD_OUT, held_out, messages
from code_qwen.sandbox import passes


@pytest.mark.parametrize("name", HELD_OUT)
def test_right_answers_pass_and_wrong_ones_do_not(name):
    for task in held_out(name, 4):
        head = task.prompt if task.form == "docstring" else ""
        program = extract(messages(task)[1]["content"], task.entry_point, head)
        assert passes("", program, task.test, task.entry_point, 10), task
        if task.language == "en":
            wrong = f"def {task.entry_point}(x):\n    return x\n"
            assert not passes("", wrong, task.test, task.entry_point, 10), task
