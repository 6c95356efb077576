"""Runs the tests of a program that lives in another process.

The tests, the values they expect and the verdict are here; the program is not, nor any code of its own. Its names
stand here as proxies, and what they return arrives as plain data of exact types (`wire`). So a program can pass only
by returning what the tests ask for: there is no assert to patch, no comparison to override, no frame to climb, and a
program that ends early leaves its tests unfinished.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import json
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

from code_qwen.sandbox import wire
from code_qwen.sandbox.outcome import Job, Outcome

STARTED = "started"
GONE = "gone"


class Gone(BaseException):
    """The program has ended, or its answers are none. Not for a test's `except Exception`."""


class Stopped(Exception):
    """The tests cannot be run on this program: an outcome and a reason."""


class Remote:
    """An object of the program's.

    Comparisons and arithmetic are refused: they would hand the expected value to the program and take its word.
    """

    __slots__ = ("_channel", "_kind", "_number")

    def __init__(self, channel: Channel, number: int, kind: str):
        for name, value in (("_channel", channel), ("_number", number), ("_kind", kind)):
            object.__setattr__(self, name, value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._channel.call(self, arguments, named)

    def _ask(self, operation: str, *operands: Any) -> Any:
        return self._channel.ask("operation", operation, self, *operands)

    def _ask_for(self, kind: type, operation: str) -> Any:
        value = self._ask(operation)
        if type(value) is not kind:
            raise TypeError(f"{operation}() of {self._kind} gave {type(value).__name__}")
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__") and name not in ("__name__", "__doc__"):
            raise AttributeError(name)
        return self._ask("getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("setattr", name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._ask("getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._ask("setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        self._ask("delitem", key)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._ask("iter")
        if not isinstance(iterator, Remote):
            raise TypeError(f"{self._kind} gave no iterator")
        while True:
            try:
                item = iterator._ask("next")
            except StopIteration:
                return
            yield item

    def __next__(self) -> Any:
        return self._ask("next")

    def __len__(self) -> int:
        return self._ask_for(int, "len")

    def __bool__(self) -> bool:
        return self._ask_for(bool, "bool")

    def __int__(self) -> int:
        return self._ask_for(int, "int")

    def __float__(self) -> float:
        return self._ask_for(float, "float")

    def __str__(self) -> str:
        return self._ask_for(str, "str")

    def __repr__(self) -> str:
        return self._ask_for(str, "repr")

    def _refuse(self, *_: Any) -> Any:
        raise TypeError(f"an object of the program's own type {self._kind} cannot be compared or computed with")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __instancecheck__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __abs__ = __neg__ = __round__ = __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __pow__ = __rpow__ = _refuse
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _refuse
    __hash__ = object.__hash__


class Channel:
    """Requests to the program and its answers."""

    def __init__(self, incoming: int, outgoing: int):
        self._incoming = incoming
        self._outgoing = outgoing
        self._functions: list[Any] = []  # of the tests, that the program was given
        self.shared: dict[str, type] = {}  # classes that the prompt defines, which both sides have
        self.is_gone = False

    def wait_ready(self) -> None:
        if self._receive() != ["ready"]:
            self._end("it does not start")

    def call(self, function: Remote, arguments: tuple, named: dict) -> Any:
        try:
            value, *changed = self._exchange("call", function, arguments, named)
        except StopIteration as error:  # it would quietly end a map() of the tests
            raise RuntimeError(f"StopIteration: {error}") from None
        # Only where nothing is returned: a program that works in place. One that returns a value could otherwise make
        # `f(x) == sorted(x)` true by emptying x.
        if value is None and changed and type(changed[0]) is tuple and len(changed[0]) == len(arguments):
            for ours, theirs in zip(arguments, changed[0], strict=True):
                _write_back(ours, theirs)
        return value

    def ask(self, *request: Any) -> Any:
        return self._exchange(*request)[0]

    def _exchange(self, *request: Any) -> list:
        self._send(request)
        while True:
            match self._receive():
                case ["returned", value, *rest]:
                    return [value, *rest]
                case ["raised", list(names), str(text)]:
                    raise self._exception(names, text)
                case ["callback", int(number), tuple(arguments), dict(named)]:
                    self._call_back(number, arguments, named)
                case _:
                    self._end("it sent no answer")

    def _call_back(self, number: int, arguments: tuple, named: dict) -> None:
        if not 0 <= number < len(self._functions):
            self._end("it called what it was not given")
        try:
            value = self._functions[number](*arguments, **named)
        except Exception as error:
            name = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in wire.EXCEPTIONS), "")
            self._send(("raised", name, str(error)))
        else:
            self._send(("returned", value))

    def _send(self, request: tuple) -> None:
        if self.is_gone:
            raise Gone
        data = wire.encode(request, self._handle)
        try:
            wire.send(self._outgoing, data)
        except OSError:
            self._end("")

    def _receive(self) -> list:
        try:
            data = wire.receive(self._incoming)
            if data is not None:
                message = wire.Decoder(data, self._thing, self._make).value()
                if type(message) is tuple:
                    return list(message)
        except wire.Broken:
            pass
        return self._end("")

    def _end(self, why: str) -> Any:
        self.is_gone = True
        raise Gone(why)

    def _exception(self, names: list, text: str) -> Exception:
        for name in names:
            if isinstance(name, str) and name in wire.EXCEPTIONS:
                return wire.EXCEPTIONS[name](text if names[0] == name else f"{names[0]}: {text}")
        return self._end(f"it ended with {names[0] if names else 'an exception'} before its tests did")

    def _handle(self, value: Any) -> bytes:
        if isinstance(value, Remote):
            return wire.named(b"G", value._number, "")
        kind = type(value)
        if self.shared.get(kind.__name__) is kind and hasattr(value, "__dict__"):
            return wire.record(kind.__name__, vars(value), self._handle)
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType):
            self._functions.append(value)
            return wire.named(b"H", len(self._functions) - 1, "")
        raise wire.Unplain(f"the tests give the program a {kind.__name__}, which cannot cross")

    def _thing(self, tag: bytes, number: int, kind: str) -> Any:
        if tag != b"H":
            raise wire.Broken("a handle of ours")
        return Remote(self, number, kind)

    def _make(self, name: str, members: dict) -> Any:
        kind = self.shared[name]
        thing = object.__new__(kind)
        vars(thing).update({str(key): value for key, value in members.items()})
        return thing


