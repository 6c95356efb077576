"""Tests in one process, the program in another: what crosses between them, and what is said of failures."""

import pytest

from code_qwen.sandbox import Outcome, Submission, run_tests, run_tests_many

PRELUDE = "import collections, datetime, decimal, fractions, itertools, array, enum, dataclasses\n"


def passes_asserts(program: str, *asserts: str, prompt: str = "") -> bool:
    verdict = run_tests(prompt, program, "\n".join(asserts))
    if not verdict.passed:
        print(verdict)
    return verdict.passed


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
    ("collections.defaultdict(list, a=1)", "f()['b'] == [] and f()['a'] == 1"),
    ("{'a': 1}.values()", "list(f()) == [1] and 1 in f() and len(f()) == 1"),
    ("datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)", "f().isoformat() == '2024-01-02T00:00:00+00:00'"),
    ("(x for x in 'ab')", "'b' in f() and 'c' not in f() and inspect.isgenerator(f())"),
    ("map(abs, [-1])", "isinstance(f(), map) and list(f()) == [1]"),
    ("__import__('functools').reduce(lambda x, _: [x], range(150), 1)", "str(f()).count('[') == 150"),
]


def test_results_cross():
    jobs = [Submission(PRELUDE, f"def f():\n    return {value}\n", f"assert {claim}") for value, claim in CROSSING]
    for (value, _), verdict in zip(CROSSING, run_tests_many(jobs), strict=True):
        assert verdict.passed, (value, verdict)


def test_arguments_cross():
    program = "def f(*a, **k):\n    return a, k\n"
    assert passes_asserts(program, "assert f(1, [2], x={3: (4,)}) == ((1, [2]), {'x': {3: (4,)}})")


def test_functions_of_the_tests_are_called_back():
    program = (
        "def apply(g, x):\n    try:\n        return g(x)\n    except ZeroDivisionError as e:\n        return str(e)\n"
    )
    assert passes_asserts(program, "assert apply(lambda x: x * 2, 3) == 6", "assert apply(lambda x: 1 // x, 0) != 0")
    assert passes_asserts("def twice(g):\n    return lambda x: g(g(x))\n", "assert twice(lambda x: x + 1)(1) == 3")


def test_all_that_can_be_called_or_iterated_crosses():
    program = "def f(g, *a): return g(*a)\ndef each(x): return [v for v in x]\n"
    tests = ["import operator", "class Three:\n    def __new__(cls, x): return x * 3", "seen = []", "f(seen.append, 1)"]
    tests += ["assert f(str.upper, 'a') == 'A' and f(operator.itemgetter(1), [1, 2]) == 2 and f(Three, 2) == 6"]
    tests += ["assert seen == [1] and f(functools.partial(pow, 2), 4) == 16 and f(int, '7') == 7"]
    tests += ["assert each(iter([1, 2])) == [1, 2] and each(x * x for x in range(3)) == [0, 1, 4]"]
    tests += ["assert each(zip('ab', [1, 2])) == [('a', 1), ('b', 2)] and each({1: 2}.values()) == [2]"]
    assert passes_asserts(program, *tests)


def test_threads_call_functions_of_the_tests():
    program = (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(g, x):\n    with ThreadPoolExecutor(8) as pool:\n"
    )
    program += "        return list(pool.map(g, x))\n"
    assert passes_asserts(program, "assert f(lambda x: x * x, range(200)) == [x * x for x in range(200)]")


def test_programs_that_work_in_place():
    program = "def f(x):\n    x.sort()\n    x.append([9])\n"
    assert passes_asserts(program, "x = [2, 1]", "f(x)", "assert x == [1, 2, [9]]")
    nested = "def f(x):\n    x[0][0] = 7\n    x[1].clear()\n"
    assert passes_asserts(nested, "row = [1]", "x = [row, {2: 3}]", "f(x)", "assert row == [7] and x == [[7], {}]")
    mixed = "def f(d, b, *, t): d['a'].append(1); b.append(7); t[0].append(5)\n"
    tests = [
        "row, b, t = [], bytearray(), ([],)",
        "f({'a': row}, b, t=t)",
        "assert (row, b, t) == ([1], b'\\7', ([5],))",
    ]
    assert passes_asserts(mixed, *tests)
    given = "def f(x, g):\n    for k in range(len(x)): x[k] = g(x[k])\n"
    assert passes_asserts(given, "x = [1, 2]", "f(x, lambda v: 10 * v)", "assert x == [10, 20]")


