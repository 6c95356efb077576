"""Tokens to a tree, by recursive descent. Nothing is computed, and nothing is ever evaluated as code."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any

from math_qwen.verify.limits import ITEMS, TooLarge, Unparsable
from math_qwen.verify.parsing import units
from math_qwen.verify.parsing.expressions import ExpressionParser
from math_qwen.verify.parsing.lexer import tokens
from math_qwen.verify.parsing.tokens import Token
from math_qwen.verify.parsing.trees import Tree

_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
           "万": 10**4, "亿": 10**8, "百": 100, "千": 1000, "百万": 10**6, "千万": 10**7, "万亿": 10**12}  # fmt: skip
_NO_UNIT = frozenset(
    [
        "if", "where", "because", "since", "when", "is", "which", "that", "so", "we", "then", "not", "therefore",
        "but", "for", "answer", "was",
    ]
)  # fmt: skip


@functools.lru_cache(maxsize=2048)
def parse(text: str, thousands: bool = True, decimal_comma: bool = False) -> Tree:
    """The tree of a `normalised` answer. Raises Unparsable or TooLarge; never RecursionError."""
    parser = Parser(tokens(text, thousands, decimal_comma))
    tree = parser.items()
    if parser.peek.kind != "end":
        raise Unparsable("something is left over")
    return tree


class Parser(ExpressionParser):
    def items(self) -> Tree:
        found: list[Tree] = []
        joints = set()
        while self.at("sep"):
            self.take()
        while True:
            if found and (self.peek.kind in ("end", "close", "row", "amp", "end_env") or self.at("end")):
                break  # a comma at the end
            found.append(self.relation())
            if len(found) > ITEMS:
                raise TooLarge("too many items")
            if not self.at("sep"):
                break
            while self.at("sep"):
                joints.add(self.take().value)
        if len(found) == 1:
            return found[0]
        kind = "or" if "or" in joints else "and" if joints == {"and"} else "list"
        return (kind, tuple(found))

    def relation(self) -> Tree:
        if self.place == 0 and self.at("rel", "~"):
            self.take()
        label = self._label()
        first = label if label is not None else self.sets()
        chain: list[Any] = [first]
        while True:
            if self.at("op", "not") and self.ahead().kind == "rel":
                self.take()
                operator = {"=": "!=", "in": "notin", "<": ">=", ">": "<=", "equiv": "notequiv"}.get(self.take().value)
                if operator is None:
                    raise Unparsable("a negated relation")
            elif self.at("rel"):
                operator = self.take().value
                if chain == [first] and first[0] == "text" and operator not in ("=", "~", "in"):
                    raise Unparsable("a sentence")
            else:
                break
            if self.at("rel", "=") and operator in ("<", ">"):  # `< =`
                self.take()
                operator += "="
            chain += [operator, self.sets()]
            if len(chain) > 2 * ITEMS:
                raise TooLarge("too long a chain")
        tree: Tree = first if len(chain) == 1 else ("rel", tuple(chain))
        modulus = self._modulus()
        return tree if modulus is None else ("mod", tree, modulus)

    def _label(self) -> Tree | None:
        r"""A name before `=`: words, `f(x)`, `P(A)`, `\angle ABC`."""
        if self.at("words") and self.ahead().kind == "rel" and self.ahead().value in ("=", "~"):
            return ("text", self.take().value)
        if self.at("words") and self.ahead().kind == "op" and self.ahead().value == ":":
            words = self.take().value
            self.take()
            return ("text", words) if self.at("rel") else self.sets()
        if self.at("name") and self.ahead() == Token("open", "(", self.ahead().spaced):
            depth, steps = 0, 1
            while (token := self.ahead(steps)).kind != "end":
                depth += (token.kind == "open") - (token.kind == "close")
                if depth == 0:
                    break
                steps += 1
            if self.ahead(steps + 1).kind == "rel" and self.ahead(steps + 1).value in ("=", "~"):
                start, name = self.place, str(self.take().value)
                self.take()
                inside = self.items()
                arguments = inside[1] if inside[0] == "list" else (inside,)
                if self.at("close", ")") and (name.isupper() or all(a[0] in ("sym", "num") for a in arguments)):
                    self.take()
                    return ("app", name, arguments)
                self.jump(start)  # x(x+1) = 0 is a product
        return None

    def _modulus(self) -> Tree | None:
        start = self.place
        bracket = self.at("open", "(") and self.ahead().kind == "cmd" and self.ahead().value in ("mod", "bmod", "pmod")
        if bracket:
            self.take()
        if self.peek.kind == "cmd" and self.peek.value in ("mod", "bmod", "pmod", "pod"):
            self.take()
            modulus = self.sum()
            if bracket:
                self.expect("close", ")")
            return modulus
        self.jump(start)
        return None

    def sets(self) -> Tree:
        tree = self.quantity()
        while self.peek.kind == "op" and self.peek.value in ("cup", "cap", "setminus"):
            operator = self.take().value
            right = self.quantity()
            if operator == "setminus":
                tree = ("minus", tree, right)
            else:
                kind = "union" if operator == "cup" else "inter"
                tree = (kind, (*(tree[1] if tree[0] == kind else (tree,)), right))
        return tree

    def quantity(self) -> Tree:
        tree = self.sum()
        if self.at("op", ":") and not self.bars:
            parts = [tree]
            while self.at("op", ":"):
                self.take()
                parts.append(self.sum())
            tree = ("ratio", tuple(parts))
        tree = self._unit(tree)
        if tree[0] == "qty" and self.at("num"):  # 2 hours 30 minutes
            start, smaller = self.place, self._unit(self.sum())
            if smaller[0] == "qty" and units.counts_on(tree[2], smaller[2]):
                return ("and", (tree, smaller))
            self.jump(start)
        return tree

    def _unit(self, tree: Tree) -> Tree:
        if self.at("cur"):
            sign = self.take().value
            return ("qty", tree, f"{sign} {self.take().value}" if self.at("words") else str(sign))
        if not self.at("words"):
            return tree
        words: list[str] = []
        while True:
            if self.at("words"):
                word = str(self.take().value)
                head = word.split(" ")[0].lower()
                if not words and (word in _SCALES or head in _SCALES or word[0] in "万亿"):
                    scale = next(s for s in (word, head, word[:2], word[0]) if s in _SCALES)
                    tree = ("mul", (tree, ("num", Fraction(_SCALES[scale]))))
                    word = word[len(scale) :].strip()
                if word:
                    words.append(word)
            elif self.at("op", "^") and words:
                self.take()
                power = self.atom()
                words.append(f"^{power[1]}" if power[0] == "num" else f"^-{power[1][1]}" if power[0] == "neg" else "")
            elif (
                self.peek.kind == "op"
                and self.peek.value in ("/", "*")
                and words
                and self.ahead().kind in ("words", "name")
            ):
                words.append(str(self.take().value))
                words.append(str(self.take().value))
            elif self.at("cur") and words:
                words.append(str(self.take().value))
            else:
                break
        if not _NO_UNIT.isdisjoint(" ".join(words).lower().split()):
            raise Unparsable("a sentence")
        return ("qty", tree, " ".join(words)) if words else tree
