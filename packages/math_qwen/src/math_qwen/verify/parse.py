"""Tokens to a tree, by recursive descent. Nothing is computed here, and nothing is evaluated as code, ever.

A tree is a tuple whose first entry names its kind:

    ("num", Fraction) ("sym", name) ("const", "pi" | "e" | "i" | "oo") ("text", words)
    ("add", terms) ("mul", factors) ("div", a, b) ("pow", a, b) ("root", a, n) ("neg", a) ("pm", a) ("mp", a)
    ("fn", name, arguments) a known function; ("app", name, arguments) an unknown one
    ("deg", a) degrees; ("pct", a); ("qty", a, unit words)
    ("list" | "and" | "or" | "set", items) ("seq", open, items, close) round or square brackets with commas
    ("rel", (first, operator, second, operator, third …)) ("mod", a, modulus)
    ("union" | "inter", parts) ("minus", a, b) ("named", "R" | … | "empty") ("builder", element, condition)
    ("mat", rows) ("cases", ((value, condition) …)) ("ratio", parts)
    ("big", kind, variable, low, high, body) sums, products, integrals, limits
"""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any

from math_qwen.verify.bounds import DEPTH, ITEMS, MATRIX, TooLarge, Unreadable
from math_qwen.verify.lexer import Token, tokens

Tree = tuple[Any, ...]
_END = Token("end")
_CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil"}
_APPLIED = frozenset("fghFGH")
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
           "万": 10**4, "亿": 10**8, "百": 100, "千": 1000, "百万": 10**6, "千万": 10**7, "万亿": 10**12}  # fmt: skip
_MATRICES = frozenset(["pmatrix", "bmatrix", "matrix", "array", "Bmatrix", "smallmatrix", "vmatrix", "Vmatrix"])
_CONDITION_WORDS = (
    "if",
    "for",
    "when",
    "where",
    "当",
    "若",
    "otherwise",
    "else",
    "其他",
    "其它",
    "with",
    "for all",
    "for any",
)
_NO_UNIT = frozenset(
    [
        "if",
        "where",
        "because",
        "since",
        "when",
        "is",
        "which",
        "that",
        "so",
        "we",
        "then",
        "not",
        "therefore",
        "but",
        "for",
        "answer",
        "was",
    ]
)
_OTHERWISE = ("otherwise", "else", "其他", "其它", "其余")


@functools.lru_cache(maxsize=2048)
def parse(text: str, thousands: bool = True, decimal_comma: bool = False) -> Tree:
    """The tree of one answer, which `normalise.plain` has seen. Raises Unreadable or TooLarge; RecursionError never."""
    parser = _Parser(tokens(text, thousands, decimal_comma))
    tree = parser.items(top=True)
    if parser.peek.kind != "end":
        raise Unreadable("something is left over")
    return tree


