"""Numbers, symbols and brackets: from tokens to trees."""

from __future__ import annotations

from fractions import Fraction

from math_qwen.verify.bounds import Unreadable
from math_qwen.verify.environments import environment
from math_qwen.verify.functions import Functions
from math_qwen.verify.token import Token
from math_qwen.verify.trees import Tree, conjugate, index_text

_CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil"}
_APPLIED = frozenset("fghFGH")


class Atoms(Functions):
    """The smallest parts of an expression."""

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
            while self.peek.kind in ("name", "const") or (self.at("open", "{") and False):
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
        raise Unreadable(f"unexpected {value or kind}")

    def group(self) -> Tree:
        """`{…}` as a bracket that TeX does not show; or, without braces, the one character that TeX takes."""
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
            raise Unreadable("braces are missing")
        return self.atom()

    def _bracket(self, opening: str) -> Tree:
        self.deeper()
        bars, self.bars = self.bars, 1 if opening == "\\{" or (opening == "{" and self.depth == 1) else 0
        if self.peek.kind == "close" and opening != "(":
            closing = self.take().value
            self.bars, self.depth = bars, self.depth - 1
            if opening in ("\\{", "{") and closing == _CLOSING[opening]:
                return ("named", "empty") if opening == "\\{" else ("text", "")
            raise Unreadable("an empty bracket")
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
                raise Unreadable("brackets do not match")
            if opening == "{":
                return ("set", inside[1]) if many and inside[0] == "list" and self.depth == 0 else inside
            return ("set", inside[1] if many else (inside,))
        if opening in ("lfloor", "lceil"):
            if closing != _CLOSING[opening]:
                raise Unreadable("brackets do not match")
            return ("fn", "floor" if opening == "lfloor" else "ceil", (inside,))
        if opening == "langle":
            opening, closing = "(", ")" if closing == "rangle" else "?"
        if closing not in (")", "]"):
            raise Unreadable("brackets do not match")
        if inside[0] == "list":
            return ("seq", opening, inside[1], closing)
        if _CLOSING[opening] != closing:
            raise Unreadable("brackets do not match")
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
