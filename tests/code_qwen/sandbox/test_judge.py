"""Tests in one process, the program in another: what crosses between them, and what is said of failures."""

import pytest

from code_qwen.sandbox import Job, Outcome, judge, judge_many

PRELUDE = "import collections, datetime, decimal, fractions, itertools, array, enum, dataclasses\n"


def passes_asserts(program: str, *asserts: str, prompt: str = "") -> bool:
    judgement = judge(prompt, program, "\n".join(asserts))
    if not judgement.passed:
        print(judgement)
    return judgement.passed


# What f returns, and what must hold of `f()`.
CROSSING = [
    ("None", "f() is None"),
    ("True", "f() is True"),
    ("2 ** 200", "f() == 2 ** 200"),
    ("-1", "f() == -1"),
    ("float('inf')", "f() > 1e300"),
    ("float('nan')", "f() != f()"),
    ("1 + 2j", "f() == 1 + 2j"),
    ("'é\\ud800'", "len(f()) == 2"),
    ("b'x'", "f() == b'x'"),
    ("bytearray(b'x')", "f() == bytearray(b'x')"),
    ("[1, (2, {3: [4]})]", "f() == [1, (2, {3: [4]})]"),
    ("{1, 2}", "f() == {2, 1}"),
    ("frozenset([1])", "type(f()) is frozenset"),
    ("collections.Counter('aab')", "f() == {'a': 2, 'b': 1} and f().most_common(1) == [('a', 2)] and f()['c'] == 0"),
    ("collections.OrderedDict(a=1)", "f() == {'a': 1}"),
    ("collections.defaultdict(int, a=1)", "f() == {'a': 1}"),
    ("collections.deque([1, 2], 2)", "list(f()) == [1, 2]"),
    ("collections.namedtuple('P', 'x y')(1, 2)", "f() == (1, 2) and f().y == 2"),
    ("range(3)", "f() == range(3)"),
    ("{'a': 1}.keys()", "f() == {'a'}"),
    ("{'a': 1}.items()", "f() == {('a', 1)}"),
    ("list({'a': 1}.values())", "f() == [1]"),
    ("{'a': 1}.values()", "sum(f()) == 1"),
    ("fractions.Fraction(1, 3)", "f() * 3 == 1"),
    ("decimal.Decimal('1.50')", "str(f()) == '1.50'"),
    ("datetime.date(2024, 2, 29)", "f().year == 2024"),
    ("datetime.timedelta(days=1)", "f().total_seconds() == 86400"),
    ("array.array('i', [1, 2])", "f().tolist() == [1, 2]"),
    ("int", "f() is int"),
    ("map(str, [1, 2])", "list(f()) == ['1', '2']"),
    ("(x for x in itertools.count())", "next(f()) == 0 and [x for x, _ in zip(f(), range(3))] == [0, 1, 2]"),
    ("enum.IntEnum('E', 'A').A", "int(f()) == 1 and f().name == 'A'"),
    ("(lambda x: x + 1)", "f()(1) == 2"),
    ("[len, max]", "f()[1](1, 2) == 2"),
    ("type('S', (str,), {})('x')", "f() == 'x' and type(f()) is str"),
    ("type('L', (list,), {})([1])", "f() == [1] and type(f()) is list"),
]


def test_results_cross():
    jobs = [Job(PRELUDE, f"def f():\n    return {value}\n", f"assert {claim}") for value, claim in CROSSING]
    for (value, _), judgement in zip(CROSSING, judge_many(jobs), strict=True):
        assert judgement.passed, (value, judgement)


def test_arguments_cross():
    program = "def f(*a, **k):\n    return a, k\n"
    assert passes_asserts(program, "assert f(1, [2], x={3: (4,)}) == ((1, [2]), {'x': {3: (4,)}})")


def test_functions_of_the_tests_are_called_back():
    program = (
        "def apply(g, x):\n    try:\n        return g(x)\n    except ZeroDivisionError as e:\n        return str(e)\n"
    )
    assert passes_asserts(program, "assert apply(lambda x: x * 2, 3) == 6", "assert apply(lambda x: 1 // x, 0) != 0")
    assert passes_asserts("def twice(g):\n    return lambda x: g(g(x))\n", "assert twice(lambda x: x + 1)(1) == 3")


def test_programs_that_work_in_place():
    program = "def f(x):\n    x.sort()\n    x.append([9])\n"
    assert passes_asserts(program, "x = [2, 1]", "f(x)", "assert x == [1, 2, [9]]")
    nested = "def f(x):\n    x[0][0] = 7\n    x[1].clear()\n"
    assert passes_asserts(nested, "row = [1]", "x = [row, {2: 3}]", "f(x)", "assert row == [7] and x == [[7], {}]")


def test_an_argument_is_safe_from_a_program_that_returns():
    assert not passes_asserts("def f(x):\n    x.clear()\n    return []\n", "x = [2, 1]", "assert f(x) == x")


