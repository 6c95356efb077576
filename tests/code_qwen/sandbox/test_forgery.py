"""No program passes its tests but by right answers, however it is confined.

The task of all these programs: `f(n)` is the list of the first n squares.
"""

# ruff: noqa: E501 (programs within programs)

import pytest

from code_qwen.sandbox import Outcome, Submission, run_tests, run_tests_many

PROMPT = '''from typing import List


def helper(x: int) -> int:
    return x * x


def f(n: int) -> List[int]:
    """The first n squares.
    >>> f(3)
    [0, 1, 4]
    """
'''
RIGHT = "    return [helper(k) for k in range(n)]\n"
TEST = """
import random

def check(candidate):
    assert candidate(0) == []
    assert candidate(3) == [0, 1, 4]
    assert candidate(5)[-1] == helper(4)
    n = random.randint(6, 40)
    assert candidate(n) == [k ** 2 for k in range(n)], n
    assert len(candidate(n)) == n and 9 in candidate(n)
    assert all(map(lambda k: candidate(k)[-1:] == ([(k - 1) ** 2] if k else []), range(9)))
"""

ALWAYS = """
class Always:
    def yes(self, *a, **k): return True
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = yes
    def it(self, *a, **k): return self
    __getitem__ = __getattr__ = __call__ = __add__ = __radd__ = __sub__ = __rsub__ = __abs__ = __neg__ = it
    __mul__ = __rmul__ = __mod__ = __floordiv__ = __truediv__ = __round__ = __enter__ = __next__ = it
    def __hash__(self): return 1
    def __len__(self): return 3
    def __iter__(self): return iter([0, 1, 4])
    def __instancecheck__(self, other): return True
"""

