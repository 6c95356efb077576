"""LaTeX commands as tokens."""

from __future__ import annotations

import re
from collections.abc import Callable

from math_qwen.verify.limits import Unparsable
from math_qwen.verify.parsing.keywords import (
    ALIASES,
    CONSTANTS,
    DECORATIONS,
    FONTS,
    FUNCTIONS,
    GREEK,
    JOINING,
    NAMED,
    OPERATORS,
    RELATIONS,
    SKIPPED,
    TEXT,
)
from math_qwen.verify.parsing.tokens import Token, symbol
from math_qwen.verify.parsing.units import is_unit_letter

Again = Callable[[str], list[Token]]
_COMMAND = re.compile(r"\\([a-zA-Z]+)\*?")
_BUILDING = frozenset(
    [
        "frac", "sqrt", "binom", "sum", "prod", "int", "iint", "oint", "lim", "stackrel", "underbrace", "overbrace",
        "pmod", "bmod", "mod", "pod", "substack",
    ]
)  # fmt: skip
_BUILDING_ALIASES = {"dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom"}
_BRACED = re.compile(r"\s*\{([^{}]*)\}")
_DERIVATIVE = re.compile(
    r"\\[dt]?frac\s*\{\s*(?:\\mathrm\s*\{d\}|d)\s*([a-zA-Z]?)\s*\}\s*\{\s*(?:\\mathrm\s*\{d\}|d)\s*([a-zA-Z])\s*\}"
)


def lex_latex(text: str, place: int, found: list[Token], spaced: bool, again: Again) -> int:
    """Append the tokens at `place`; return their end. `again` lexes the inside of a text command."""
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
            raise Unparsable(f"the command \\{following}")
        return place + 2
    name, end = match[1], match.end()
    if name in ("frac", "dfrac", "tfrac") and (derivative := _DERIVATIVE.match(text, place)):
        found.append(Token("name", f"d{derivative[1]}/d{derivative[2]}", spaced))
        return derivative.end()
    if name in SKIPPED:
        return end
    if name in _BUILDING or name in _BUILDING_ALIASES:
        found.append(Token("cmd", _BUILDING_ALIASES.get(name, name), spaced))
    elif name in ("begin", "end"):
        braced = _BRACED.match(text, end)
        if braced is None:
            raise Unparsable("an environment without a name")
        end = braced.end()
        environment = braced[1].strip().rstrip("*")
        if environment == "array" and name == "begin" and (columns := _BRACED.match(text, end)):
            end = columns.end()
        if environment not in ("align", "equation", "aligned", "gathered", "gather", "split"):
            found.append(Token(name, environment, spaced))
    elif name in TEXT:
        end = _text(text, end, found, spaced, again)
    elif name == "mathbb":
        braced = _BRACED.match(text, end)
        letter = braced[1].strip() if braced else text[end : end + 1]
        end = braced.end() if braced else end + 1
        if letter not in NAMED:
            raise Unparsable("an unknown set")
        found.append(Token("named", letter, spaced))
    elif name in FONTS:
        braced = _BRACED.match(text, end)
        if braced and braced[1].strip() in ("R", "Z", "N", "Q", "C") and name == "mathbf":
            found.append(Token("named", braced[1].strip(), spaced))
            end = braced.end()
    elif name in DECORATIONS:
        found.append(Token("deco", name, spaced))
    elif name in FUNCTIONS or name in ALIASES:
        found.append(Token("fn", ALIASES.get(name, name), spaced))
    elif name in CONSTANTS:
        found.append(Token("const", CONSTANTS[name], spaced))
    elif name in GREEK:
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
    elif name in RELATIONS:
        found.append(Token("rel", RELATIONS[name], spaced))
    elif name in OPERATORS:
        found.append(Token("op", OPERATORS[name], spaced))
    elif name.startswith(("quad", "qquad")):  # `\quadx`
        return place + (5 if name[1] == "u" else 6)
    else:
        found.append(Token("name", "\\" + name, spaced))  # an unknown macro equals only itself
    return end


def _text(text: str, place: int, found: list[Token], spaced: bool, again: Again) -> int:
    braced = _BRACED.match(text, place)
    if braced is None:
        if _BRACED.match(text, place) is None and text[place : place + 1].isalpha():
            return place
        return place
    content, end = braced[1].strip(), braced.end()
    if content in JOINING or content.strip(" ,") in JOINING:
        found.append(Token("sep", JOINING[content.strip(" ,")], spaced))
    elif content in FUNCTIONS or content in ALIASES:
        found.append(Token("fn", ALIASES.get(content, content), spaced))
    elif not content:
        pass
    elif len(content) == 1 and content.isascii() and content.isalpha():
        # A single upright letter after a number is a unit, else a symbol.
        if is_unit_letter(content) and found and found[-1].kind in ("num", "close"):
            found.append(Token("words", content, spaced))
        else:
            found.append(symbol(content, spaced))
    elif (
        re.fullmatch(r"[0-9.,\s/%$-]+", content)
        or content in ("(", ")", ",", ";", "%", "pi")
        or re.fullmatch(r"\(?[A-Z]\)?", content)
    ):
        found.extend(again(content))
    elif content in ("mod", "pi"):
        found.append(Token("cmd", "mod", spaced))
    elif content.lower() in ("percent", "pct", "percentage", "per cent"):
        found.append(Token("op", "%", spaced))
    elif content in ("in", "at") and (not found or found[-1].kind != "num"):
        found.append(Token("words", content, spaced))
    else:
        found.append(Token("words", content, spaced))
    return end
