"""The equations of a worked solution, `<<48/2=24>>`: a small parser, decided by sympy's rational numbers."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from sympy import Rational

TOLERANCE = Rational(1, 1000)  # report section 2

MAX_LENGTH = 300  # characters of an equation
MAX_DEPTH = 30  # nested parentheses and signs
MAX_DIGITS = 40  # of a written number
MAX_EXPONENT = 64
MAX_BITS = 2048  # of a value's numerator and denominator

ANNOTATION = re.compile(r"<<([^<>]*)>>")

_VULGAR = re.compile(r"(\d{1,40})?\s?([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒])")
_SIGNS = str.maketrans(
    {"×": "*", "✕": "*", "·": "*", "⋅": "*", "∗": "*", "•": "*", "÷": "/", "∕": "/", "⁄": "/"}
    | dict.fromkeys("−–—‒", "-")
    | dict.fromkeys("[{", "(")
    | dict.fromkeys("]}", ")")
)
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<mixed>\d+\ +\d+/\d+(?![\d.,/]))
    |(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d.]) | \d+\.?\d*(?![\d.]) | \.\d+(?![\d.]))
    |(?P<times>[xX](?=\s*[\d.($£€¥]))
    |(?P<sign>\*\*|[-+*/^%()=])
    |(?P<currency>[$£€¥])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Check:
    """`reason`: if true "exact", "rounded" or "within 0.001", perhaps with ", % as a unit"; if false for example
    "false: 5*4 is 20, not 21"; else "not arithmetic: …". `value`: of the leftmost side, None if unreadable.
    `corrected`: the right side that would be true, if there is one.
    """

    equation: str
    ok: bool
    reason: str
    value: Rational | None = None
    corrected: str | None = None


class NotArithmetic(ValueError):
    """Also beyond a limit. The message says why."""


def equations(solution: str) -> list[str]:
    return ANNOTATION.findall(solution)


@lru_cache(maxsize=1 << 17)
def check(equation: str) -> Check:
    """Whether an equation is true: every link of a chain `a=b=c` must be.

    A link is true if its sides are equal as rational numbers ("exact"), its right side is a decimal with digits after
    the point to which the left side rounds ("rounded"), or they differ by at most 0.001. An integer is never a rounded
    value: 10/3=3.3 is true, 10/3=3 is not. `20%` is 1/5, but 30/60*100=50% is true with % as a unit.
    """
    try:
        tokens = _tokens(equation)
    except NotArithmetic as error:
        return Check(equation, False, f"not arithmetic: {error}")
    sides: list[list[str]] = [[]]
    for token in tokens:
        if token == "=":
            sides.append([])
        else:
            sides[-1].append(token)
    values: list[Rational] = []
    for i, side in enumerate(sides):
        try:
            values.append(_Parser(side).value())
        except NotArithmetic as error:
            corrected = decimal_text(values[-1], None) if values and i == len(sides) - 1 else None
            return Check(equation, False, f"not arithmetic: {error}", values[0] if values else None, corrected)
    if len(sides) == 1:
        return Check(equation, False, "not an equation: no '='", values[0], decimal_text(values[0], None))
    how = "exact"
    for i in range(len(sides) - 1):
        link = _link(values[i], values[i + 1], sides[i + 1])
        if link is None:
            left, right = ("".join(side) for side in (sides[i], sides[i + 1]))
            shown = decimal_text(values[i], sides[i + 1])
            return Check(
                equation,
                False,
                f"false: {left} is {shown}, not {right}",
                values[0],
                shown if i == len(sides) - 2 else None,
            )
        how = link if link != "exact" else how
    return Check(equation, True, how, values[0])


def value(expression: str) -> Rational:
    """Raises NotArithmetic."""
    return _Parser(_tokens(expression)).value()


def decimal_text(number: Rational, like: list[str] | None) -> str:
    """Exact if six decimals suffice, else rounded to the decimals of the side `like`, or to 2."""
    if number.q == 1:
        return str(number.p)
    sign, size = ("-" if number < 0 else ""), abs(number)
    for places in range(1, 7):
        if (size * 10**places).q == 1:
            break
    else:
        places = max(2, _decimals(like) if like else 0)
    scaled = int((size * 10**places * 2 + 1) // 2)
    whole, rest = divmod(scaled, 10**places)
    return f"{sign}{whole}.{rest:0{places}d}"


def distinct_key(solution: str) -> tuple[str, ...]:
    """A solution's equations; solutions with one key are one path to the answer (RFT, report section 2).

    Spaces, the sign for times, currency signs, thousands commas and trailing zeros do not count.
    """
    return tuple(normalised(equation) for equation in equations(solution))


def normalised(equation: str) -> str:
    """An equation in one spelling; if it is not arithmetic, only without spaces."""
    try:
        return "".join(_spelled(t) if t[0] in "0123456789." else t for t in _tokens(equation))
    except NotArithmetic:
        return "".join(equation.split())


def _spelled(token: str) -> str:
    whole, _, rest = token.partition(".")
    whole, rest = whole.lstrip("0") or "0", rest.rstrip("0")
    return f"{whole}.{rest}" if rest else whole


def _link(left: Rational, right: Rational, side: list[str]) -> str | None:
    """Why the link is true, or None."""
    readings = [(right, side, "")]
    if side[-1] == "%" and len(side) <= 3:  # a number and its sign, perhaps negative
        readings.append((right * 100, side[:-1], ", % as a unit"))
    for number, tokens, note in readings:
        if left == number:
            return "exact" + note
        difference = abs(left - number)
        places = _decimals(tokens)
        percent = 100 if tokens[-1] == "%" else 1
        if places and difference * 2 * percent <= Rational(1, 10**places):
            return "rounded" + note
        if difference <= TOLERANCE:
            return "within 0.001" + note
    return None


def _decimals(side: list[str]) -> int:
    """After the point if the side is one decimal number, else 0."""
    numbers = [t for t in side if t not in ("-", "+", "%")]
    return len(numbers[0].partition(".")[2]) if len(numbers) == 1 and len(side) <= 3 else 0


def _tokens(text: str) -> list[str]:
    """Numbers without thousands commas, and `+ - * / ^ % ( ) =`. Drops currency signs. Raises NotArithmetic."""
    if len(text) > MAX_LENGTH:
        raise NotArithmetic(f"longer than {MAX_LENGTH} characters")
    text = _VULGAR.sub(lambda m: f"({m[1] or 0}+{unicodedata.normalize('NFKC', m[2])})", text)
    text = unicodedata.normalize("NFKC", text).translate(_SIGNS).rstrip()
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotArithmetic(f"{text[position:].strip()[:20]!r} cannot be read")
        kind, position = match.lastgroup, match.end()
        token = match.group(kind or 0)
        if kind == "number":
            if len(token) > MAX_DIGITS:
                raise NotArithmetic(f"a number of more than {MAX_DIGITS} digits")
            if tokens and tokens[-1][-1] in "0123456789.":
                raise NotArithmetic(f"two numbers side by side: {tokens[-1]} {token}")
            tokens.append(token.replace(",", ""))
        elif kind == "mixed":
            whole, numerator, denominator = re.split(r" +|/", token)
            if max(map(len, (whole, numerator, denominator))) > MAX_DIGITS:
                raise NotArithmetic(f"a number of more than {MAX_DIGITS} digits")
            tokens += ["(", whole, "+", numerator, "/", denominator, ")"]
        elif kind == "times":
            tokens.append("*")
        elif kind == "sign":
            tokens.append("^" if token == "**" else token)
    return tokens


def _number(token: str) -> Rational:
    whole, _, rest = token.partition(".")
    return Rational(int((whole + rest) or 0), 10 ** len(rest))


class _Parser:
    """`^` binds tightest and to the right, then signs, `* /`, `+ -`."""

    def __init__(self, tokens: list[str]):
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def value(self) -> Rational:
        if not self._tokens:
            raise NotArithmetic("an empty side")
        number = self._sum()
        if self._at < len(self._tokens):
            raise NotArithmetic(f"'{self._next()}' is out of place")
        return number

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _sum(self) -> Rational:
        number = self._product()
        while self._next() in ("+", "-"):
            sign = self._take()
            other = self._product()
            number = _bounded(number + other if sign == "+" else number - other)
        return number

    def _product(self) -> Rational:
        number = self._signed()
        while self._next() in ("*", "/", "("):
            sign = self._take() if self._next() != "(" else "*"
            other = self._signed()
            if sign == "/" and other == 0:
                raise NotArithmetic("a division by zero")
            number = _bounded(number * other if sign == "*" else number / other)
        return number

    def _signed(self) -> Rational:
        if self._next() in ("+", "-"):
            self._deeper()
            negative = self._take() == "-"
            number = -self._signed() if negative else self._signed()
            self._depth -= 1
            return number
        return self._power()

    def _power(self) -> Rational:
        base = self._atom()
        while self._next() == "%":
            self._take()
            base = base / 100
        if self._next() != "^":
            return base
        self._take()
        self._deeper()
        exponent = self._signed()
        self._depth -= 1
        if exponent.q != 1 or abs(exponent) > MAX_EXPONENT:
            raise NotArithmetic(f"an exponent that is no integer up to {MAX_EXPONENT}")
        if base == 0 and exponent < 0:
            raise NotArithmetic("a division by zero")
        if max(abs(base.p).bit_length(), base.q.bit_length()) * abs(int(exponent)) > MAX_BITS:
            raise NotArithmetic("a number too large")
        return base**exponent

    def _atom(self) -> Rational:
        if not self._next():
            raise NotArithmetic("the end comes too early")
        token = self._take()
        if token == "(":
            self._deeper()
            number = self._sum()
            self._depth -= 1
            if self._next() != ")":
                raise NotArithmetic("a parenthesis that is not closed")
            self._take()
            return number
        if token[0] not in "0123456789.":
            raise NotArithmetic(f"'{token}' is out of place")
        return _number(token)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotArithmetic(f"nested deeper than {MAX_DEPTH}")


def _bounded(number: Rational) -> Rational:
    if max(abs(number.p).bit_length(), number.q.bit_length()) > MAX_BITS:
        raise NotArithmetic("a number too large")
    return number
