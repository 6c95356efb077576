"""Functions and the commands that take arguments: from tokens to trees."""

from __future__ import annotations

from fractions import Fraction

from math_qwen.verify.bounds import Unreadable
from math_qwen.verify.stream import Stream
from math_qwen.verify.trees import Tree, is_whole, mentions, times


class Functions(Stream):
    """Functions, roots, fractions, sums and integrals, with their arguments."""

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
                raise Unreadable("an angle that is not real")
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
                        raise Unreadable("a root of no small degree")
                return ("root", self.group(), degree)
            if name in ("sum", "prod", "int", "iint", "oint", "lim"):
                return self._big(name)
        finally:
            self.depth -= 1
        raise Unreadable(f"the command \\{name}")

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
                raise Unreadable("an integral over nothing")
        else:
            body = self.product()
        del self.bound[bound:]
        return ("big", name, variable, low, high, body)
