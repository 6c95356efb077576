"""The sandbox as a reward."""

import pytest

from code_qwen.reward import passed

pytestmark = pytest.mark.heavy  # programs run in the sandbox

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


def test_helpers_of_the_setup_are_the_setups():
    setup = 'def close(a, b):\n    return abs(a - b) < 0.1\n\n\ndef root(x):\n    """x"""\n'
    test = "def check(candidate):\n    assert close(candidate(9), 3)\n"
    forged = "def close(a, b):\n    return True\n\n\ndef root(x):\n    return 0\n"
    future = "from __future__ import annotations\n"
    right = "def root(x: Real) -> Real:\n    return x ** 0.5\n"
    completions = [forged, future + forged, future + right, right.replace("Real", "float")]
    found = passed(["?"] * 4, completions, test=[test] * 4, entry_point=["root"] * 4, setup=[setup] * 4)
    assert found == [0.0, 0.0, 1.0, 1.0]


def test_the_function_is_what_the_tests_call():
    helped = "def twice(x):\n    return 2 * x\n\n\nassert twice(add(1, 2)) == 6"
    answer = "```python\nprint(1)\n```\nThen:\n```python\n" + RIGHT + "```"
    assert passed(["?"], [answer], test=[helped]) == [1.0]
    assert passed(["?"], ["def sum(a, b):\n    return a + b\n"], test_list=[["assert sum(1, 2) == 3"]]) == [1.0]
    assert passed(["?"], [RIGHT], test_list=[[]]) == [0.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"level": [1]}, "column `test`.*columns: level"),
        ({"test": ["assert f()", "assert f()"]}, "1 prompts, 1 completions, 2 in the column"),
        ({"test": [5]}, "int at 0"),
        ({"test": ["def check(candidate):\n    pass"]}, "column `entry_point`"),
    ],
)
def test_mistakes(columns, message):
    with pytest.raises(ValueError, match=message):
        passed(["?"], ["1"], **columns)
    with pytest.raises(ValueError, match="completion 0"):
        passed(["?"], [5], test=["assert f()"])
