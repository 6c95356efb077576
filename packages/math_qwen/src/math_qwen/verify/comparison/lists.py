"""Lists and sets of answers, and ± as a list of its values."""

from __future__ import annotations

import itertools
from typing import Any

from math_qwen.verify.comparison.shapes import canonical, is_label
from math_qwen.verify.limits import TooLarge
from math_qwen.verify.parsing.trees import Tree, has


class Collection:
    def __init__(self, kind: str, values: tuple, labels: tuple | None, variable: Any, ordered: bool, indexed: bool):
        self.kind, self.values, self.labels, self.variable = kind, values, labels, variable
        self.ordered, self.indexed = ordered, indexed

    @classmethod
    def of(cls, tree: Tree) -> Collection | None:
        if tree[0] == "seq":
            return cls("seq", tree[2], None, None, True, False)
        if tree[0] == "rel":
            if len(tree[1]) == 3 and tree[1][1] in ("=", "in") and is_label(tree[1][0]):
                inner = cls.of(canonical(tree[1][2]))
                if inner is not None and inner.labels is None:
                    inner.variable = tree[1][0]
                    return inner
            return cls("list", (tree,), None, None, False, False)
        if tree[0] not in ("list", "and", "or", "set"):
            return cls("list", (tree,), None, None, False, False)
        items = tuple(canonical(item) for item in tree[1])
        named = [
            item
            for item in items
            if item[0] == "rel" and len(item[1]) == 3 and item[1][1] == "=" and is_label(item[1][0])
        ]
        kind = "set" if tree[0] == "set" else "list"
        if len(named) == len(items) and items:
            labels = tuple(item[1][0] for item in items)
            values = tuple(item[1][2] for item in items)
            if len(set(labels)) == 1:
                return cls(kind, values, None, labels[0], False, False)
            stems = {str(label[1]).split("_")[0] for label in labels}
            indexed = len(stems) == 1 and all(label[0] in ("sym", "app") for label in labels)
            return cls(kind, values, labels, None, not indexed, indexed)
        if len(named) == 1 and items[0] is named[0]:  # n = 1, 2, 3
            return cls(kind, (items[0][1][2], *items[1:]), None, items[0][1][0], False, False)
        return cls(kind, items, None, None, False, False)


def expanded(tree: Tree) -> Tree:
    """± as a list of its values, at most 16. ∓ takes the other sign; several ± without ∓ are independent."""
    if not has(tree, "pm") and not has(tree, "mp"):
        return tree
    if tree[0] in ("list", "and", "or", "set"):
        return (tree[0], tuple(itertools.chain.from_iterable(items(expanded(canonical(part))) for part in tree[1])))
    if tree[0] == "rel" and len(tree[1]) == 3 and not has(tree[1][0], "pm") and not has(tree[1][0], "mp"):
        values = items(expanded(tree[1][2]))
        return ("or", tuple(("rel", (*tree[1][:2], value)) for value in values))
    count = max(1, _count(tree, "pm"))
    if has(tree, "mp") or count == 1:
        choices = [(False,) * count, (True,) * count]
    elif count <= 4:
        choices = list(itertools.product((False, True), repeat=count))
    else:
        raise TooLarge("too many ±")
    found: list[Tree] = []
    for choice in choices:
        signs = iter(choice)
        value = _signed(tree, signs, choice[0] if choice else False)
        if value not in found:
            found.append(value)
    return ("or", tuple(found))


def items(tree: Tree) -> list[Tree]:
    if tree[0] in ("list", "and", "or", "set"):
        return list(tree[1])
    return [tree]


def flattened(answers: list[Tree]) -> list[Tree]:
    """`x = 1 or x = 2` inside a list becomes two items."""
    found: list[Tree] = []
    for item in answers:
        item = canonical(item)
        if has(item, "pm") or has(item, "mp"):
            found += flattened(items(expanded(item)))
        elif item[0] in ("or", "and"):
            found += flattened(list(item[1]))
        else:
            found.append(item)
    return found


def _count(tree: Any, kind: str) -> int:
    if not isinstance(tree, tuple):
        return 0
    return (1 if tree and tree[0] == kind else 0) + sum(_count(part, kind) for part in tree)


def _signed(tree: Any, signs: Any, first: bool) -> Any:
    if not isinstance(tree, tuple):
        return tree
    if tree and tree[0] == "pm":
        minus = next(signs)
        inside = _signed(tree[1], signs, first)
        return ("neg", inside) if minus else inside
    if tree and tree[0] == "mp":
        inside = _signed(tree[1], signs, first)
        return inside if first else ("neg", inside)
    return tuple(_signed(part, signs, first) for part in tree)


def by_label(collection: Collection) -> list[Tree]:
    if not collection.labels:
        return list(collection.values)
    return [
        value
        for _, value in sorted(
            zip(map(str, collection.labels), collection.values, strict=True), key=lambda pair: pair[0]
        )
    ]