def _write_back(ours: Any, theirs: Any) -> None:
    """Change our argument as the program changed its copy."""
    if type(ours) is not type(theirs):
        return
    if isinstance(ours, list):
        if len(ours) == len(theirs):
            for k, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
                if type(mine) is type(other) and isinstance(mine, list | dict | set):
                    _write_back(mine, other)
                else:
                    ours[k] = other
        else:
            ours[:] = theirs
    elif isinstance(ours, bytearray):
        ours[:] = theirs
    elif isinstance(ours, dict | set):
        ours.clear()
        ours.update(theirs)
    elif type(ours).__name__ == "deque":
        ours.clear()
        ours.extend(theirs)
    elif hasattr(ours, "__dict__"):
        vars(ours).update(vars(theirs))


def examine(job: Job, channel: Channel) -> tuple[Outcome | str, str]:
    """Outcome and reason; `GONE` for a program that ended before its tests did."""
    try:
        namespace = _prompt_names(job)
        channel.shared = {
            name: value
            for name, value in namespace.items()
            if isinstance(value, type) and value.__module__ == "tests" and value.__name__ == name
        }
        channel.ask("load", job.prompt + job.completion, sorted(channel.shared))
        _run_tests(job, channel, namespace)
    except Gone as gone:
        return GONE, str(gone)
    except Stopped as stop:
        return Outcome.FAILED, str(stop)
    except MemoryError:
        return Outcome.MEMORY, "out of memory"
    except BaseException as error:
        return Outcome.FAILED, _reason(error, job.test)
    if channel.is_gone:  # a bare `except:` of the tests went over it
        return GONE, ""
    return Outcome.PASSED, "all tests passed"


def _prompt_names(job: Job) -> dict[str, Any]:
    """What the prompt defines, as far as it is a program by itself. Tests find its helpers here rather than in the
    program, which could have replaced them. What the completion is to fill in is left to the program.
    """
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    namespace = vars(module)
    for text in (job.prompt, job.prompt.rstrip() + "\n    pass\n", _before_last_definition(job.prompt)):
        try:
            tree = ast.parse(text)
            code = compile(tree, "prompt", "exec")
        except (SyntaxError, ValueError):
            continue
        with contextlib.suppress(Exception):
            exec(code, namespace)
        for name in _unfinished(tree, job.completion):
            namespace.pop(name, None)
        break
    return namespace


def _unfinished(tree: ast.Module, completion: str) -> list[str]:
    """Definitions without a body, and the one that the completion goes on with."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    names = [node.name for node in tree.body if isinstance(node, kinds) and all(map(_is_filler, node.body))]
    first = next((line for line in completion.splitlines() if line.strip()), "")
    if first[:1].isspace() and tree.body and isinstance(tree.body[-1], kinds):
        names.append(tree.body[-1].name)
    return names


def _is_filler(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass | ast.Raise) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _before_last_definition(text: str) -> str:
    lines = text.splitlines(keepends=True)
    starts = [k for k, line in enumerate(lines) if line.startswith(("def ", "async def ", "class ", "@"))]
    return "".join(lines[: starts[-1]]) if starts else ""


def _run_tests(job: Job, channel: Channel, namespace: dict[str, Any]) -> None:
    try:
        tree = ast.parse(job.test)
        code = compile(tree, "test", "exec")
    except (SyntaxError, ValueError) as error:
        raise Stopped(f"the tests are no program: {error}") from None
    namespace.pop(job.entry_point, None)
    if job.entry_point:
        try:
            namespace[job.entry_point] = channel.ask("global", job.entry_point)
        except KeyError:
            raise Stopped(f"the program does not define {job.entry_point}") from None
    nodes = list(ast.walk(tree))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    for name in sorted({node.id for node in nodes if isinstance(node, ast.Name)} - own):
        if name in namespace or hasattr(builtins, name):
            continue
        if name in sys.stdlib_module_names and name not in called:
            namespace[name] = importlib.import_module(name)
            continue
        with contextlib.suppress(KeyError):
            namespace[name] = channel.ask("global", name)
    exec(code, namespace)
    if job.entry_point:
        if not callable(namespace.get("check")):
            raise Stopped("the tests define no check(candidate)")
        namespace["check"](namespace[job.entry_point])


def _reason(error: BaseException, test: str) -> str:
    text = " ".join(str(error).split())
    name = type(error).__name__
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "test":
            line = trace.tb_lineno
        trace = trace.tb_next
    lines = test.splitlines()
    at = f" at `{lines[line - 1].strip()[:100]}`" if line is not None and 0 < line <= len(lines) else ""
    return f"{name}: {text[:200]}{at}" if text else f"{name}{at}"


def main(job: Job, incoming: int, outgoing: int, report: int) -> None:
    """The tester's process. Messages to the keeper are JSON, one a line."""

    def say(*words: str) -> None:
        os.write(report, json.dumps(words).encode() + b"\n")

    channel = Channel(incoming, outgoing)
    try:
        channel.wait_ready()
    except Gone:
        say(GONE, "the interpreter did not start")
        return
    say(STARTED)
    say(*examine(job, channel))
