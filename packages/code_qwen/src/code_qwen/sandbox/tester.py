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
import functools
import importlib
import json
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from code_qwen.sandbox import wire
from code_qwen.sandbox.outcome import Outcome, Submission
from code_qwen.sandbox.write_back import is_safe_to_write_back, write_back

STARTED = "started"
PROGRAM_ENDED = "gone"


class ProgramEnded(BaseException):
    """The program has ended, or its answers are none. Not for a test's `except Exception`."""


class NotTestable(Exception):
    """The tests cannot be run on this program: an outcome and a reason."""


class Remote:
    """An object of the program's.

    Comparisons and arithmetic with values of the tests are refused: they would hand the expected value to the program
    and take its word. Two objects of the program's may be compared: it could have returned any two plain values.
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
        if name.startswith("__") and name.endswith("__") and name not in ("__name__", "__qualname__", "__doc__"):
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

    def __contains__(self, item: Any) -> bool:
        return any(one is item or one == item for one in self)

    def __instancecheck__(self, thing: Any) -> bool:
        return type(thing) is Remote and self._channel.ask("operation", "isinstance", thing, self) is True

    @property
    def __class__(self) -> type:
        return _ITERATORS.get(self._kind, Remote)

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

    __abs__ = __neg__ = __round__ = _refuse
    __hash__ = object.__hash__


def _operator(name: str) -> Any:
    def operate(self: Remote, other: Any) -> Any:
        return self._ask(name, other) if type(other) is Remote else self._refuse()

    return operate


for _name in wire.OPERATORS:
    setattr(Remote, f"__{_name.strip('_')}__", _operator(_name))
    if _name not in ("eq", "ne", "lt", "le", "gt", "ge"):
        setattr(Remote, f"__r{_name.strip('_')}__", Remote._refuse)
# What a test may ask of an answer that is no list.
_ITERATORS = {kind.__name__: kind for kind in (types.GeneratorType, map, filter, zip, enumerate, reversed)}


class Channel:
    """Requests to the program and its answers."""

    def __init__(self, incoming: int, outgoing: int):
        self._incoming = incoming
        self._outgoing = outgoing
        self._functions: list[Any] = []  # of the tests, that the program was given
        self._remotes: dict[int, Remote] = {}  # an object of the program's is the same one each time
        self.writes_back: Callable[[], bool] = bool  # of arguments, also where a program returns something
        self.shared: dict[str, type] = {}  # classes that the prompt defines, which both sides have
        self.has_ended = False

    def wait_ready(self) -> None:
        if self._receive() != ["ready"]:
            self._end("it does not start")

    def call(self, function: Remote, arguments: tuple, named: dict) -> Any:
        try:
            value, *changed = self._exchange("call", function, arguments, named)
        except StopIteration as error:  # it would quietly end a map() of the tests
            raise RuntimeError(f"StopIteration: {error}") from None
        if changed and (value is None or self.writes_back()):
            write_back([arguments, named], changed)
        return value

    def ask(self, *request: Any) -> Any:
        try:
            return self._exchange(*request)[0]
        except StopIteration as error:
            if request[1] == "next":
                raise
            raise RuntimeError(f"StopIteration: {error}") from None

    def _exchange(self, *request: Any) -> list:
        self._send(request)
        while True:
            match self._receive():
                case ["returned", value, *rest]:
                    return [value, *rest]
                case ["raised", list(names), str(text), tuple(arguments), dict(members)]:
                    raise self._exception([str(name)[:100] for name in names[:100]], text, arguments, members)
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
            is_plain = all(type(value) in (str, int) for value in error.args)
            self._send(("raised", name, error.args if is_plain else (str(error),)))
        else:
            self._send(("returned", value))

    def _send(self, request: tuple) -> None:
        if self.has_ended:
            raise ProgramEnded
        try:
            data = wire.encode(request, self._handle, self._is_shared)
        except wire.EncodeError as error:  # no TypeError that the tests may expect of the program
            self._end(f"TypeError: {error}")
        try:
            wire.send(self._outgoing, data)
        except OSError:
            self._end("")

    def _receive(self) -> list:
        try:
            data = wire.receive(self._incoming)
            if data is not None:
                message = wire.Decoder(data, self._thing, self.shared.__getitem__).value()
                if type(message) is tuple:
                    return list(message)
        except wire.DecodeError:
            pass
        return self._end("")

    def _end(self, why: str) -> Any:
        self.has_ended = True
        raise ProgramEnded(why[:300])

    def _exception(self, names: list[str], text: str, arguments: tuple, members: dict) -> Exception:
        """The first of its classes that is here too, with the same words if possible."""
        found = None
        for name in names:
            kind = self.shared.get(name, wire.EXCEPTIONS.get(name))
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                continue
            for values in (arguments, (text,)):
                with contextlib.suppress(Exception):
                    error = kind.__new__(kind, *values)
                    if name not in self.shared:
                        error.__init__(*values)
                    vars(error).update(members, theirs=names[0])
                    found = found or error
                    words = str(error)
                    if words[: len(text)] == text or (words and text.startswith(words)):
                        return error
        return found or self._end(f"it ended with {names[0] if names else 'an exception'} before its tests did")

    def _is_shared(self, value: Any) -> bool:
        return self.shared.get(type(value).__name__) is type(value)

    def _handle(self, value: Any) -> bytes:
        if type(value) is Remote:
            return wire.encode_handle(b"G", value._number, "")
        is_iterator = hasattr(type(value), "__next__")
        if not is_iterator and not callable(value):
            raise wire.EncodeError(f"the tests give the program a {type(value).__name__}, which cannot cross")
        self._functions.append(value.__next__ if is_iterator else value)
        return wire.encode_handle(b"H", len(self._functions) - 1, "iterator" if is_iterator else "")

    def _thing(self, tag: bytes, number: int, kind: str) -> Any:
        if tag != b"H":
            raise wire.DecodeError("a handle of ours")
        return self._remotes.setdefault(number, Remote(self, number, kind))


def examine(job: Submission, channel: Channel) -> tuple[Outcome | str, str]:
    """Outcome and reason; `PROGRAM_ENDED` for a program that ended before its tests did."""
    try:
        namespace = _prompt_names(job)
        channel.shared = {
            name: value
            for name, value in namespace.items()
            if isinstance(value, type) and value.__module__ == "tests" and value.__name__ == name
        }
        channel.ask("load", job.prompt + job.completion, sorted(channel.shared))
        _run_tests(job, channel, namespace)
    except ProgramEnded as gone:
        return PROGRAM_ENDED, str(gone)
    except NotTestable as stop:
        return Outcome.FAILED, str(stop)
    except MemoryError:
        return Outcome.MEMORY, "out of memory"
    except BaseException as error:
        return Outcome.FAILED, _reason(error, job.test)
    if channel.has_ended:  # a bare `except:` of the tests went over it
        return PROGRAM_ENDED, ""
    return Outcome.PASSED, "all tests passed"


def _prompt_names(job: Submission) -> dict[str, Any]:
    """What the prompt defines, as far as it is a program by itself. Tests find its helpers here rather than in the
    program, which could have replaced them. What the completion is to fill in is left to the program.
    """
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    namespace = vars(module)
    for text in (job.prompt, job.prompt.rstrip() + "\n    pass\n", _before_last_definition(job.prompt)):
        try:
            tree = ast.parse(text)
            code = compile(tree, "prompt", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        with contextlib.suppress(Exception):
            exec(code, namespace)
        for name in _unfinished(tree, job.completion):
            namespace.pop(name, None)
        break
    return namespace


def _unfinished(tree: ast.Module, completion: str) -> list[str]:
    """Definitions without a body, and the one that the completion goes on with."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    names = [node.name for node in tree.body if isinstance(node, functions) and all(map(_is_filler, node.body))]
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and all(map(_is_filler, node.body))]
    # A class without a body is often all that is wanted of one (an exception): unless the completion has another.
    names += [name for name in classes if re.search(rf"^class[ \t]+{name}\b", completion, re.MULTILINE)]
    first = next((line for line in completion.splitlines() if line.strip()), "")
    if first[:1].isspace() and tree.body and isinstance(tree.body[-1], functions | ast.ClassDef):
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


