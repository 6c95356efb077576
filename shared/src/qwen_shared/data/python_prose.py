"""The prose of Python modules: docstrings and block comments."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterator

from qwen_shared.text import replace_lone_surrogates

_COMMENT_MIN_LINES, _COMMENT_MIN_CHARS = 2, 40


def module_prose(source: bytes, seen: set[str]) -> str:
    """Docstrings and block comments in source order, joined by blank lines; "" if the module does not parse.

    Leaves out texts in `seen` (licence headers, copied docstrings) and adds new ones to it.
    """
    try:
        parts = [*_docstrings(ast.parse(source)), *_comments(source)]
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError):
        return ""
    kept = []
    for _, part in sorted(parts):
        text = replace_lone_surrogates(part)
        if text not in seen and _is_prose(text):
            seen.add(text)
            kept.append(text)
    return "\n\n".join(kept)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=True)
            if text:
                yield node.body[0].lineno, text.strip()


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """The node and every statement below it. Expressions hold no definitions, and are most of a tree."""
    yield node
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, field, ()):
            if not isinstance(child, ast.Expr):
                yield from _statements(child)


def _comments(source: bytes) -> Iterator[tuple[int, str]]:
    """Blocks of comments on lines of their own, in one column."""
    block: list[str] = []
    start = column = last = -1
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type != tokenize.COMMENT or not token.line.lstrip().startswith("#"):
            continue
        line, at = token.start
        if block and (line != last + 1 or at != column):
            yield from _block(start, block)
            block = []
        if not block:
            start, column = line, at
        block.append(token.string)
        last = line
    if block:
        yield from _block(start, block)


# Comments for programs, and rulers, which have no words.
_DIRECTIVE = re.compile(r"#!|#+\s*(-\*-|type:|pragma|noqa|vim?:|fmt:)|\W*$")


def _block(start: int, lines: list[str]) -> Iterator[tuple[int, str]]:
    # A ruler becomes a blank line.
    words = ["" if _DIRECTIVE.match(line) else line.lstrip("#").rstrip() for line in lines]
    text = inspect.cleandoc("\n" + "\n".join(words)).strip()
    long_enough = len(text) >= _COMMENT_MIN_CHARS or sum(map(bool, words)) >= _COMMENT_MIN_LINES
    if long_enough and not _is_code(text):
        yield start, text


def _is_code(text: str) -> bool:
    """Commented-out code: it parses as more than bare names and constants."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return not all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Name | ast.Constant) for s in body)


def _is_prose(text: str) -> bool:
    """At least four words; at least 60 % of the characters are letters or spaces."""
    letters = sum(c.isalpha() or c.isspace() for c in text)
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= 4 and letters >= 0.6 * len(text)
