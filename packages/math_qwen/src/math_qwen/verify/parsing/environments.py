r"""Matrices, cases and aligned equations (`\begin` … `\end`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from math_qwen.verify.limits import MATRIX, TooLarge, Unparsable
from math_qwen.verify.parsing.trees import Tree

if TYPE_CHECKING:
    from math_qwen.verify.parsing.expressions import ExpressionParser

_MATRICES = frozenset(["pmatrix", "bmatrix", "matrix", "array", "Bmatrix", "smallmatrix", "vmatrix", "Vmatrix"])
_CONDITION_WORDS = (
    "if", "for", "when", "where", "当", "若", "otherwise", "else", "其他", "其它", "with", "for all", "for any",
)  # fmt: skip
_OTHERWISE = ("otherwise", "else", "其他", "其它", "其余")


def environment(parser: ExpressionParser, name: str) -> Tree:
    r"""After `\begin`. Raises Unparsable or TooLarge."""
    parser.deeper()
    rows: list[list[Tree]] = [[]]
    cells = 0
    while not parser.at("end", name) and not (parser.at("end") and parser.peek.value is None):
        if parser.at("row"):
            parser.take()
            rows.append([])
            continue
        if parser.at("amp"):
            parser.take()
            continue
        if parser.at("end"):
            raise Unparsable("environments do not match")
        if parser.at("sep") and name == "cases":
            parser.take()
            continue
        if parser.at("words") and name == "cases" and rows[-1]:
            word = str(parser.take().value).strip().lower().strip(" ,:")
            if word in _OTHERWISE:
                rows[-1].append(("text", "otherwise"))
            elif word not in _CONDITION_WORDS:
                raise Unparsable("words in a case")
            continue
        if name == "cases":
            entry = parser.relation()
            while parser.at("sep") and rows[-1] and parser.ahead().kind not in ("row", "end", "amp", "words"):
                joint = parser.take().value
                entry = ("or" if joint == "or" else "and", (entry, parser.relation()))
            rows[-1].append(entry)
        else:
            rows[-1].append(parser.items())
        cells += 1
        if cells > MATRIX:
            raise TooLarge("too large a matrix")
    if not parser.at("end", name):
        raise Unparsable("an environment does not end")
    parser.take()
    parser.depth -= 1
    rows = [row for row in rows if row]
    if not rows:
        raise Unparsable("an empty matrix")
    if name == "cases":
        if all(len(row) == 1 for row in rows):
            return ("list", tuple(row[0] for row in rows)) if len(rows) > 1 else rows[0][0]
        if any(len(row) != 2 for row in rows):
            raise Unparsable("a case without condition")
        return ("cases", tuple((row[0], row[1]) for row in rows))
    if name not in _MATRICES or len({len(row) for row in rows}) != 1:
        raise Unparsable("a matrix of uneven rows")
    tree: Tree = ("mat", tuple(map(tuple, rows)))
    return ("fn", "det", (tree,)) if name == "vmatrix" else tree
