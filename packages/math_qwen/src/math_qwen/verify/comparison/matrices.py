"""Matrices as trees; no entry is computed."""

from __future__ import annotations

from math_qwen.verify.limits import TooLarge
from math_qwen.verify.parsing.trees import VALUES, Tree, has

_ENTRY_PARTS = 20_000  # tree nodes in a product of matrices


def matrix(tree: Tree) -> tuple[tuple[Tree, ...], ...] | None:
    """The entries of a matrix, or of a sum, product or small power; else None."""
    kind = tree[0]
    if kind == "mat":
        return tree[1]
    if (
        kind == "seq"
        and len(tree[2]) > 1
        and all(row[0] == "seq" and (row[1], row[3]) == ("[", "]") for row in tree[2])
    ):
        return tuple(row[2] for row in tree[2]) if len({len(row[2]) for row in tree[2]}) == 1 else None
    if kind == "neg":
        inside = matrix(tree[1])
        return None if inside is None else tuple(tuple(("neg", x) for x in row) for row in inside)
    if kind == "add":
        parts = [part for part in map(matrix, tree[1]) if part is not None]
        if len(parts) < len(tree[1]) or len({(len(p), len(p[0])) for p in parts}) != 1:
            return None
        return tuple(
            tuple(("add", tuple(part[i][j] for part in parts)) for j in range(len(parts[0][0])))
            for i in range(len(parts[0]))
        )
    if kind == "mul":
        total = None
        scalars: list[Tree] = []
        for factor in tree[1]:
            grid = matrix(factor)
            if grid is None:
                if factor[0] not in VALUES or has(factor, "mat"):
                    return None
                scalars.append(factor)
            elif total is None:
                total = grid
            elif len(total[0]) != len(grid):
                return None
            else:
                total = tuple(
                    tuple(
                        ("add", tuple(("mul", (row[k], grid[k][j])) for k in range(len(grid))))
                        for j in range(len(grid[0]))
                    )
                    for row in total
                )
                _check_size(total)  # products multiply the entries' sizes
        if total is None:
            return None
        return tuple(tuple(("mul", (*scalars, x)) for x in row) for row in total) if scalars else total
    if kind == "div":
        inside = matrix(tree[1])
        return None if inside is None else tuple(tuple(("div", x, tree[2]) for x in row) for row in inside)
    if kind == "pow" and tree[2] == ("sym", "T"):
        inside = matrix(tree[1])
        return None if inside is None else tuple(zip(*inside, strict=True))
    if kind == "pow" and tree[2][0] == "num" and tree[2][1] in (2, 3, 4):
        return matrix(("mul", (tree[1],) * int(tree[2][1])))
    return None


def _check_size(grid: tuple) -> None:
    stack, count = list(grid), 0
    while stack:
        part = stack.pop()
        count += 1
        if count > _ENTRY_PARTS:
            raise TooLarge("too large a product of matrices")
        if isinstance(part, tuple):
            stack.extend(part)


def determinant(grid: tuple[tuple[Tree, ...], ...]) -> Tree:
    if len(grid) == 1:
        return grid[0][0]
    terms = []
    for column, entry in enumerate(grid[0]):
        minor = tuple(row[:column] + row[column + 1 :] for row in grid[1:])
        term: Tree = ("mul", (entry, determinant(minor)))
        terms.append(("neg", term) if column % 2 else term)
    return ("add", tuple(terms))
