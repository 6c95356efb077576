"""The benchmarks' prompts, and the texts that end a base model's answer."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence

# A function ends at the next statement at the margin (Chen et al. 2021); a base model would not stop.
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
MBPP_STOPS = ("[DONE]",)

# HumanEvalPack's imports without numpy, which no solution needs and every program would load.
PACK_IMPORTS = """\
import math, re, sys, copy, datetime, itertools, collections, heapq, statistics, functools, hashlib, string
from typing import *
from collections import *
"""


def mbpp(text: str, tests: Sequence[str], code: str | None = None) -> str:
    """MBPP's form (Austin et al. 2021, section 3.1); with `code` it is a worked example."""
    listed = "\n".join(tests)
    question = f"You are an expert Python programmer, and here is your task: {text}"
    asked = f"{question} Your code should pass these tests:\n\n{listed}\n[BEGIN]\n"
    return asked if code is None else f"{asked}{code}\n[DONE]\n\n"


def mbpp_chat(text: str, tests: Sequence[str]) -> str:
    """Without marks around the answer."""
    return mbpp(text, tests).removesuffix("\n[BEGIN]\n")


def synthesize(instruction: str, prompt: str) -> str:
    """HumanEvalPack's HumanEvalSynthesize (the report's HumanEval for chat models): words, then the function's head."""
    return f"{instruction.strip()}\n\n{prompt}".strip()


def instruction_of(prompt: str, entry_point: str) -> str:
    """The words of HumanEvalSynthesize, from a head's signature and docstring. Raises ValueError if the head is no
    Python or has no such function.
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
    """A request as a comment, then the beginning of the function."""
    lines = "".join(f"# {line}".rstrip() + "\n" for line in request.strip().splitlines())
    return f"{lines}def {entry_point}"


def fix(declaration: str, buggy: str, test: str, entry_point: str) -> str:
    """HumanEvalFix of HumanEvalPack: the function with its bug, its tests, the request, its head again."""
    return f"{declaration}{buggy}\n{test}\nFix bugs in {entry_point}.\n\n{declaration}".strip()
