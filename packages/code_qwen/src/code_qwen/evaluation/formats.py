"""How the benchmarks put their problems into words, and where a base model's answer to them ends."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence

# A function is over where the next thing begins at the margin (Chen et al. 2021). A base model would go on for ever.
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
MBPP_STOPS = ("[DONE]",)

# What HumanEvalPack puts before an answer when it is run: models were not asked to import these. Its list has numpy
# too, which no solution needs and every program would wait for.
PACK_IMPORTS = """\
import math, re, sys, copy, datetime, itertools, collections, heapq, statistics, functools, hashlib, string
from typing import *
from collections import *
"""


def mbpp(text: str, tests: Sequence[str], code: str | None = None) -> str:
    """MBPP's form (Austin et al. 2021, section 3.1); with `code` it is a worked example, without it asks for one."""
    listed = "\n".join(tests)
    question = f"You are an expert Python programmer, and here is your task: {text}"
    asked = f"{question} Your code should pass these tests:\n\n{listed}\n[BEGIN]\n"
    return asked if code is None else f"{asked}{code}\n[DONE]\n\n"


def mbpp_chat(text: str, tests: Sequence[str]) -> str:
    """The same question to a chat model, which needs no marks around its answer."""
    return mbpp(text, tests).removesuffix("\n[BEGIN]\n")


def synthesize(instruction: str, prompt: str) -> str:
    """HumanEvalPack's HumanEvalSynthesize, and so the report's HumanEval for chat models: words, then the function's
    head."""
    return f"{instruction.strip()}\n\n{prompt}".strip()


def instruction_of(prompt: str, entry_point: str) -> str:
    """The words of HumanEvalSynthesize for a head that has none: signature and docstring, taken out of it.

    Raises ValueError where the head is no Python, or has no such function.
    """
    try:
        nodes = ast.parse(prompt).body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"the prompt is no Python ({error})") from None
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == entry_point]
    if not functions:
        raise ValueError(f"the prompt has no function '{entry_point}'")
    function = functions[-1]
    signature = f"{entry_point}({ast.unparse(function.args)})"
    signature += f" -> {ast.unparse(function.returns)}" if function.returns else ""
    constants = [s.value.value for s in function.body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)]
    docstring = next((value for value in constants if isinstance(value, str)), None)  # one stands after an import
    if docstring is None:
        return f"Complete the Python function `{signature}`."
    return f"Write a Python function `{signature}` to solve the following problem:\n{inspect.cleandoc(docstring)}"


def commented(request: str, entry_point: str) -> str:
    """A request as a base model may meet it in a file: a comment, and the function begins."""
    lines = "".join(f"# {line}".rstrip() + "\n" for line in request.strip().splitlines())
    return f"{lines}def {entry_point}"


def fix(declaration: str, buggy: str, test: str, entry_point: str) -> str:
    """HumanEvalPack's HumanEvalFix, with tests: the function with its bug, its tests, the request, its head again."""
    return f"{declaration}{buggy}\n{test}\nFix bugs in {entry_point}.\n\n{declaration}".strip()