def test_programs_that_work_in_place_and_return():
    unique = "def f(x):\n    found = sorted(set(x))\n    x[: len(found)] = found\n    return len(found)\n"
    check = "def check(candidate):\n    x = [1, 1, 2]\n    n = candidate(x)\n    assert n == 2\n"
    check += "    assert x[:n] == [1, 2]\n"
    assert run_tests("", unique, check, "f").passed
    assert passes_asserts("def f(x): return x.pop()\n", "x = [1, 2]", "assert f(x) == 2", "assert x == [1]")


EMPTIES = "def f(x):\n    x.clear()\n    return []\n"


@pytest.mark.parametrize(
    "tests",
    [
        "assert f(x) == x",
        "assert f(x) == sorted(x)",
        "r = f(x)\ns = sorted(x)\nassert r == s",
        "y = x\nr = f(y)\nassert r == sorted(x)",
        "def run(g, v): return g(v)\nassert run(f, x) == sorted(x)",
        "def run(): return f(x)\nassert run() == sorted(x)",
        "def same(a, b): assert a == b\nsame(f(x), sorted(x))",
        "for case in [x]:\n    got = f(case)\n    assert got == sorted(case)",
        "g = functools.partial(f, x)\nassert g() == sorted(x)",
        "box = []\nbox.append(x)\nassert f(x) == sorted(box[0])",
        "with contextlib.nullcontext(x) as y:\n    assert f(x) == sorted(y)",
        "assert [f(y) for y in [x]] == [sorted(y) for y in [x]]",
    ],
)
def test_an_argument_is_safe_from_a_program_that_returns(tests):
    assert not passes_asserts(EMPTIES, "x = [2, 1]", tests)


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
    verdict = run_tests("", program, "assert Stack() == 3")
    assert verdict.outcome is Outcome.FAILED and "Stack cannot be compared" in verdict.reason


def test_objects_of_the_program_among_themselves():
    """The tests give no expected value away where both sides are the program's."""
    program = """
import enum
class V:
    one = None
    def __new__(cls, *a):
        if not a: V.one = V.one or object.__new__(cls)
        return object.__new__(cls) if a else V.one
    def __init__(self, x=0): self.x = x
    def __add__(self, other): return V(self.x + other.x)
    def __eq__(self, other): return self.x == other.x
    def __lt__(self, other): return self.x < other.x
class W(V): pass
class Color(enum.Enum): RED = 1
def same(x): return x
"""
    tests = ["assert V(1) + V(2) == V(3) and V(1) != V(2) and V(1) < V(2)", "assert (V(1) + V(2)).x == 3"]
    tests += ["assert [v.x for v in sorted([V(2), V(1)])] == [1, 2]", "assert V() is V() and V(1) is not V(1)"]
    tests += ["assert isinstance(W(1), V) and not isinstance(V(1), W) and not isinstance(3, V)"]
    tests += ["assert Color.RED is Color.RED", "v = V(5)", "assert same(v) is v"]
    assert passes_asserts(program, *tests)
    assert not passes_asserts(program, "assert V(1) + 2 == V(3)")
    assert not passes_asserts(program, "assert V(1) == V(2)")


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


NODE = "class Node:\n    def __init__(self, val, next=None):\n        self.val, self.next = val, next\n\n\n"


