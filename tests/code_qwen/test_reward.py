"""The sandbox as a reward."""

import pytest

from code_qwen.reward import passed

RIGHT = "def add(a, b):\n    return a + b\n"
ASSERTS = ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"]


def test_right_is_one():
    fenced = f"Here it is:\n\n```python\n{RIGHT}```\nIt adds."
    completions = [RIGHT, fenced, [{"role": "assistant", "content": fenced}], RIGHT.replace("+", "-"), "I cannot.", ""]
    assert passed(["?"] * 6, completions, test_list=[ASSERTS] * 6) == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_check_and_setup():
    test = "def check(candidate):\n    assert candidate(2) == twice(1)\n"
    setup = 'def twice(x):\n    return 2 * x\n\n\ndef f(x):\n    """x"""\n'
    completions = ["    return twice(x) - x\n", "def f(x):\n    return x\n", "    return 0\n"]
    found = passed(["?"] * 3, completions, test=[test] * 3, entry_point=["f"] * 3, setup=[setup] * 3)
    assert found == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"level": [1]}, "column `test`.*columns: level"),
        ({"test": ["assert f()", "assert f()"]}, "1 prompts, 1 completions, 2 in the column"),
        ({"test": [5]}, "int at 0"),
    ],
)
def test_mistakes(columns, message):
    with pytest.raises(ValueError, match=message):
        passed(["?"], ["1"], **columns)
    with pytest.raises(ValueError, match="completion 0"):
        passed(["?"], [5], test=["assert f()"])