# Bodies of f, and whole programs where they begin at the margin.
FORGERIES = {
    # ends early, and well
    "os._exit": "    import os; os._exit(0)\n",
    "sys.exit": "    import sys; sys.exit(0)\n",
    "exit": "    exit(0)\n",
    "quit": "    quit()\n",
    "SystemExit": "    raise SystemExit(0)\n",
    "KeyboardInterrupt": "    raise KeyboardInterrupt\n",
    "GeneratorExit": "    raise GeneratorExit\n",
    "own BaseException": "    raise type('E', (BaseException,), {})()\n",
    "exit while loading": "    pass\nimport os; os._exit(0)\n",
    "sys.exit while loading": "    pass\nimport sys; sys.exit()\n",
    "exec of true": "    import os; os.execv('/bin/true', ['true'])\n",
    "exec of python": "    import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'print(1)'])\n",
    "fork, and the child goes on": "    import os\n    if os.fork(): os._exit(0)\n    return []\n",
    "exit in a thread": "    import threading, os; threading.Thread(target=os._exit, args=(0,)).start(); return None\n",
    "atexit": "    return None\nimport atexit, os; atexit.register(os._exit, 0)\n",
    "exit by a signal handler": (
        "    import signal, os\n    signal.signal(signal.SIGALRM, lambda *a: os._exit(0)); signal.setitimer(0, .01)\n"
        "    signal.pause()\n"
    ),
    "exit in a destructor": "    class D:\n        def __del__(self): import os; os._exit(0)\n    D(); return None\n",
    "StopIteration": "    raise StopIteration\n",
    "StopIteration by heir": "    raise type('S', (StopIteration,), {})\n",
    "AssertionError": "    raise AssertionError\n",
    # answers that agree with everything
    "equal to everything": ALWAYS + "def f(n): return Always()\n",
    "a list equal to everything": "    class L(list):\n        def __eq__(s, o): return True\n        def __getitem__(s, k):"
    " return s\n        def __len__(s): return n\n        def __contains__(s, x): return True\n    return L()\n",
    "an int equal to everything": "    class I(int):\n        def __eq__(s, o): return True\n    return [I()] * n\n",
    "a str heir": "    class S(str):\n        __eq__ = lambda s, o: True\n    return S('x')\n",
    "a dict heir": "    class D(dict):\n        def __eq__(s, o): return True\n        def __missing__(s, k): return s\n"
    "    return D()\n",
    "a tuple heir": "    class T(tuple):\n        __eq__ = lambda s, o: True\n        __len__ = lambda s: n\n"
    "    return T([1])\n",
    "a float heir": "    class F(float):\n        __eq__ = lambda s, o: True\n    return F()\n",
    "items equal to everything": ALWAYS + "def f(n): return [Always() for _ in range(n)]\n",
    "a named tuple heir": "    import collections\n    class N(collections.namedtuple('N', 'a b')):\n        __eq__ = lambda"
    " s, o: True\n    return N(1, 2)\n",
    "metaclass": "    class M(type):\n        def __eq__(c, o): return True\n        def __hash__(c): return 1\n"
    "    return M('C', (), {})\n",
    "mock.ANY": "    from unittest import mock; return mock.ANY\n",
    "mock": "    from unittest import mock; return mock.MagicMock(__eq__=lambda s, o: True)\n",
    "a generator": "    return (x for x in [0, 1, 4])\n",
    "itself": "    return f\n",
    "NaN": "    return float('nan')\n",
    "NotImplemented": "    return NotImplemented\n",
    "a proxy that computes": "    class P:\n        def __getattribute__(s, n): return lambda *a: True\n    return P()\n",
    "false __class__": ALWAYS + "class C(Always):\n    __class__ = list\ndef f(n): return C()\n",
    # the test's tools
    "builtins": "    return None\nimport builtins\nbuiltins.len = lambda x: 0\nbuiltins.all = lambda x: True\n"
    "builtins.AssertionError = Exception\nbuiltins.isinstance = lambda *a: True\nbuiltins.map = lambda *a: []\n",
    "raise nothing": "    return None\nimport builtins\nclass A(Exception):\n    def __new__(c, *a): import os; os._exit(0)\n"
    "builtins.AssertionError = A\n",
    "check": "    return None\ndef check(c): pass\n",
    "check again, later": "    globals()['check'] = lambda c: None; return None\n",
    "helper": "    return [7] * n\ndef helper(x): return 7\n",
    "python -O": "    return None\nimport sys\nsys.flags = type('F', (), {'optimize': 2})()\n__debug__x = False\n",
    "sys.modules": "    return None\nimport sys, types\nr = types.ModuleType('random'); r.randint = lambda a, b: 0\n"
    "for name in list(sys.modules):\n    if name not in ('sys',): sys.modules[name] = r\n",
    "random": "    return [k * k for k in range(n)] if n < 6 else None\nimport random\nrandom.randint = lambda a, b: 0\n",
    "import hook": "    return None\nimport builtins\nbuiltins.__import__ = lambda *a, **k: __import__('math')\n",
    "exec and compile": "    return None\nimport builtins\nbuiltins.exec = lambda *a: None\n"
    "builtins.compile = lambda *a, **k: None\n",
    "trace": "    return None\nimport sys\ndef t(frame, event, arg):\n    if frame.f_code.co_name == 'check': "
    "frame.f_lineno = frame.f_code.co_firstlineno + 9\n    return t\nsys.settrace(t)\n",
    "profile": "    return None\nimport sys, os\nsys.setprofile(lambda f, e, a: os._exit(0) if e == 'return' else None)\n",
    "excepthook": "    return None\nimport sys, os\nsys.excepthook = lambda *a: os._exit(0)\n",
    "frames": "    import sys\n    frame = sys._getframe()\n    while frame:\n        for name in list(frame.f_locals):\n"
    "            frame.f_globals[name] = lambda *a, **k: True\n        frame.f_globals['check'] = lambda c: None\n"
    "        frame = frame.f_back\n    return None\n",
    "expected values by frames": "    import sys\n    frame = sys._getframe()\n    while frame.f_back:\n        frame = "
    "frame.f_back\n        for c in frame.f_code.co_consts:\n            if isinstance(c, (list, tuple)) and len(c) == n: "
    "return list(c)\n    return None\n",
    "gc": "    import gc\n    for thing in gc.get_objects():\n        if isinstance(thing, dict) and 'check' in thing: "
    "thing['check'] = lambda c: None\n        if type(thing).__name__ == 'function' and thing.__name__ == 'check':\n"
    "            thing.__code__ = (lambda c: None).__code__\n    return None\n",
    "expected values by gc": "    import gc\n    for thing in gc.get_objects():\n        if isinstance(thing, list) and"
    " len(thing) == n and thing[:1] == [0]: return thing\n    return None\n",
    "the tests' text": "    import glob\n    for path in glob.glob('/proc/*/[cm]*') + glob.glob('*'):\n        try: text = open(path, 'rb').read(1 << 20)\n        except OSError: continue\n"
    "        if b'def check' in text: return [k * k for k in range(n)]\n    return None\n",
    "ctypes": "    import ctypes\n    ctypes.pythonapi.PyErr_SetNone.restype = None\n"
    "    one = ctypes.cast(id(1) + 24, ctypes.POINTER(ctypes.c_int)); one[0] = 0\n    return [0] * n\n",
    "ctypes: list.__eq__": "    import ctypes\n    ctypes.memset(id(list) + 200, 0, 8)\n    return None\n",
    # the wire
    "wire: forged results": "    import struct, os\n    for fd in range(0, 20):\n        for text in (b'passed', b'[\"passed\","
    " \"\"]\\n', b'{\"outcome\": \"passed\"}\\n', struct.pack('=I', 7) + b't' + struct.pack('=I', 1) + b'T', b'\\0' * 64):\n"
    "            try: os.write(fd, text)\n            except OSError: pass\n    return None\n",
    "wire: says that all passed, and ends": "    import os\n    for fd in range(0, 20):\n        try: os.write(fd, "
    'b\'["started"]\\n["passed", "all tests passed"]\\n\')\n        except OSError: pass\n    os._exit(0)\n',
    "wire: patched": "    return None\nimport sys\nw = sys.modules['wire']\nw.encode = lambda *a: b'T'\n",
    "wire: a truth for every answer": "    return None\nimport sys\nw = sys.modules['wire']\nold = w.encode\n"
    "w.encode = lambda m, *h: old(('returned', True) if m[1:] == (None,) else m, *h)\n",
    "wire: endless": "    import os\n    while True: os.write(4, b'\\xff' * 4096)\n",
    "wire: the arguments as well": "    return None\nimport sys\nw = sys.modules['wire']\nold = w.encode\n"
    "w.encode = lambda m, *h: old(('returned', [], ([],)) if m[1:] == (None,) else m, *h)\n",
    "wire: answers in advance": "    return None\nimport sys\nw = sys.modules['wire']\n"
    "for _ in range(99): w.send(4, w.encode(('returned', True)))\n",
    "wire: handles": "    return None\nimport sys\nw = sys.modules['wire']\n"
    "w.encode = lambda m, *h: b't\\x02\\0\\0\\0s\\x08\\0\\0\\0returned' + w.encode_handle(b'G', 0, 'x')\n",
    "wire: callbacks": "    return None\nimport sys\nw = sys.modules['wire']\nold = w.encode\n"
    "w.encode = lambda m, *h: old(('callback', 0, (), {}))\n",
    "wire: deep": "    return None\nimport sys\nw = sys.modules['wire']\n"
    "w.encode = lambda m, *h: b't\\x01\\0\\0\\0' * 100000 + b'N'\n",
    "wire: closed": "    import os\n    for fd in range(64):\n        try: os.close(fd)\n        except OSError: pass\n",
    "pickle and json": "    return None\nimport json, pickle\njson.dumps = json.loads = pickle.dumps = pickle.loads = "
    "lambda *a, **k: True\n",
    # outputs that look like a verdict
    "stdout": "    print('OK'); print('passed'); print('{\"passed\": true}'); return None\n",
    "stderr": "    import sys; sys.stderr.write('all tests passed\\n'); return None\n",
    "files": "    import os\n    for name in ('result', 'result.json', 'verdict', 'passed'):\n        open(name, 'w').write("
    "'passed')\n    return None\n",
    # arguments
    "changes its argument": "    n = None; return n\n",
    "recursion": "    return f(n)\n",
    "deep recursion in C": "    import sys; sys.setrecursionlimit(10**9)\n    def g(): return [*map(lambda _: g(), [1])]\n"
    "    return g()\n",
    "a deep list": "    x = []\n    for _ in range(10**5): x = [x]\n    return x\n",
    "a list of itself": "    x = []; x.append(x); return x\n",
    "huge": "    return 'x' * (60 << 20)\n",
    "a huge number": "    return 1 << (1 << 30)\n",
    "an endless answer": "    while True: yield 0\n",
    "no syntax": "    return [\n",
    "null bytes": "    return 1\0\n",
    "surrogates": "    return '\ud800'\n",
    "no function": "    pass\ndel f\n",
    "another type": "    pass\nf = 5\n",
    "f is a class": "    pass\nclass f(list):\n    def __init__(s, n): pass\n    def __eq__(s, o): return True\n",
    "nothing": "",
    "pass": "    pass\n",
}
SLOW = {  # run into the time limit
    "sleeps": "    import time; time.sleep(1000)\n",
    "loops": "    while True: pass\n",
    "sleeps with signals blocked": "    import signal, time\n    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
    "    time.sleep(1000)\n",
    "stops itself": "    import os, signal; os.kill(os.getpid(), signal.SIGSTOP)\n",
    "cancels alarms": "    import signal, time\n    signal.alarm(0); signal.setitimer(signal.ITIMER_REAL, 0)\n"
    "    signal.signal(signal.SIGALRM, signal.SIG_IGN); signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
    "    while True: pass\n",
    "half a message": "    import os, time; os.write(4, b'\\x10\\0'); time.sleep(1000)\n",
    "loops while loading": "    pass\nwhile True: pass\n",
    "a hash that loops": "    import threading\n    lock = threading.Lock(); lock.acquire(); lock.acquire()\n",
}


