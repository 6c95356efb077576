"""Expressions: sums, products, powers, functions, brackets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

from math_qwen.verify.limits import TooLarge, Unparsable
from math_qwen.verify.parsing.environments import environment
from math_qwen.verify.parsing.tokens import Token, TokenStream
from math_qwen.verify.parsing.trees import (
    Tree,
    conjugate,
    index_text,
    is_whole,
    mentions,
    mixed_or_product,
    primed,
    times,
)

_CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil"}
_APPLIED = frozenset("fghFGH")


class ExpressionParser(TokenStream, ABC):
    # Brackets may hold a whole answer, which `Parser` reads.

    @abstractmethod
    def items(self) -> Tree: ...

    @abstractmethod
    def relation(self) -> Tree: ...

    # Sums, products and signs

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
                    raise Unparsable("a composition")
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
                elif self.at("num"):  # 2 1/2 is a mixed number; other numbers side by side are an error
                    mixed = self._mixed(tree)
                    if mixed is None:
                        raise Unparsable("two numbers side by side")
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
        """-2 1/3 is -(2 1/3)."""
        tree = self.unary()
        if is_whole(tree) and self.at("num"):
            mixed = self._mixed(tree)
            if mixed is None:
                raise Unparsable("two numbers side by side")
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
                raise Unparsable("a double exponent") if self.stream[self.place - 1].value == "}" else Unparsable("^^")
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
                    raise Unparsable("minutes of arc")
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

    # Numbers, symbols and brackets

    def atom(self) -> Tree:
        token = self.take()
        kind, value = token.kind, token.value
        if kind == "num":
            return ("num", value)
        if kind == "name":
            return self._named_symbol(str(value))
        if kind == "const":
            if value in self.bound:
                return self._named_symbol(str(value))
            if self.at("op", "_") and value in ("i", "e"):
                return self._named_symbol(str(value))
            return ("const", value)
        if kind == "open":
            return self._bracket(str(value))
        if kind == "bar":
            self.deeper()
            self.bars += 1
            inside = self.sum()
            self.bars -= 1
            self.expect("bar")
            self.depth -= 1
            return ("fn", "abs", (inside,))
        if kind == "fn":
            return self._function(str(value))
        if kind == "cmd":
            return self._command(str(value))
        if kind == "begin":
            return environment(self, str(value))
        if kind == "named":
            sign = ""
            if self.at("op", "^") and self.ahead().value in ("+", "-", "*"):
                self.take()
                sign = str(self.take().value)
            elif self.at("op", "^") and self.ahead().value == "{" and self.ahead(2).value in ("+", "-", "*"):
                self.take()
                self.take()
                sign = str(self.take().value)
                self.expect("close", "}")
            elif self.peek.kind == "op" and self.peek.value in ("+",) and self.ahead().kind in ("end", "close"):
                sign = str(self.take().value)
            return ("named", str(value) + sign)
        if kind == "cur":
            inside = self.unary()
            while self.peek.kind == "op" and self.peek.value in ("/",) and self.ahead().kind == "num":
                self.take()
                inside = ("div", inside, self.power())
            return ("qty", inside, str(value))
        if kind == "deco":
            return self._decorated(str(value))
        if kind == "mark":
            letters = []
            while self.peek.kind in ("name", "const"):
                letters.append(str(self.take().value))
            if self.at("num"):
                letters.append(str(self.take().value))
            return ("app", str(value), tuple(("sym", letter) for letter in letters))
        while kind == "words" and self.at("words"):
            value = f"{value} {self.take().value}"
        if kind == "words" and self.peek.kind in ("end", "sep", "close", "row", "amp", "rel"):
            return ("text", value)
        if kind == "dots":
            return ("text", "…")
        raise Unparsable(f"unexpected {value or kind}")

    def group(self) -> Tree:
        """`{…}`, or the single character that TeX takes without braces."""
        if self.at("open", "{"):
            self.take()
            return self._bracket("{")
        if self.at("num") and self.peek.raw.isdigit() and len(self.peek.raw) > 1:
            token = self.peek
            rest = token.raw[1:]
            self.stream[self.place] = Token("num", Fraction(int(rest)), False, rest)
            self.jump(self.place)
            return ("num", Fraction(int(token.raw[0])))
        if self.at("op", "-"):
            raise Unparsable("braces are missing")
        return self.atom()

    def _bracket(self, opening: str) -> Tree:
        self.deeper()
        bars, self.bars = self.bars, 1 if opening == "\\{" or (opening == "{" and self.depth == 1) else 0
        if self.peek.kind == "close" and opening != "(":
            closing = self.take().value
            self.bars, self.depth = bars, self.depth - 1
            if opening in ("\\{", "{") and closing == _CLOSING[opening]:
                return ("named", "empty") if opening == "\\{" else ("text", "")
            raise Unparsable("an empty bracket")
        inside = self.items()
        if opening in ("\\{", "{") and (self.at("bar") or self.at("op", "mid") or self.at("op", ":")):
            self.take()
            condition = self.items()
            self.expect("close", _CLOSING[opening])
            self.bars, self.depth = bars, self.depth - 1
            return ("builder", inside, condition)
        if opening == "{" and self.peek.kind == "op" and self.peek.value in ("choose", "over"):
            operator = self.take().value
            below = self.items()
            inside = ("fn", "binom", (inside, below)) if operator == "choose" else ("div", inside, below)
        closing = str(self.expect("close").value)
        self.bars, self.depth = bars, self.depth - 1
        many = inside[0] in ("list", "and", "or")
        if opening in ("\\{", "{"):
            if closing != _CLOSING[opening]:
                raise Unparsable("brackets do not match")
            if opening == "{":
                return ("set", inside[1]) if many and inside[0] == "list" and self.depth == 0 else inside
            return ("set", inside[1] if many else (inside,))
        if opening in ("lfloor", "lceil"):
            if closing != _CLOSING[opening]:
                raise Unparsable("brackets do not match")
            return ("fn", "floor" if opening == "lfloor" else "ceil", (inside,))
        if opening == "langle":
            opening, closing = "(", ")" if closing == "rangle" else "?"
        if closing not in (")", "]"):
            raise Unparsable("brackets do not match")
        if inside[0] == "list":
            return ("seq", opening, inside[1], closing)
        if _CLOSING[opening] != closing:
            raise Unparsable("brackets do not match")
        return inside

    def _named_symbol(self, name: str) -> Tree:
        if self.at("op", "_"):
            self.take()
            self.deeper()
            index = self.group()
            self.depth -= 1
            simple = index_text(index)
            if simple is None:
                return ("app", name + "_", (index,))
            name = f"{name}_{simple}"
        while self.at("op", "'"):
            self.take()
            name += "'"
        inverse = [("op", "^"), ("open", "{"), ("op", "-"), ("num", 1), ("close", "}"), ("open", "(")]
        if name in _APPLIED and [self.ahead(k)[:2] for k in range(len(inverse))] == inverse:
            self.jump(self.place + len(inverse))
            inside = self._bracket("(")
            return ("app", name + "^-1", inside[2] if inside[0] == "seq" else (inside,))
        base = name.rstrip("'")
        if (base in _APPLIED or base != name) and self.at("open", "(") and not self.peek.spaced:
            self.take()
            inside = self._bracket("(")
            return ("app", name, inside[2] if inside[0] == "seq" else (inside,))
        return ("sym", name)

    def _decorated(self, name: str) -> Tree:
        inside = self.group()
        if name in ("vec", "overrightarrow", "hat", "widehat", "dot", "ddot", "tilde", "widetilde", "underline"):
            return ("app", name, (inside,))
        if name in ("overline", "bar") and (turned := conjugate(inside)) is not None:
            return turned
        return ("app", "bar" if name in ("bar", "overline") else name, (inside,))

    # Functions, and commands with arguments

    def _function(self, name: str) -> Tree:
        self.deeper()
        base = power = None
        while self.peek.kind == "op" and self.peek.value in ("_", "^"):
            sign = self.take().value
            if sign == "_":
                base = self.group()
            else:
                power = self._exponent()
        if name == "sqrt":
            inside = self.group() if self.at("open", "{") else self.atom() if self.at("open") else self.power()
            tree: Tree = ("root", inside, 2)
        elif self.at("open", "(") or (self.at("open", "{") and name not in ("max", "min")):
            opening = str(self.take().value)
            inside = self._bracket(opening)
            arguments = inside[2] if inside[0] == "seq" else (inside[1] if inside[0] == "set" else (inside,))
            tree = self._call(name, arguments, base)
        elif self.at("open", "\\{"):
            inside = self.atom()
            tree = self._call(name, inside[1] if inside[0] == "set" else (inside,), base)
        elif self.at("open", "["):
            self.take()
            tree = self._call(name, (self._bracket("["),), base)
        else:
            sign = self.take().value if self.at("op", "-") else ""
            argument = self.power()
            while self._starts_factor() and not self.at("fn") and not self.at("open"):
                argument = times(argument, self.power())
            if self.at("op", "/") and argument[0] in ("const", "num", "mul") and self.ahead().kind == "num":
                self.take()  # sin pi/6
                argument = ("div", argument, self.power())
            tree = self._call(name, (("neg", argument) if sign else argument,), base)
        self.depth -= 1
        if power is None:
            return tree
        if power in (("neg", ("num", Fraction(1))), ("num", Fraction(-1))) and tree[1] in (
            "sin",
            "cos",
            "tan",
            "cot",
            "sec",
            "csc",
        ):
            return ("fn", "arc" + tree[1], tree[2])
        return ("pow", tree, power)

    def _call(self, name: str, arguments: tuple[Tree, ...], base: Tree | None) -> Tree:
        if name == "lg":
            name, base = "log", base or ("num", Fraction(10))
        if name == "cbrt":
            return ("root", arguments[0], 3)
        if name == "cis":
            if mentions(arguments, ("const", "i")):
                raise Unparsable("an angle that is not real")
            return ("add", (("fn", "cos", arguments), ("mul", (("const", "i"), ("fn", "sin", arguments)))))
        if name == "exp":
            return ("pow", ("const", "e"), arguments[0])
        if name == "log" and base is not None:
            arguments = (arguments[0], base)
        return ("fn", name, arguments)

    def _command(self, name: str) -> Tree:
        self.deeper()
        try:
            if name == "frac":
                above = self.group()
                return ("div", above, self.group())
            if name == "binom":
                above = self.group()
                return ("fn", "binom", (above, self.group()))
            if name == "sqrt":
                degree: Tree | int = 2
                if self.at("open", "["):
                    self.take()
                    index = self._bracket("[")
                    degree = int(index[1]) if is_whole(index) and 2 <= index[1] <= 100 else 0
                    if not degree:
                        raise Unparsable("a root of no small degree")
                return ("root", self.group(), degree)
            if name in ("sum", "prod", "int", "iint", "oint", "lim"):
                return self._big(name)
        finally:
            self.depth -= 1
        raise Unparsable(f"the command \\{name}")

    def _big(self, name: str) -> Tree:
        low = high = variable = None
        bound = len(self.bound)
        while self.peek.kind == "op" and self.peek.value in ("_", "^"):
            if self.take().value == "^":
                high = self.group() if self.at("open", "{") or self.at("num") else self._exponent()
                continue
            if name in ("sum", "prod") and self.at("open", "{") and self.ahead().value == "i":
                self.bound.append("i")
            low = self.group()
        if low is not None and low[0] == "rel" and len(low[1]) == 3 and low[1][0][0] == "sym":
            variable, low = low[1][0][1], low[1][2]
        if name in ("int", "iint", "oint"):
            self.integrals += 1
            body: Tree = ("num", Fraction(1)) if self.at("diff") else self.sum()
            self.integrals -= 1
            variable = "".join(str(self.take().value) for _ in range(3) if self.at("diff")) or None
            if variable is None:
                raise Unparsable("an integral over nothing")
        else:
            body = self.product()
        del self.bound[bound:]
        return ("big", name, variable, low, high, body)