def test_classes_of_the_program():
    program = """
class Node:
    def __init__(self, value):
        self.value, self.left = value, None
class Stack:
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x); return self
    def __len__(self): return len(self.items)
    def __getitem__(self, k): return self.items[k]
    def __str__(self): return 'stack'
def height(node): return 1 + height(node.left) if node else 0
"""
    tests = ["s = Stack()", "assert s.push(1).push(2).items == [1, 2]", "assert len(s) == 2 and s[1] == 2 and s"]
    tests += ["assert str(s) == 'stack'", "root = Node(1)", "root.left = Node(2)", "assert height(root) == 2"]
    tests += ["assert root.left.value == 2", "assert list(s) == [1, 2]", "assert s is not None"]
    assert passes_asserts(program, *tests)
    judgement = judge("", program, "assert Stack() == Stack()")
    assert judgement.outcome is Outcome.FAILED and "Stack cannot be compared" in judgement.reason


def test_classes_of_the_prompt():
    prompt = """
import dataclasses
@dataclasses.dataclass
class Point:
    x: int
    y: int
    def norm(self): return self.x ** 2 + self.y ** 2
"""
    program = "def move(p, dx):\n    return Point(p.x + dx, p.y)\ndef reset(p):\n    p.x = 0\n"
    tests = ["p = Point(1, 2)", "assert move(p, 2) == Point(3, 2)", "assert move(p, 2).norm() == 13"]
    tests += ["reset(p)", "assert p.x == 0"]
    assert passes_asserts(program, *tests, prompt=prompt)
    forged = program + "class Point(Point):\n    def __eq__(self, other): return True\n"
    assert not passes_asserts(forged.replace("p.x + dx", "0"), *tests, prompt=prompt)


def test_helpers_of_the_prompt_are_the_prompts():
    prompt = "def close(a, b):\n    return abs(a - b) < 0.1\n\n\ndef root(x):\n    '''Square root.'''\n"
    check = "def check(candidate):\n    assert close(candidate(9.0), 3.0)\n"
    assert judge(prompt, "    return x ** 0.5\n", check, "root").passed
    assert not judge(prompt, "    return 0\ndef close(a, b):\n    return True\n", check, "root").passed
    # Asserts that call the function by its name find the program's, not the prompt's empty one.
    assert judge(prompt, "    return x ** 0.5\n", "assert root(9.0) == 3.0").passed
    assert judge("def root(x):\n", "    return x ** 0.5\n", "assert root(9.0) == 3.0").passed
    assert judge("def root(x):\n    y = x\n", "    return y ** 0.5\n", "assert root(9.0) == 3.0").passed


def test_modules_of_the_program_are_the_librarys():
    assert passes_asserts("import math\ndef f():\n    return 3.0\n", "assert math.isclose(f(), 3)")
    forged = "class math:\n    isclose = staticmethod(lambda *a: True)\ndef f():\n    return 4.0\n"
    assert not passes_asserts(forged, "assert math.isclose(f(), 3)")


@pytest.mark.parametrize(
    ("program", "outcome", "reason"),
    [
        ("def f(): return 2", Outcome.FAILED, "AssertionError: not one at `assert f() == 1, 'not one'`"),
        ("def f(): return x", Outcome.FAILED, "NameError: name 'x' is not defined"),
        ("def f(: pass", Outcome.FAILED, "SyntaxError"),
        ("def g(): pass", Outcome.FAILED, "NameError: name 'f' is not defined"),
        ("raise ValueError('no')", Outcome.FAILED, "ValueError: no"),
        ("class E(KeyError): pass\ndef f(): raise E('k')", Outcome.FAILED, "E: 'k'"),
        ("import os\ndef f(): os._exit(3)", Outcome.FAILED, "exit code 3"),
        ("import os\ndef f(): os.kill(os.getpid(), 11)", Outcome.CRASH, "SIGSEGV"),
        ("def f(): return bytearray(1 << 40)", Outcome.MEMORY, "out of memory"),
        ("def f():\n    while True: pass", Outcome.TIMEOUT, "more than 0.6 seconds"),
    ],
)
def test_reasons(program, outcome, reason):
    judgement = judge("", program, "assert f() == 1, 'not one'", timeout=0.6 if outcome is Outcome.TIMEOUT else 20.0)
    assert judgement.outcome is outcome and reason in judgement.reason, judgement


def test_exceptions_that_tests_expect():
    program = "def f(x):\n    if x: raise ValueError('bad')\n    raise KeyError(x)\n"
    tests = "for x, kind in ((1, ValueError), (0, KeyError)):\n    try:\n        f(x)\n    except kind as error:\n"
    tests += "        assert 'bad' in str(error) or not x\n    else:\n        assert False\n"
    assert passes_asserts(program, tests)
    assert not passes_asserts("def f(x): raise SystemExit\n", "try:\n    f(1)\nexcept:\n    pass")


def test_tests_that_are_at_fault():
    assert judge("", "def f(): pass", "assert (", "f").reason.startswith("the tests are no program")
    assert "no check(candidate)" in judge("", "def f(): pass", "x = 1", "f").reason
    assert judge("", "def f(): pass", "import sys; sys.exit(0)").outcome is Outcome.FAILED
    assert judge("", "def f(): pass", "import os; os._exit(0)").outcome is Outcome.CRASH
    assert judge("", "def f(): pass", "while True: pass", timeout=0.5).outcome is Outcome.TIMEOUT
    assert "cannot cross" in judge("", "def f(x): pass", "class A: pass\nf(A())").reason