def _run_tests(job: Submission, channel: Channel, namespace: dict[str, Any]) -> None:
    try:
        tree = ast.parse(job.test)
        code = compile(tree, "test", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise NotTestable(f"the tests are no program: {error}") from None
    namespace.pop(job.entry_point, None)
    if job.entry_point:
        try:
            namespace[job.entry_point] = channel.ask("global", job.entry_point)
        except KeyError:
            raise NotTestable(f"the program does not define {job.entry_point}") from None
    nodes = list(ast.walk(tree))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    used = {node.id for node in nodes if isinstance(node, ast.Name)} - own
    used = {name for name in used if not hasattr(builtins, name)}
    is_empty = not used and not job.entry_point
    own_names = {name for name in called if hasattr(builtins, name)}
    if is_empty and len(own_names) == 1:
        used, is_empty = own_names, False  # a function with the name of one of Python's is what is tested
    asked = {job.entry_point}
    for name in sorted(used - set(namespace)):
        if name in sys.stdlib_module_names and name not in called:
            with contextlib.suppress(ImportError):
                namespace[name] = importlib.import_module(name)
                continue
        with contextlib.suppress(KeyError):
            namespace[name] = channel.ask("global", name)
            asked.add(name)
    channel.writes_back = functools.cache(lambda: is_safe_to_write_back(tree, asked))
    candidate = namespace.get(job.entry_point)
    exec(code, namespace)
    if is_empty:
        raise NotTestable("the tests name nothing of the program's")
    if job.entry_point:
        if not callable(namespace.get("check")) or type(namespace["check"]) is Remote:
            raise NotTestable("the tests define no check(candidate)")
        namespace["check"](candidate)


def _reason(error: BaseException, test: str) -> str:
    name = getattr(error, "theirs", type(error).__name__)
    try:
        text = " ".join(str(error).split())
    except BaseException:  # a value in it that has no text, or is the program's
        text = ""
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "test":
            line = trace.tb_lineno
        trace = trace.tb_next
    lines = test.splitlines()
    at = f" at `{lines[line - 1].strip()[:100]}`" if line is not None and 0 < line <= len(lines) else ""
    return f"{name}: {text[:200]}{at}" if text else f"{name}{at}"


def main(job: Submission, incoming: int, outgoing: int, report: int) -> None:
    """The tester's process. Messages to the supervisor are JSON, one a line."""

    def say(*words: str) -> None:
        os.write(report, json.dumps(words).encode() + b"\n")

    channel = Channel(incoming, outgoing)
    try:
        channel.wait_ready()
    except ProgramEnded:
        say(PROGRAM_ENDED, "the interpreter did not start")
        return
    say(STARTED)
    say(*examine(job, channel))
