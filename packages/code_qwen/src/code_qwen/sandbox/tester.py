"""Runs the tests of a program that is in another process.

Tests, expected values and verdict are here; the program is not. Its names are proxies (`remote`), its results plain
data of exact types (`wire`). So it can pass only by returning what the tests expect: there is no assert to patch, no
comparison to override and no frame to climb, and a program that ends early leaves its tests unfinished.
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
from typing import Any

from code_qwen.sandbox.outcome import Outcome, Submission
from code_qwen.sandbox.remote import Channel, ProgramEnded, Remote
from code_qwen.sandbox.write_back import is_safe_to_write_back

STARTED = "started"
PROGRAM_ENDED = "ended"


class NotTestable(Exception):
    """The message is the reason."""


def _test(submission: Submission, channel: Channel) -> tuple[Outcome | str, str]:
    """`PROGRAM_ENDED` if the program ended before its tests did."""
    try:
        namespace = _prompt_names(submission)
        channel.shared = {
            name: value
            for name, value in namespace.items()
            if isinstance(value, type) and value.__module__ == "tests" and value.__name__ == name
        }
        channel.ask("load", submission.prompt + submission.completion, sorted(channel.shared))
        _run_tests(submission, channel, namespace)
    except ProgramEnded as gone:
        return PROGRAM_ENDED, str(gone)
    except NotTestable as stop:
        return Outcome.FAILED, str(stop)
    except MemoryError:
        return Outcome.MEMORY, "out of memory"
    except BaseException as error:
        return Outcome.FAILED, _reason(error, submission.test)
    if channel.has_ended:  # a bare `except:` of the tests caught ProgramEnded
        return PROGRAM_ENDED, ""
    return Outcome.PASSED, "all tests passed"


def _prompt_names(submission: Submission) -> dict[str, Any]:
    """Names of the prompt, if it is a program by itself. Tests take its helpers from here, because the program could
    have replaced them. Names that the completion fills in are the program's.
    """
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    namespace = vars(module)
    prompt = submission.prompt
    for text in (prompt, prompt.rstrip() + "\n    pass\n", _before_last_definition(prompt)):
        try:
            tree = ast.parse(text)
            code = compile(tree, "prompt", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        with contextlib.suppress(Exception):
            exec(code, namespace)
        for name in _unfinished(tree, submission.completion):
            namespace.pop(name, None)
        break
    return namespace


def _unfinished(tree: ast.Module, completion: str) -> list[str]:
    """Definitions without a body, and the one that the completion continues."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    names = [node.name for node in tree.body if isinstance(node, functions) and all(map(_is_filler, node.body))]
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and all(map(_is_filler, node.body))]
    # A class without a body is often complete (an exception), unless the completion defines it again.
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


def _run_tests(submission: Submission, channel: Channel, namespace: dict[str, Any]) -> None:
    try:
        tree = ast.parse(submission.test)
        code = compile(tree, "test", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise NotTestable(f"the tests are no program: {error}") from None
    namespace.pop(submission.entry_point, None)
    if submission.entry_point:
        try:
            namespace[submission.entry_point] = channel.ask("global", submission.entry_point)
        except KeyError:
            raise NotTestable(f"the program does not define {submission.entry_point}") from None
    nodes = list(ast.walk(tree))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    used = {node.id for node in nodes if isinstance(node, ast.Name)} - own
    used = {name for name in used if not hasattr(builtins, name)}
    is_empty = not used and not submission.entry_point
    own_names = {name for name in called if hasattr(builtins, name)}
    if is_empty and len(own_names) == 1:
        used, is_empty = own_names, False
    asked = {submission.entry_point}
    for name in sorted(used - set(namespace)):
        if name in sys.stdlib_module_names and name not in called:
            with contextlib.suppress(ImportError):
                namespace[name] = importlib.import_module(name)
                continue
        with contextlib.suppress(KeyError):
            namespace[name] = channel.ask("global", name)
            asked.add(name)
    channel.writes_back = functools.cache(lambda: is_safe_to_write_back(tree, asked))
    candidate = namespace.get(submission.entry_point)
    exec(code, namespace)
    if is_empty:
        raise NotTestable("the tests name nothing of the program's")
    if submission.entry_point:
        if not callable(namespace.get("check")) or type(namespace["check"]) is Remote:
            raise NotTestable("the tests define no check(candidate)")
        namespace["check"](candidate)


def _reason(error: BaseException, test: str) -> str:
    name = getattr(error, "theirs", type(error).__name__)
    try:
        text = " ".join(str(error).split())
    except BaseException:  # a value in it without text, or of the program
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


def main(submission: Submission, incoming: int, outgoing: int, report: int) -> None:

    def say(*words: str) -> None:
        os.write(report, json.dumps(words).encode() + b"\n")

    channel = Channel(incoming, outgoing)
    try:
        channel.wait_ready()
    except ProgramEnded:
        say(PROGRAM_ENDED, "the interpreter did not start")
        return
    say(STARTED)
    say(*_test(submission, channel))