def job(text: str, timeout: float = 2.0) -> Submission:
    """`text`: the body of f, or from its beginning at the margin a whole program."""
    return Submission(PROMPT, text, TEST, "f", timeout)


@pytest.fixture(scope="module")
def verdicts():
    """Of each tier, by name of program."""
    found = {}

    def of(tier: str) -> dict:
        if tier not in found:
            jobs = [job(text) for text in FORGERIES.values()] + [job(text, 0.5) for text in SLOW.values()]
            found[tier] = dict(zip((*FORGERIES, *SLOW), run_tests_many(jobs, workers=4), strict=True))
        return found[tier]

    return of


STOPS = "class S:\n    def stop(self, *a): raise StopIteration\n    __getitem__ = __len__ = __bool__ = __int__ = __str__ = __iter__ = stop\n"


@pytest.mark.parametrize(
    "claim", ["f(k)[0] == k", "len(f(k)) == k", "not f(k)", "int(f(k)) == k", "str(f(k)) == 'k'", "f(k).real"]
)
def test_the_end_of_a_map_is_the_tests_own(claim):
    """StopIteration out of a value's methods would end it quietly."""
    program = STOPS + "    def __getattr__(self, name): raise StopIteration\ndef f(k): return S()\n"
    assert not run_tests("", program, f"assert all(map(lambda k: {claim}, range(9)))").passed


