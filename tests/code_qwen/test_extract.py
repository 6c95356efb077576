"""The program in an answer: fences, prose, bodies, what was cut off."""

import ast

import pytest

from code_qwen.extract import extract, split

HEAD = 'from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n    """Return the sum."""\n'
WHOLE = "def total(numbers):\n    return sum(numbers)\n"
BODY = "    return sum(numbers)\n"


def works(text, prompt=HEAD, entry_point="total"):
    """Whether what is extracted is a program whose function adds."""
    names = {}
    exec(compile(extract(text, entry_point, prompt), "answer", "exec"), names)
    return names[entry_point]([1, 2, 3]) == 6


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"```python\n{WHOLE}```",
        f"```\n{WHOLE}```",
        f"```Python\n{WHOLE}```\n",
        f"~~~py\n{WHOLE}~~~",
        f"````python\n{WHOLE}````",
        f"Sure! Here it is:\n\n```python\n{WHOLE}```\n\nIt adds the numbers (all of them).",
        f"Here it is:\n\n{WHOLE}\nThis function adds the numbers.\n",
        f"当然可以：\n{WHOLE}\n这个函数返回总和。",
        f"1. First:\n   ```python\n   {WHOLE.replace(chr(10), chr(10) + '   ').rstrip()}\n   ```\n2. Done.",
        f"```python\n{WHOLE}",  # cut off before the fence was closed
        f"{WHOLE}```\nAn explanation",  # the prompt may have opened it
        f"```python\n{WHOLE}```\nUse it so:\n```python\nprint(total([1]))\n```",
        f"```python\ndef total(numbers):\n    return 0\n```\nNo, that is wrong:\n```python\n{WHOLE}```",
        f"```python\n{WHOLE}```\nAgain, with types:\n```python\ndef total(numbers: list[in",
        f"```bash\npip install total\n```\n```python\n{WHOLE}```",
        WHOLE.replace("\n", "\r\n"),
        f"import math\n\n\n{WHOLE}",
        f"Some words.\n\nLIMIT = 3\n\ndef helper(n):\n    return n\n\n{WHOLE}",
        "total = lambda numbers: sum(numbers)",
        'def total(numbers):\n    """\nwritten at the margin\n    """\n    return sum(numbers)\nThat is all.',
        "```python\n    def total(numbers):\n        return sum(numbers)\n```",
        "from __future__ import annotations\n\n" + WHOLE,
        "def total(numbers: List[int]) -> int:\n    return sum(numbers)\n",  # the prompt's imports are needed
        'TEXT = """\nwritten at the margin\n"""\n\n' + WHOLE,
        "async_total = 1\n\ndef total(\n    numbers,\n):\n    return sum(numbers)\n",
    ],
)
def test_whole_functions(text):
    assert works(text)


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        BODY.strip(),
        f"```python\n{BODY}```",
        f"```python\n{BODY.strip()}\n```",
        f"The body is:\n```python\n{BODY}```\nIt adds.",
        "    result = 0\n    for n in numbers:\n        result += n\n    return result",
        "result = 0\n    for n in numbers:\n        result += n\n    return result",  # the first line was stripped
        "result = 0\nfor n in numbers:\n    result += n\nreturn result",
        "if not numbers:\n        return 0\n    return sum(numbers)",  # a header that was stripped
        "if not numbers:\n    return 0\nreturn sum(numbers)",
        "signs = {\n    1: 1,\n}\nreturn sum(signs.get(n, n) for n in numbers)",
        "        return sum(numbers)",
        "  return sum(numbers)",
        "```\nreturn sum(numbers)",
    ],
)
def test_bodies_follow_the_prompt(text):
    assert works(text)
    assert extract(text, "total", HEAD).startswith(HEAD.rstrip())


def test_a_body_is_indented_as_its_prompt():
    head = 'def total(numbers):\n  """Return the sum."""\n'
    assert works("return sum(numbers)", head) and works("    return sum(numbers)", head)
    long = "def total(\n    numbers,\n):\n    '''Return the sum.'''\n"
    assert works("return sum(numbers)", long)


def test_without_a_prompt():
    assert works(WHOLE, "") and works(f"Well:\n```python\n{WHOLE}```", "")
    assert extract("```python\nprint(1)\n```", "total") == "print(1)\n"
    assert extract("I do not know.", "total") == "I do not know."


def test_what_stands_before_the_function_in_the_prompt_is_kept():
    head = "import math\n\n\ndef helper(n):\n    return n\n\n\n@staticmethod\n" + HEAD.partition("\n\n\n")[2]
    code = extract("def total(numbers):\n    return sum(map(helper, numbers))\n", "total", head)
    assert code.startswith("import math") and code.count("def total") == 1 and "@staticmethod" not in code
    assert works("def total(numbers):\n    return sum(map(helper, numbers))\n", head)


def test_imports_from_the_future_come_first():
    code = extract(f"```python\nfrom __future__ import annotations\n{WHOLE}```", "total", HEAD)
    assert code.startswith("from __future__ import annotations\nfrom typing import List")
    ast.parse(code)


@pytest.mark.parametrize(
    "first", ["", "from __future__ import annotations\n", "from __future__ import annotations; x = 1\n"]
)
def test_the_prompts_part_is_the_prompts(first):
    """Whatever the answer has, it is not taken for what the prompt brought."""
    head = f"def close(a, b):\n    return a == b\n\n\n{HEAD}"
    answer = f"{first}def close(a, b):\n    return True\n\n\n{WHOLE}"
    own, rest = split(extract(answer, "total", head), head, "total")
    assert own.removeprefix("from __future__ import annotations\n").startswith("def close(a, b):\n    return a == b")
    assert "return True" in rest and "return True" not in own and "x = 1" not in own
    assert split("def total(): pass", head, "total") == ("", "def total(): pass")


def test_another_function_is_no_answer():
    assert "def total(numbers: List" in extract("def add(a, b):\n    return a + b\n", "total", HEAD)
    assert "def total_of" not in extract("x", "total", "def total_of(n):\n    ...\n" + HEAD).partition("def total(")[2]


def test_names_are_text_not_patterns():
    assert extract("def a(x):\n    return x\n", "a.b(", "") == "def a(x):\n    return x\n"


@pytest.mark.parametrize(
    "text",
    [
        "```" + " " * 300_000 + "`",
        "`" * 100_000,
        "```\n" * 50_000,
        "def total(" * 20_000,
        "x = [" * 50_000,
        "a:" * 50_000,
    ],
)
def test_hostile_texts_take_no_time(text):
    extract(text, "total", HEAD)
    extract(f"{WHOLE}\n{text}", "total", HEAD)