def test_chains_and_rings_of_the_prompts_instances():
    reverse = "    last = None\n    while head: head.next, last, head = last, head, head.next\n    return last\n"
    tests = "def check(candidate):\n    head = None\n    for k in range(400): head = Node(k, head)\n"
    tests += "    head, found = candidate(head), []\n    while head: found.append(head.val); head = head.next\n"
    tests += "    assert found == list(range(400))\n"
    assert run_tests(NODE + "def reverse(head):\n", reverse, tests, "reverse", 10.0).passed
    ring = "    slow, fast = head, head.next\n    while fast and fast.next:\n        if slow is fast: return True\n"
    ring += "        slow, fast = slow.next, fast.next.next\n    return False\n"
    tests = "def check(candidate):\n    a = Node(1, Node(2, Node(3)))\n    assert candidate(a) is False\n"
    tests += "    a.next.next.next = a\n    assert candidate(a) is True\n"
    assert run_tests(NODE + "def ring(head):\n", ring, tests, "ring").passed
    twin = "    other = Node(2)\n    other.next = Node(1, other)\n    return other.next\n"
    tests = (
        "def check(candidate):\n    a = candidate(0)\n    assert a.next.next is a and (a.val, a.next.val) == (1, 2)\n"
    )
    assert run_tests(NODE + "def twin(x):\n", twin, tests, "twin").passed


def test_members_and_rows_and_sets_of_the_prompts_classes():
    prompt = """
import dataclasses, enum, typing
class Color(enum.Enum):
    RED = 1
    BLUE = 2
class Pair(typing.NamedTuple):
    x: int
    y: int
@dataclasses.dataclass(frozen=True)
class Point:
    x: int
class Empty:
    'Holds what it is given.'
"""
    program = "def f(c): return Color.BLUE if c is Color.RED else Color.RED\ndef g(p): return p._replace(x=p.y)\n"
    program += "def h(n): return {Point(k) for k in range(n)}\ndef i(e): e.x = 1\n"
    tests = [
        "assert f(Color.RED) is Color.BLUE",
        "assert isinstance(g(Pair(1, 2)), Pair) and g(Pair(1, 2)) == Pair(2, 2)",
    ]
    tests += ["assert h(2) == {Point(0), Point(1)}", "e = Empty()", "i(e)", "assert e.x == 1"]
    assert passes_asserts(program, *tests, prompt=prompt)
    assert not passes_asserts(program, "assert f(Color.RED) is Color.RED", prompt=prompt)


def test_exceptions_of_the_prompt():
    prompt = "class Poor(ValueError):\n    pass\n\n\nclass Short(Exception):\n    def __init__(self, by):\n"
    prompt += "        super().__init__(f'{by} are missing')\n        self.by = by\n\n\n"
    program = "def f(x):\n    if x < 0: raise Poor('bad')\n    raise Short(x)\n"
    tests = ["try:\n    f(-1)\nexcept Poor as e:\n    assert str(e) == 'bad'\nelse:\n    raise OSError"]
    tests += ["try:\n    f(5)\nexcept Short as e:\n    assert e.by == 5 and '5' in str(e)\nelse:\n    raise OSError"]
    assert passes_asserts(program, *tests, prompt=prompt)


def test_helpers_of_the_prompt_are_the_prompts():
    prompt = "def close(a, b):\n    return abs(a - b) < 0.1\n\n\ndef root(x):\n    '''Square root.'''\n"
    check = "def check(candidate):\n    assert close(candidate(9.0), 3.0)\n"
    assert run_tests(prompt, "    return x ** 0.5\n", check, "root").passed
    assert not run_tests(prompt, "    return 0\ndef close(a, b):\n    return True\n", check, "root").passed
    # Asserts that call the function by its name find the program's, not the prompt's empty one.
    assert run_tests(prompt, "    return x ** 0.5\n", "assert root(9.0) == 3.0").passed
    assert run_tests("def root(x):\n", "    return x ** 0.5\n", "assert root(9.0) == 3.0").passed
    assert run_tests("def root(x):\n    y = x\n", "    return y ** 0.5\n", "assert root(9.0) == 3.0").passed


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
        ("import os\ndef f(): os.kill(os.getpid(), 40)", Outcome.CRASH, "signal 40"),
        (
            "class E" + "x" * 9000 + "(BaseException): pass\ndef f(): raise E" + "x" * 9000,
            Outcome.FAILED,
            "exit code 1",
        ),
        ("def f(): return bytearray(1 << 40)", Outcome.MEMORY, "out of memory"),
        ("def f():\n    while True: pass", Outcome.TIMEOUT, "more than 0.6 seconds"),
    ],
)
def test_reasons(program, outcome, reason):
    verdict = run_tests("", program, "assert f() == 1, 'not one'", timeout=0.6 if outcome is Outcome.TIMEOUT else 20.0)
    assert verdict.outcome is outcome and reason in verdict.reason, verdict


