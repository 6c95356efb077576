"""Sums, products and powers: from tokens to trees."""

from __future__ import annotations

from math_qwen.verify.atoms import Atoms
from math_qwen.verify.bounds import TooLarge, Unreadable
from math_qwen.verify.token import Token
from math_qwen.verify.trees import Tree, is_whole, mixed_or_product, primed, times


class Arithmetic(Atoms):
    """Sums, products, powers, and the signs around a value."""

    def sum(self) -> Tree:
        terms = [self.product()]
        while self.peek.kind == "op" and self.peek.value in ("+", "-", "pm", "mp"):
            operator = self.take().value
            term = self.product()
            terms.append(term if operator == "+" else ("neg" if operator == "-" else operator, term))
        return terms[0] if len(terms) == 1 else ("add", tuple(terms))

    def product(self) -> Tree:
        tree = self.unary()
        while True:
            if self.peek.kind == "op" and self.peek.value in ("*", "/", "circ"):
                operator = self.take().value
                if operator == "circ":
                    raise Unreadable("a composition")
                right = self.unary()
                tree = ("div", tree, right) if operator == "/" else times(tree, right)
            elif self._starts_factor():
                if self.at("num") and self.stream[self.place - 1] == (
                    "op",
                    "!",
                    self.stream[self.place - 1].spaced,
                    "",
                ):
                    tree = times(tree, self.power())  # 6!6!
                elif self.at("num"):  # 2 1/2 is mixed; two numbers side by side are nothing
                    mixed = self._mixed(tree)
                    if mixed is None:
                        raise Unreadable("two numbers side by side")
                    tree = mixed
                else:
                    fraction = self.at("cmd", "frac")
                    right = self.power()
                    tree = mixed_or_product(tree, right) if fraction else times(tree, right)
            else:
                return tree

    def _mixed(self, tree: Tree) -> Tree | None:
        if not (is_whole(tree) and self.peek.spaced and self.ahead() == Token("op", "/", self.ahead().spaced)):
            return None
        above, below = self.peek, self.ahead(2)
        if below.kind != "num" or not (is_whole(("num", above.value)) and is_whole(("num", below.value))):
            return None
        if not 0 < above.value < below.value:
            return None
        for _ in range(3):
            self.take()
        return self.postfix(("num", tree[1] + above.value / below.value))

    def _starts_factor(self) -> bool:
        token = self.peek
        if token.kind == "open":
            if token.value in ("[",):
                return False
            following = self.ahead()
            return not (following.kind == "cmd" and following.value in ("mod", "pmod", "bmod"))
        if token.kind == "bar":
            return not self.bars
        if token.kind == "cmd":
            return token.value not in ("mod", "pmod", "bmod", "pod")
        if self.integrals and token.kind == "diff":
            return False
        return token.kind in ("num", "name", "const", "fn", "begin", "deco", "mark")

    def unary(self) -> Tree:
        if self.peek.kind == "op" and self.peek.value in ("+", "-", "pm", "mp"):
            self.deeper()
            operator = self.take().value
            tree = self.unary_product()
            self.depth -= 1
            if operator == "+":
                return tree
            return (operator if operator != "-" else "neg", tree)
        return self.power()

    def unary_product(self) -> Tree:
        """What a sign before it governs: one factor with its mixed fraction, so that -2 1/3 is -(2 1/3)."""
        tree = self.unary()
        if is_whole(tree) and self.at("num"):
            mixed = self._mixed(tree)
            if mixed is None:
                raise Unreadable("two numbers side by side")
            return mixed
        if is_whole(tree) and self.at("cmd", "frac"):
            return mixed_or_product(tree, self.power())
        return tree

    def power(self) -> Tree:
        tree = self.postfix(self.atom())
        if self.at("op", "^"):
            self.deeper()
            self.take()
            exponent = self._exponent()
            self.depth -= 1
            tree = primed(tree, 1) if exponent == ("prime",) else ("pow", tree, exponent)
            if self.at("op", "^"):
                raise Unreadable("a double exponent") if self.stream[self.place - 1].value == "}" else Unreadable("^^")
            tree = self.postfix(tree)
        return tree

    def _exponent(self) -> Tree:
        if self.peek.kind == "op" and self.peek.value in ("-", "+"):
            sign = self.take().value
            inner = self._exponent()
            return ("neg", inner) if sign == "-" else inner
        if self.at("op", "'"):
            self.take()
            return ("prime",)
        if self.at("open", "{"):
            if self.ahead() == Token("op", "'", self.ahead().spaced):
                self.take()
                self.take()
                self.expect("close", "}")
                return ("prime",)
            return self.group()
        base = self.atom()
        while self.at("op", "!"):
            self.take()
            base = ("fn", "factorial", (base,))
        if self.at("op", "^"):  # 2^3^4 without braces is a tower
            self.deeper()
            self.take()
            base = ("pow", base, self._exponent())
            self.depth -= 1
        return base

    def postfix(self, tree: Tree) -> Tree:
        count = 0
        while self.peek.kind == "op" and self.peek.value in ("!", "deg", "%", "'"):
            count += 1
            if count > 3:
                raise TooLarge("too many signs after a value")
            sign = self.take().value
            if sign == "'":
                if tree[0] == "deg":  # minutes of arc
                    raise Unreadable("minutes of arc")
                tree = primed(tree, 1)
            elif sign == "!":
                double = self.at("op", "!") and not self.peek.spaced
                if double:
                    self.take()
                tree = ("fn", "factorial2" if double else "factorial", (tree,))
            elif sign == "deg":
                following = self.peek
                if (
                    following.kind in ("name", "words")
                    and following.value in ("C", "F")
                    and self.ahead().kind in ("end", "close", "sep")
                ):
                    self.take()
                    tree = ("qty", tree, "celsius" if following.value == "C" else "fahrenheit")
                else:
                    tree = ("deg", tree)
            else:
                tree = ("pct", tree)
        return tree