class _Parser:
    def __init__(self, stream: list[Token]):
        self.stream = stream
        self.place = 0
        self.depth = 0
        self.bars = 0  # inside |…| or the braces of a set, where a bar ends something
        self.integrals = 0
        self.bound: list[str] = []  # running variables, for which i is no imaginary unit
        self.peek = stream[0] if stream else _END

    def take(self) -> Token:
        token = self.peek
        self.place += 1
        self.peek = self.stream[self.place] if self.place < len(self.stream) else _END
        return token

    def at(self, kind: str, value: Any = None) -> bool:
        return self.peek.kind == kind and (value is None or self.peek.value == value)

    def ahead(self, steps: int = 1) -> Token:
        return self.stream[self.place + steps] if self.place + steps < len(self.stream) else _END

    def jump(self, place: int) -> None:
        self.place = place
        self.peek = self.stream[place] if place < len(self.stream) else _END

    def expect(self, kind: str, value: Any = None) -> Token:
        if not self.at(kind, value):
            raise Unreadable(f"{value or kind} is missing")
        return self.take()

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            raise TooLarge("brackets are nested too deeply")

    # Lists and relations

    def items(self, top: bool = False) -> Tree:
        found, joints = [], set()
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
        label = self._label()
        first = label if label is not None else self.sets()
        chain: list[Any] = [first]
        while True:
            if self.at("op", "not") and self.ahead().kind == "rel":
                self.take()
                operator = {"=": "!=", "in": "notin", "<": ">=", ">": "<=", "equiv": "notequiv"}.get(self.take().value)
                if operator is None:
                    raise Unreadable("a negated relation")
            elif self.at("rel"):
                operator = self.take().value
                if chain == [first] and first[0] == "text" and operator not in ("=", "~", "in"):
                    raise Unreadable("a sentence")
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
        """What stands before `=` and only names the value: words, `f(x)`, `P(A)`, `\\angle ABC`."""
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
        """A value with its unit, or a ratio of values."""
        tree = self.sum()
        if self.at("op", ":") and not self.bars:
            parts = [tree]
            while self.at("op", ":"):
                self.take()
                parts.append(self.sum())
            tree = ("ratio", tuple(parts))
        return self._unit(tree)

    def _unit(self, tree: Tree) -> Tree:
        if self.at("cur"):
            sign = self.take().value
            words = str(sign) if not self.at("words") else f"{sign} {self.take().value}"
            return ("qty", tree, words)
        if not self.at("words"):
            return tree
        words = []
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
            raise Unreadable("a sentence")
        return ("qty", tree, " ".join(words)) if words else tree

    # Arithmetic

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
                tree = ("div", tree, right) if operator == "/" else _times(tree, right)
            elif self._starts_factor():
                if self.at("num"):  # 2 1/2 is mixed; two numbers side by side are nothing
                    mixed = self._mixed(tree)
                    if mixed is None:
                        raise Unreadable("two numbers side by side")
                    tree = mixed
                else:
                    fraction = self.at("cmd", "frac")
                    right = self.power()
                    tree = _mixed_or_product(tree, right) if fraction else _times(tree, right)
            else:
                return tree

    def _mixed(self, tree: Tree) -> Tree | None:
        if not (_whole(tree) and self.peek.spaced and self.ahead() == Token("op", "/", self.ahead().spaced)):
            return None
        above, below = self.peek, self.ahead(2)
        if below.kind != "num" or not (_whole(("num", above.value)) and _whole(("num", below.value))):
            return None
        if not 0 < above.value < below.value:
            return None
        for _ in range(3):
            self.take()
        return ("num", tree[1] + above.value / below.value)

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
        if _whole(tree) and self.at("num"):
            mixed = self._mixed(tree)
            if mixed is None:
                raise Unreadable("two numbers side by side")
            return mixed
        if _whole(tree) and self.at("cmd", "frac"):
            return _mixed_or_product(tree, self.power())
        return tree

    def power(self) -> Tree:
        tree = self.postfix(self.atom())
        if self.at("op", "^"):
            self.deeper()
            self.take()
            exponent = self._exponent()
            self.depth -= 1
            tree = _primed(tree, 1) if exponent == ("prime",) else ("pow", tree, exponent)
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
                tree = _primed(tree, 1)
            elif sign == "!":
                tree = ("fn", "factorial", (tree,))
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

    # Atoms

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
            return self._environment(str(value))
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
            simple = _index_text(index)
            if simple is None:
                return ("app", name + "_", (index,))
            name = f"{name}_{simple}"
        while self.at("op", "'"):
            self.take()
            name += "'"
        base = name.rstrip("'")
        if (base in _APPLIED or base != name) and self.at("open", "(") and not self.peek.spaced:
            self.take()
            inside = self._bracket("(")
            return ("app", name, inside[2] if inside[0] == "seq" else (inside,))
        return ("sym", name)

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
                argument = _times(argument, self.power())
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
                    degree = int(index[1]) if _whole(index) and 2 <= index[1] <= 100 else 0
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

    def _decorated(self, name: str) -> Tree:
        inside = self.group()
        if name in ("vec", "overrightarrow", "hat", "widehat", "dot", "ddot", "tilde", "widetilde", "underline"):
            return ("app", name, (inside,))
        return ("app", "bar" if name in ("bar", "overline") else name, (inside,))

    def _environment(self, name: str) -> Tree:
        self.deeper()
        rows: list[list[Tree]] = [[]]
        cells = 0
        while not self.at("end", name) and not (self.at("end") and self.peek.value is None):
            if self.at("row"):
                self.take()
                rows.append([])
                continue
            if self.at("amp"):
                self.take()
                continue
            if self.at("end"):
                raise Unreadable("environments do not match")
            if self.at("sep") and name == "cases":
                self.take()
                continue
            if self.at("words") and name == "cases" and rows[-1]:
                word = str(self.take().value).strip().lower().strip(" ,:")
                if word in _OTHERWISE:
                    rows[-1].append(("text", "otherwise"))
                elif word not in _CONDITION_WORDS:
                    raise Unreadable("words in a case")
                continue
            if name == "cases":
                entry = self.relation()
                while self.at("sep") and rows[-1] and self.ahead().kind not in ("row", "end", "amp", "words"):
                    joint = self.take().value
                    entry = ("or" if joint == "or" else "and", (entry, self.relation()))
                rows[-1].append(entry)
            else:
                rows[-1].append(self.items())
            cells += 1
            if cells > MATRIX:
                raise TooLarge("too large a matrix")
        if not self.at("end", name):
            raise Unreadable("an environment does not end")
        self.take()
        self.depth -= 1
        rows = [row for row in rows if row]
        if not rows:
            raise Unreadable("an empty matrix")
        if name == "cases":
            if all(len(row) == 1 for row in rows):
                return ("list", tuple(row[0] for row in rows)) if len(rows) > 1 else rows[0][0]
            if any(len(row) != 2 for row in rows):
                raise Unreadable("a case without condition")
            return ("cases", tuple((row[0], row[1]) for row in rows))
        if name not in _MATRICES or len({len(row) for row in rows}) != 1:
            raise Unreadable("a matrix of uneven rows")
        tree: Tree = ("mat", tuple(map(tuple, rows)))
        return ("fn", "det", (tree,)) if name == "vmatrix" else tree


def _whole(tree: Tree) -> bool:
    return tree[0] == "num" and tree[1].denominator == 1


def _times(a: Tree, b: Tree) -> Tree:
    return ("mul", (*(a[1] if a[0] == "mul" else (a,)), b))


def _mixed_or_product(a: Tree, b: Tree) -> Tree:
    """`2\\frac{1}{3}`: a mixed number if a whole number stands before a proper fraction of whole numbers."""
    if _whole(a) and b[0] == "div" and _whole(b[1]) and _whole(b[2]) and 0 < b[1][1] < b[2][1]:
        return ("num", a[1] + b[1][1] / b[2][1])
    return _times(a, b)


def _primed(tree: Tree, count: int) -> Tree:
    if tree[0] != "sym":
        raise Unreadable("a prime after no name")
    return ("sym", tree[1] + "'" * count)


def _index_text(index: Tree) -> str | None:
    """The text of an index that is a number, a word or one number with letters; None for an expression."""
    if index[0] == "num":
        return str(index[1])
    if index[0] == "text":
        return str(index[1])
    if index[0] == "mul" and all(part[0] in ("sym", "num", "const") for part in index[1]) and index[1][0][0] == "num":
        return "".join(str(part[1]) for part in index[1])
    if index[0] == "sym" and len(index[1]) == 1 and (index[1].isupper()):
        return index[1]
    return None