def test_tests_that_swallow(tier):
    """A value that the tests cannot hand over is no TypeError of the program's."""
    tests = "for bad in (object(), ...):\n    try:\n        f(bad)\n    except TypeError:\n        continue\n    assert False"
    assert not run_tests("", "def f(x): return 1\n", tests).passed


def test_the_task_can_be_solved(tier):
    assert run_tests(PROMPT, RIGHT, TEST, "f").outcome is Outcome.PASSED
    whole = "def f(n):\n    found = []\n    for k in range(n):\n        found.append(k * k)\n    return found\n"
    assert run_tests(PROMPT, "\n" + whole, TEST, "f").outcome is Outcome.PASSED


# The strongest and the weakest here; what lies between in the long run.
SLOW_TIERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("landlock", "seccomp")]
TIERS = ["namespaces", "bare", *SLOW_TIERS]


@pytest.mark.parametrize("tier_name", TIERS, indirect=True)
@pytest.mark.parametrize("name", FORGERIES)
def test_forgery(tier, tier_name, verdicts, name):
    verdict = verdicts(tier_name)[name]
    assert not verdict.passed, verdict


@pytest.mark.parametrize("tier_name", TIERS, indirect=True)
@pytest.mark.parametrize("name", SLOW)
def test_time_runs_out(tier, tier_name, verdicts, name):
    verdict = verdicts(tier_name)[name]
    assert verdict.outcome is Outcome.TIMEOUT and 0.5 <= verdict.wall_seconds < 30, verdict
