"""LaTeX or plain mathematics, cut into tokens. One pass, linear in the text."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from math_qwen.verify.bounds import ANSWER_CHARS, DIGITS, TOKENS, TooLarge, Unreadable
from math_qwen.verify.units import is_unit_letter, is_unit_word
from math_qwen.verify.words import chinese_number, spell_out


class Token(NamedTuple):
    kind: str
    value: object = None
    spaced: bool = False  # white space stood before it
    raw: str = ""


FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "arccot",
        "arcsec",
        "arccsc",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "sech",
        "csch",
        "arcsinh",
        "arccosh",
        "arctanh",
        "ln",
        "log",
        "lg",
        "exp",
        "abs",
        "gcd",
        "lcm",
        "max",
        "min",
        "floor",
        "ceil",
        "ceiling",
        "det",
        "cbrt",
        "Re",
        "Im",
        "arg",
        "sgn",
        "sign",
        "deg",
        "dim",
        "rank",
        "tr",
    ]
)
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "tg": "tan", "ctg": "cot", "arctg": "arctan",
            "ceiling": "ceil", "sgn": "sign", "cosec": "csc", "sen": "sin"}  # fmt: skip
_CONSTANTS = {"pi": "pi", "infty": "oo", "infinity": "oo", "inf": "oo", "oo": "oo", "Infinity": "oo"}
_GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "varrho",
        "sigma",
        "varsigma",
        "tau",
        "upsilon",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
        "Upsilon",
        "ell",
        "hbar",
        "nabla",
        "partial",
        "aleph",
        "imath",
        "jmath",
    ]
)
_SKIPPED = frozenset(
    [
        "left",
        "right",
        "big",
        "Big",
        "bigg",
        "Bigg",
        "bigl",
        "bigr",
        "Bigl",
        "Bigr",
        "biggl",
        "biggr",
        "Biggl",
        "Biggr",
        "quad",
        "qquad",
        "displaystyle",
        "textstyle",
        "limits",
        "nolimits",
        "boxed",
        "fbox",
        "mathstrut",
        "hline",
        "nonumber",
        "enspace",
        "thinspace",
        "negthinspace",
        "medspace",
        "allowbreak",
        "noindent",
        "centering",
        "cssId",
        "rm",
        "it",
        "bf",
        "scriptstyle",
        "large",
        "Large",
        "hfill",
        "strut",
        "smash",
        "ensuremath",
    ]
)
_RELATIONS = {
    "=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "=<": "<=", "=>": "to", "!=": "!=", "<>": "!=",
    "/=": "!=", ":=": "=", "lt": "<", "gt": ">", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=",
    "geqslant": ">=", "leqq": "<=", "geqq": ">=", "ne": "!=", "neq": "!=", "approx": "~", "thickapprox": "~", "sim": "~",  # noqa: E501
    "simeq": "~", "approxeq": "~", "~=": "~", "doteq": "~", "in": "in", "notin": "notin", "subset": "subset",
    "subseteq": "subset", "supset": "supset", "supseteq": "supset", "equiv": "equiv", "cong": "cong", "propto": "propto",  # noqa: E501
    "to": "to", "rightarrow": "to", "Rightarrow": "to", "implies": "to", "longrightarrow": "to", "iff": "to", "mapsto": "to",  # noqa: E501
    "Leftrightarrow": "to", "parallel": "parallel", "perp": "perp", "->": "to", "coloneqq": "=", "nmid": "nmid",
}  # fmt: skip
_OPERATORS = {
    "+": "+", "-": "-", "*": "*", "**": "^", "^": "^", "/": "/", "_": "_", "!": "!", "%": "%", "cdot": "*", "times": "*",  # noqa: E501
    "ast": "*", "div": "/", "pm": "pm", "mp": "mp", "cup": "cup", "bigcup": "cup", "cap": "cap", "bigcap": "cap",
    "setminus": "setminus", "backslash": "setminus", "degree": "deg", "circ": "circ", "mid": "mid", "colon": ":", ":": ":",  # noqa: E501
    "vee": "or", "lor": "or", "land": "and", "wedge": "and", "neg": "not", "lnot": "not", "+/-": "pm", "-/+": "mp",
    "bullet": "*", "prime": "'", "'": "'", "choose": "choose", "over": "over", "smallsetminus": "setminus",
    "percent": "%", "pct": "%", "percentage": "%",
}  # fmt: skip
_TEXT = frozenset(
    [
        "text",
        "mbox",
        "textbf",
        "textit",
        "textrm",
        "textnormal",
        "textsf",
        "texttt",
        "mathrm",
        "mathit",
        "mathsf",
        "mathtt",
        "operatorname",
        "hbox",
        "emph",
        "textsc",
        "mathop",
        "mathnormal",
    ]
)
_FONTS = frozenset(["mathbf", "mathcal", "mathfrak", "boldsymbol", "bm", "mathscr", "pmb"])
_DECORATIONS = frozenset(
    [
        "overline",
        "bar",
        "vec",
        "hat",
        "widehat",
        "tilde",
        "widetilde",
        "dot",
        "ddot",
        "overrightarrow",
        "overleftrightarrow",
        "underline",
    ]
)
_NAMED = {"R": "R", "Z": "Z", "N": "N", "Q": "Q", "C": "C", "reals": "R", "Reals": "R"}
_JOINING = {"and": "and", "or": "or", "和": "and", "或": "or", "或者": "or", "且": "and", "以及": "and", "与": "and",
            "及": "and", "&": "and", "and/or": "or"}  # fmt: skip

_SPACE = re.compile(r"(?:\s|\\[,;:!> ]|~|\\(?:left|right)(?![a-zA-Z])\s*\.?)+")
_COMMAND = re.compile(r"\\([a-zA-Z]+)\*?")
_LETTERS = re.compile(r"[A-Za-z]+")
_WORDS = re.compile(r"[A-Za-z]+(?:[ '-][A-Za-z]+)*")
_CHINESE = re.compile(r"[\u4e00-\u9fff]+")
_JOIN_CHINESE = re.compile(r"(或者|以及|[和或且与及])")
_OTHER_LETTERS = re.compile(r"[^\W\d_]+")
_DEGREE = re.compile(r"\^\s*(?:\{\s*)?\\circ\s*\}?|\^\s*o(?![a-z])|\\degree")
_BRACED = re.compile(r"\s*\{([^{}]*)\}")
_DERIVATIVE = re.compile(
    r"\\[dt]?frac\s*\{\s*(?:\\mathrm\s*\{d\}|d)\s*([a-zA-Z]?)\s*\}\s*\{\s*(?:\\mathrm\s*\{d\}|d)\s*([a-zA-Z])\s*\}"
)
_BASED = re.compile(
    r"\(?(?<![\w.])([0-9][0-9A-Za-z]*)\)?\s*_\s*(?:\{\s*\(?\s*(?:\\text\s*\{)?\s*([0-9]{1,2}"
    r"|[a-z]+)\s*\}?\s*\)?\s*\}|([0-9]))"
)
_BASE_WORDS = re.compile(r"([0-9][0-9A-Za-z]*)\s*(?:\(\s*)?(?:in )?base[ -]([0-9]{1,2}|[a-z]+)\s*\)?")
_BASES = dict(zip(["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "sixteen"],  # noqa: E501
                  [*range(2, 13), 16], strict=True))  # fmt: skip
_GAP = r"(?:,|\{\s*,\s*\}|,\s?\\!\s?|,\{\}|\\,|\\ |\\!|\{\\,\})"
_GROUPED = re.compile(rf"\d{{1,3}}(?:{_GAP}\d{{3}})+(?!\d)")
_LATEX_GROUPED = re.compile(r"\d{1,3}(?:(?:\{\s*,\s*\}|,\s?\\!\s?|,\{\}|\\,|\\!)\d{3})+(?!\d)")
_SPACED_GROUPS = re.compile(r"\d{1,3}(?: \d{3})+(?![\d/ ])")
_DOTTED_GROUPS = re.compile(r"\d{1,3}(?:\.\d{3}){2,}(?![\d.])")
_DIGITS = re.compile(r"\d+")
_FRACTION_PART = re.compile(r"\.(\d+)")
_BRACED_COMMA = re.compile(r"\{,\}(\d+)")
_REPEATING = re.compile(r"\\(?:overline|bar|dot|overset)\s*(?:\{\s*(\d+)\s*\}|(\d))|\((\d+)\)")
_DOTS = re.compile(r"(?:\\dot\s*\{?\s*(\d)\s*\}?\s*)(\d*)(?:\\dot\s*\{?\s*(\d)\s*\}?)?")
_ELLIPSIS = re.compile(r"\s?(?:\.\.\.+|\\[lc]?dots\b|…)")
_SCIENTIFIC = re.compile(r"[eE]([+-]?\d{1,6})(?![\dA-Za-z])")
_LONG_OPERATORS = re.compile(r"\*\*|<=|>=|==|!=|<>|=<|=>|:=|->|~=|/=|\+/-|-/\+")
_PROSE = frozenset(
    [
        "so",
        "the",
        "is",
        "it",
        "of",
        "to",
        "in",
        "we",
        "not",
        "was",
        "are",
        "for",
        "by",
        "on",
        "at",
        "be",
        "as",
        "an",
        "has",
        "had",
        "he",
        "she",
        "if",
        "no",
        "yes",
        "you",
        "my",
        "our",
        "its",
        "let",
        "but",
        "get",
        "got",
        "can",
        "all",
        "any",
        "who",
        "how",
        "why",
        "see",
        "use",
        "his",
        "her",
        "out",
        "now",
        "then",
        "that",
        "this",
        "thus",
        "hence",
        "number",
        "answer",
        "which",
        "what",
        "were",
        "did",
        "does",
        "do",
        "may",
        "will",
        "than",
    ]
)
_OPENING = re.compile(r"\s*(?:\\left\s*)?\\?[(\[{]")
_WORD_AHEAD = re.compile(r" [A-Za-z]{3}")
_UNIT_END = re.compile(r"(?:/[a-zA-Z]{1,3}|/\w{1,3}\^\{?2\}?|\^\{?[23]\}?)?[ .$]*$")
_SYMBOLS = re.compile(r"[a-df-hj-np-tv-zA-Z]{2}$|[b-df-hj-np-tv-zA-Z]{3}$")  # symbols side by side, not a word
_BESIDE_WORD = re.compile(r"[ ,]+(?:[A-Za-z]{2}|[aI]\b|\d|\$)")


def tokens(text: str, thousands: bool = True, decimal_comma: bool = False) -> list[Token]:
    """The tokens of `text`, which `normalise.plain` has seen. `thousands`: `1,234` is one number, not two.

    Raises Unreadable for characters that no mathematics has, TooLarge beyond the bounds.
    """
    if len(text) > ANSWER_CHARS:
        raise TooLarge("the answer is too long")
    found: list[Token] = []
    place, end, spaced = 0, len(text), False
    integral = "\\int" in text or "∫" in text
    while place < end:
        if len(found) > TOKENS:
            raise TooLarge("the answer has too many parts")
        character = text[place]
        if character in " \t\n\r\f\v\\~":
            match = _SPACE.match(text, place)
            if match and not (character == "~" and text.startswith("~=", place)):
                place, spaced = match.end(), True
                continue
        before = len(found)
        if (character.isdigit() and character.isascii()) or (
            character == "." and text[place + 1 : place + 2].isdigit()
        ):
            place = _number(text, place, found, spaced, thousands, decimal_comma)
        elif character == "\\":
            place = _command(text, place, found, spaced)
        elif character.isascii() and character.isalpha():
            match = _LETTERS.match(text, place)
            place = _letters(text, place, match[0], found, spaced, integral)
        elif match := _CHINESE.match(text, place):
            _chinese(match[0], found, spaced)
            place = match.end()
        elif character == "^" and (match := _DEGREE.match(text, place)):
            found.append(Token("op", "deg", spaced))
            place = match.end()
        elif match := _LONG_OPERATORS.match(text, place):
            name = match[0]
            kind = "rel" if name in _RELATIONS else "op"
            found.append(Token(kind, _RELATIONS.get(name) or _OPERATORS[name], spaced))
            place = match.end()
        elif character in "([{":
            if character == "(" and (match := _BASED.match(text, place)) and match[0].count("(") == match[0].count(")"):
                found.append(Token("num", _in_base(match[1], match[2] or match[3]), spaced, match[0]))
                place = match.end()
            else:
                found.append(Token("open", character, spaced))
                place += 1
        elif character in ")]}":
            found.append(Token("close", character, spaced))
            place += 1
        elif character in ",;":
            found.append(Token("sep", character, spaced))
            place += 1
        elif character == "|":
            found.append(Token("bar", "|", spaced))
            place += 1
        elif character in "=<>":
            found.append(Token("rel", _RELATIONS[character], spaced))
            place += 1
        elif character == "&":
            found.append(Token("amp", None, spaced))
            place += 1
        elif character in "$€£¥₹":
            found.append(Token("cur", character, spaced))
            place += 1
        elif character in _OPERATORS:
            found.append(Token("op", _OPERATORS[character], spaced))
            place += 1
        elif character in '"`?':
            place += 1
        elif character == "." and text[place:].startswith("..."):
            found.append(Token("dots", None, spaced))
            place += 3
        elif character == ".":
            if place + 1 < end and text[place + 1 :].strip(" }$)"):
                raise Unreadable("a sentence")
            place += 1
        elif match := _OTHER_LETTERS.match(text, place):
            found.append(Token("words", match[0], spaced))
            place = match.end()
        else:
            raise Unreadable(f"the character {character!r}")
        if len(found) > before:
            spaced = False
    return found


def _number(text: str, place: int, found: list[Token], spaced: bool, thousands: bool, decimal_comma: bool) -> int:
    start = place
    if "_" in text and (match := _BASED.match(text, place)):
        found.append(Token("num", _in_base(match[1], match[2] or match[3]), spaced, match[0]))
        return match.end()
    if "base" in text and (match := _BASE_WORDS.match(text, place)):
        found.append(Token("num", _in_base(match[1], match[2]), spaced, match[0]))
        return match.end()
    whole = ""
    if text[place] != ".":
        match = None
        grouped = _GROUPED if thousands else _LATEX_GROUPED
        if not decimal_comma:
            match = grouped.match(text, place) or _DOTTED_GROUPS.match(text, place)
        if match is None and not found:
            match = _SPACED_GROUPS.match(text, place)
        if match is None:
            match = _DIGITS.match(text, place)
        whole, place = "".join(c for c in match[0] if c in "0123456789"), match.end()
    part = _FRACTION_PART.match(text, place)
    if part is None and (match := _BRACED_COMMA.match(text, place)):
        part = match
    if part is None and decimal_comma and text[place : place + 1] == "," and text[place + 1 : place + 2].isdigit():
        part = re.compile(r",(\d+)").match(text, place)
    digits = ""
    if part is not None:
        digits, place = part[1], part.end()
    if len(whole) + len(digits) > DIGITS:
        raise TooLarge("a number has too many digits")
    value = Fraction(int(whole + digits or 0), 10 ** len(digits))
    pointed = part is not None or (text[place : place + 1] == "." and _REPEATING.match(text, place + 1))
    if pointed:
        at = place if part is not None else place + 1
        repeat = ""
        if match := _REPEATING.match(text, at) if not text.startswith("\\dot", at) else None:
            repeat, place = match[1] or match[2] or match[3], match.end()
        elif text.startswith("\\dot", at) and not text.startswith("\\dots", at) and (match := _DOTS.match(text, at)):
            repeat, place = match[1] + ((match[2] + match[3]) if match[3] else ""), match.end()
        elif match := _ELLIPSIS.match(text, at):
            repeat, place = _period(digits), match.end()
            if not repeat:
                raise Unreadable("a decimal that goes on, nobody knows how")
            value = Fraction(int((whole or "0") + digits), 10 ** len(digits))
            value += Fraction(int(repeat), 10 ** len(digits) * (10 ** len(repeat) - 1))
            repeat = ""
        if repeat:
            if len(repeat) + len(digits) > DIGITS:
                raise TooLarge("a number has too many digits")
            value += Fraction(int(repeat), 10 ** len(digits) * (10 ** len(repeat) - 1))
    if match := _SCIENTIFIC.match(text, place):
        power = int(match[1])
        if abs(power) > DIGITS:
            raise TooLarge("a number has too many digits")
        value *= Fraction(10) ** power
        place = match.end()
    found.append(Token("num", value, spaced, text[start:place]))
    return place


def _period(digits: str) -> str:
    """The shortest period that the digits end in, seen three times, or twice if it has three digits or more; else
    ''.
    """
    for length in range(1, len(digits) // 2 + 1):
        times = 3 if length < 3 else 2
        if len(digits) >= times * length and digits.endswith(digits[-length:] * times):
            return digits[-length:]
    return ""


def _in_base(digits: str, base: str) -> Fraction:
    number = _BASES.get(base) or (int(base) if base.isdigit() else 0)
    if not 2 <= number <= 36 or len(digits) > DIGITS:
        raise Unreadable("a number in no known base")
    try:
        return Fraction(int(digits, number))
    except ValueError:
        raise Unreadable(f"{digits} has digits that base {number} has not") from None


def _command(text: str, place: int, found: list[Token], spaced: bool) -> int:
    match = _COMMAND.match(text, place)
    if match is None:
        following = text[place + 1 : place + 2]
        if following == "\\":
            found.append(Token("row", None, spaced))
        elif following in "{}":
            found.append(Token("open" if following == "{" else "close", "\\" + following, spaced))
        elif following == "|":
            found.append(Token("bar", "|", spaced))
        elif following in "%$&":
            found.append(Token("op", "%", spaced) if following == "%" else Token("cur", "$", spaced))
        elif following in "()[]\"'#_" or not following:
            return place + 2
        else:
            raise Unreadable(f"the command \\{following}")
        return place + 2
    name, end = match[1], match.end()
    if name in ("frac", "dfrac", "tfrac") and (derivative := _DERIVATIVE.match(text, place)):
        found.append(Token("name", f"d{derivative[1]}/d{derivative[2]}", spaced))
        return derivative.end()
    if name in _SKIPPED:
        return end
    if name in ("frac", "dfrac", "tfrac", "cfrac", "sqrt", "binom", "dbinom", "tbinom", "sum", "prod", "int", "iint", "oint",  # noqa: E501
                "lim", "stackrel", "underbrace", "overbrace", "pmod", "bmod", "mod", "pod", "substack"):  # fmt: skip
        found.append(Token("cmd", {"dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom",
                                   "tbinom": "binom"}.get(name, name), spaced))  # fmt: skip
    elif name in ("begin", "end"):
        braced = _BRACED.match(text, end)
        if braced is None:
            raise Unreadable("an environment without a name")
        end = braced.end()
        environment = braced[1].strip().rstrip("*")
        if environment == "array" and name == "begin" and (columns := _BRACED.match(text, end)):
            end = columns.end()
        if environment not in ("align", "equation", "aligned", "gathered", "gather", "split"):
            found.append(Token(name, environment, spaced))
    elif name in _TEXT:
        end = _text(text, end, found, spaced)
    elif name == "mathbb":
        braced = _BRACED.match(text, end)
        letter = braced[1].strip() if braced else text[end : end + 1]
        end = braced.end() if braced else end + 1
        if letter not in _NAMED:
            raise Unreadable("an unknown set")
        found.append(Token("named", letter, spaced))
    elif name in _FONTS:
        braced = _BRACED.match(text, end)
        if braced and braced[1].strip() in ("R", "Z", "N", "Q", "C") and name == "mathbf":
            found.append(Token("named", braced[1].strip(), spaced))
            end = braced.end()
    elif name in _DECORATIONS:
        found.append(Token("deco", name, spaced))
    elif name in FUNCTIONS or name in _ALIASES:
        found.append(Token("fn", _ALIASES.get(name, name), spaced))
    elif name in _CONSTANTS:
        found.append(Token("const", _CONSTANTS[name], spaced))
    elif name in _GREEK:
        found.append(Token("name", name.removeprefix("var"), spaced))
    elif name in ("emptyset", "varnothing", "empty", "O"):
        found.append(Token("named", "empty", spaced))
    elif name in ("lfloor", "lceil", "langle", "lbrace", "lbrack", "lparen"):
        found.append(Token("open", {"lbrace": "\\{", "lbrack": "[", "lparen": "("}.get(name, name), spaced))
    elif name in ("rfloor", "rceil", "rangle", "rbrace", "rbrack", "rparen"):
        found.append(Token("close", {"rbrace": "\\}", "rbrack": "]", "rparen": ")"}.get(name, name), spaced))
    elif name in ("lvert", "rvert", "vert", "lVert", "rVert", "Vert"):
        found.append(Token("bar", "|", spaced))
    elif name in ("ldots", "cdots", "dots", "vdots", "ddots", "dotsc", "dotsb", "dotsm"):
        found.append(Token("dots", None, spaced))
    elif name in ("angle", "triangle", "measuredangle", "sphericalangle", "square", "odot", "Box", "bigtriangleup"):
        found.append(Token("mark", name, spaced))
    elif name == "not":
        found.append(Token("op", "not", spaced))
    elif name in ("hspace", "vspace", "phantom", "hphantom", "tag", "label", "color", "textcolor", "mspace", "hskip"):
        braced = _BRACED.match(text, end)
        end = braced.end() if braced else end
    elif name in ("Reals", "reals"):
        found.append(Token("named", "R", spaced))
    elif name == "euro":
        found.append(Token("cur", "€", spaced))
    elif name == "pounds":
        found.append(Token("cur", "£", spaced))
    elif name in ("yen", "dollar"):
        found.append(Token("cur", "¥" if name == "yen" else "$", spaced))
    elif name in ("lq", "rq", "par", "newline"):
        pass
    elif name in _RELATIONS:
        found.append(Token("rel", _RELATIONS[name], spaced))
    elif name in _OPERATORS:
        found.append(Token("op", _OPERATORS[name], spaced))
    elif name.startswith(("quad", "qquad")):  # `\quadx`
        return place + (5 if name[1] == "u" else 6)
    else:
        found.append(Token("name", "\\" + name, spaced))  # a macro nobody knows equals itself only
    return end


def _text(text: str, place: int, found: list[Token], spaced: bool) -> int:
    braced = _BRACED.match(text, place)
    if braced is None:
        if _BRACED.match(text, place) is None and text[place : place + 1].isalpha():
            return place
        # Braces inside: the parser sees them as a group.
        return place
    content, end = braced[1].strip(), braced.end()
    if content in _JOINING or content.strip(" ,") in _JOINING:
        found.append(Token("sep", _JOINING[content.strip(" ,")], spaced))
    elif content in FUNCTIONS or content in _ALIASES:
        found.append(Token("fn", _ALIASES.get(content, content), spaced))
    elif not content:
        pass
    elif len(content) == 1 and content.isascii() and content.isalpha():
        # After a number a single upright letter is a unit, elsewhere a symbol.
        if is_unit_letter(content) and found and found[-1].kind in ("num", "close"):
            found.append(Token("words", content, spaced))
        else:
            found.append(_letter(content, spaced))
    elif (
        re.fullmatch(r"[0-9.,\s/%$-]+", content)
        or content in ("(", ")", ",", ";", "%", "pi")
        or re.fullmatch(r"\(?[A-Z]\)?", content)
    ):
        found.extend(tokens(content))
    elif content in ("mod", "pi"):
        found.append(Token("cmd", "mod", spaced))
    elif content.lower() in ("percent", "pct", "percentage", "per cent"):
        found.append(Token("op", "%", spaced))
    elif content in ("in", "at") and (not found or found[-1].kind != "num"):
        found.append(Token("words", content, spaced))
    else:
        found.append(Token("words", content, spaced))
    return end


def _letter(letter: str, spaced: bool) -> Token:
    if letter in "ei":
        return Token("const", letter, spaced)
    return Token("name", letter, spaced)


def _letters(text: str, place: int, run: str, found: list[Token], spaced: bool, integral: bool) -> int:
    """A run of plain letters: a function, a constant, a joining word, a unit, several symbols or a word."""
    end = place + len(run)
    after_value = bool(found) and (found[-1].kind in ("num", "close", "words") or found[-1].value in ("deg", "%"))
    lower = run.lower()
    if len(run) == 1:
        if run in "aA" and not found and _WORD_AHEAD.match(text, end):
            found.append(Token("words", run, spaced))  # an article
        elif after_value and spaced and found[-1].kind == "num" and is_unit_letter(run) and _UNIT_END.match(text, end):
            found.append(Token("words", run, spaced))
        else:
            found.append(_letter(run, spaced))
        return end
    if lower in _JOINING and run in (lower, lower.upper(), lower.capitalize()):
        found.append(Token("sep", _JOINING[lower], spaced))
        return end
    if run in FUNCTIONS or run in _ALIASES:
        found.append(Token("fn", _ALIASES.get(run, run), spaced))
        return end
    if lower == "sqrt":
        found.append(Token("fn", "sqrt", spaced))
        return end
    if run in _CONSTANTS:
        found.append(Token("const", _CONSTANTS[run], spaced))
        return end
    if run == "mod":
        found.append(Token("cmd", "mod", spaced))
        return end
    if lower in ("percent", "percentage", "pct"):
        found.append(Token("op", "%", spaced))
        return end
    if lower == "per" and text[end : end + 5].lower() == " cent":
        found.append(Token("op", "%", spaced))
        return end + 5
    if run in _GREEK:
        found.append(Token("name", run, spaced))
        return end
    if run in ("union", "cup", "U") and found and found[-1].kind in ("close", "named"):
        found.append(Token("op", "cup", spaced))
        return end
    if integral and len(run) == 2 and run[0] == "d":
        found.append(Token("diff", run[1], spaced))
        return end
    if after_value and is_unit_word(run):
        found.append(Token("words", run, spaced))
        return end
    if run[:-1] in ("sin", "cos", "tan", "ln", "log", "cot", "sec"):  # `sinx`
        found.append(Token("fn", run[:-1], spaced))
        found.append(_letter(run[-1], False))
        return end
    for joint in ("or", "and"):  # `1orx`
        if run.startswith(joint) and after_value and not spaced and len(run) - len(joint) == 1:
            found.append(Token("sep", joint, spaced))
            found.append(_letter(run[-1], True))
            return end
    if lower in ("am", "pm") and after_value:
        found.append(Token("words", lower, spaced))
        return end
    if run == "in" and _OPENING.match(text, end):
        found.append(Token("rel", "in", spaced))
        return end
    if not after_value:
        phrase = _WORDS.match(text, place)[0]
        spelled = spell_out(phrase)
        if spelled != phrase:
            found.extend(tokens(spelled))
            return place + len(phrase)
    if len(run) == len(text.strip()) and not run.isupper() and not _SYMBOLS.match(run) and not _all_alike(run):
        found.append(Token("words", run, spaced))
        return end
    if lower in _PROSE and (_BESIDE_WORD.match(text, end) or (spaced and found and found[-1].kind == "words")):
        found.append(Token("words", run, spaced))
        return end
    if (len(run) <= 3 and not (after_value and spaced)) or (run.isupper() and len(run) <= 6) or _all_alike(run):
        for k, letter in enumerate(run):
            found.append(_letter(letter, spaced and k == 0))
        return end
    match = _WORDS.match(text, place)
    phrase, end = match[0], match.end()
    cut = re.search(r"[ -](?:and|or)\b", phrase)
    if cut:
        phrase, end = phrase[: cut.start()], place + cut.start()
    found.append(Token("words", phrase, spaced))
    return end


def _all_alike(run: str) -> bool:
    """`xyzw`, `abcd`: letters of one alphabet's usual symbols in order, not a word."""
    return len(run) <= 5 and (run in "abcdefgh" or run in "uvwxyz" or run in "wxyz" or run in "pqrstuv")


def _chinese(run: str, found: list[Token], spaced: bool) -> None:
    for part in _JOIN_CHINESE.split(run):
        if not part:
            continue
        if part in _JOINING:
            found.append(Token("sep", _JOINING[part], spaced))
            continue
        number = None if found and found[-1].kind == "num" else chinese_number(part)
        length = len(part)
        while number is None and length > 1 and not (found and found[-1].kind == "num"):
            length -= 1  # 五个苹果: the longest number that the run begins with
            number = chinese_number(part[:length])
        if number is not None:
            found.extend(tokens(number))
            part = part[length:] if length < len(part) else ""
        if part:
            found.append(Token("words", part, spaced))