def test_exceptions_that_tests_expect():
    program = "def f(x):\n    if x: raise ValueError('bad')\n    raise KeyError(x)\n"
    tests = "for x, kind in ((1, ValueError), (0, KeyError)):\n    try:\n        f(x)\n    except kind as error:\n"
    tests += "        assert 'bad' in str(error) or not x\n    else:\n        assert False\n"
    assert passes_asserts(program, tests)
    assert not passes_asserts("def f(x): raise SystemExit\n", "try:\n    f(1)\nexcept:\n    pass")


def test_words_of_exceptions_cross():
    program = (
        "class E(ValueError): pass\ndef f(x):\n    if x == 0: return {}['k']\n    if x == 1: return b'\\xff'.decode()\n"
    )
    program += "    if x == 2: raise E('own')\n    raise TypeError('t', 3)\n"
    tests = "for k, kind, found in ((0, KeyError, ('k',)), (2, ValueError, ('own',)), (3, TypeError, ('t', 3))):\n"
    tests += "    try:\n        f(k)\n    except kind as error:\n        assert error.args == found\n    else:\n"
    tests += "        raise SystemError\n"
    tests += "try:\n    f(1)\nexcept UnicodeDecodeError as error:\n    assert error.start == 0\n"
    assert passes_asserts(program, tests)


def test_annotations_are_as_written():
    assert passes_asserts("def f(x: int): return f.__annotations__['x'] is int\n", "assert f(1)")
    assert passes_asserts("from __future__ import annotations\ndef f(x: Later): return x\n", "assert f(1)")


def test_functions_named_as_pythons_own():
    assert passes_asserts("def sum(a, b):\n    return a + b\n", "assert sum(10, 15) == 25", "assert sum(1, 2) == 3")
    assert not passes_asserts("def f(x): return 1\nabs = len = lambda x: 0\n", "assert abs(f(2) - 4) < 1e-6")
    check = "def check(candidate):\n    assert candidate(2) == 4\n"
    assert run_tests("", "def check(n): return n * n\n", check, "check").passed
    assert not run_tests("", "def check(n): return True\n", check, "check").passed


def test_tests_that_are_at_fault():
    check = "def check(candidate):\n    assert candidate(2) == 4\n"
    for tests in ("", "# assert f(1) == 1", "x = 1", "assert len([1]) == len([2]) and sum([1]) == 1", check):
        assert "name nothing" in run_tests("", "def f(): pass", tests).reason
    assert "no check(candidate)" in run_tests("", "def f(): pass\ndef check(c): pass", "check(f)", "f").reason
    expects = "try:\n    f(object())\nexcept TypeError:\n    pass"
    assert "cannot cross" in run_tests("", "def f(x): return 1", expects).reason
    assert run_tests("", "def f(): pass", "assert (", "f").reason.startswith("the tests are no program")
    assert "no check(candidate)" in run_tests("", "def f(): pass", "x = 1", "f").reason
    assert run_tests("", "def f(): pass", "import sys; sys.exit(0)").outcome is Outcome.FAILED
    assert run_tests("", "def f(): pass", "import os; os._exit(0)").outcome is Outcome.CRASH
    assert run_tests("", "def f(): pass", "while True: pass", timeout=0.5).outcome is Outcome.TIMEOUT
    assert "cannot cross" in run_tests("", "def f(x): pass", "class A: pass\nf(A())").reason
