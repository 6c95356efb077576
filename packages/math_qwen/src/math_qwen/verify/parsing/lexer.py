"""LaTeX or plain mathematics to tokens, in one pass."""

from __future__ import annotations

import re

from math_qwen.verify.limits import ANSWER_CHARS, TOKENS, TooLarge, Unparsable
from math_qwen.verify.parsing.keywords import OPERATORS, RELATIONS
from math_qwen.verify.parsing.lex_latex import lex_latex
from math_qwen.verify.parsing.lex_numbers import BASED, in_base, lex_number
from math_qwen.verify.parsing.lex_words import lex_chinese, lex_letters
from math_qwen.verify.parsing.tokens import Token

_SPACE = re.compile(r"(?:\s|\\[,;:!> ]|~|\\(?:left|right)(?![a-zA-Z])\s*\.?)+")
_LETTERS = re.compile(r"[A-Za-z]+")
_CHINESE = re.compile(r"[\u4e00-\u9fff]+")
_OTHER_LETTERS = re.compile(r"[^\W\d_]+")
_DEGREE = re.compile(r"\^\s*(?:\{\s*)?\\circ\s*\}?|\^\s*o(?![a-z])|\\degree")
_LONG_OPERATORS = re.compile(r"\*\*|<=|>=|==|!=|<>|=<|=>|:=|->|~=|/=|\+/-|-/\+")


def tokens(text: str, thousands: bool = True, decimal_comma: bool = False) -> list[Token]:
    """The tokens of a `normalised` text. `thousands`: `1,234` is one number, not two.

    Raises Unparsable for a character foreign to mathematics, TooLarge beyond the limits.
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
            place = lex_number(text, place, found, spaced, thousands, decimal_comma)
        elif character == "\\":
            place = lex_latex(text, place, found, spaced, tokens)
        elif character.isascii() and character.isalpha():
            letters = _LETTERS.match(text, place)
            assert letters is not None
            place = lex_letters(text, place, letters[0], found, spaced, integral, tokens)
        elif match := _CHINESE.match(text, place):
            lex_chinese(match[0], found, spaced, tokens)
            place = match.end()
        elif character == "^" and (match := _DEGREE.match(text, place)):
            found.append(Token("op", "deg", spaced))
            place = match.end()
        elif match := _LONG_OPERATORS.match(text, place):
            name = match[0]
            kind = "rel" if name in RELATIONS else "op"
            found.append(Token(kind, RELATIONS.get(name) or OPERATORS[name], spaced))
            place = match.end()
        elif character in "([{":
            if character == "(" and (match := BASED.match(text, place)) and match[0].count("(") == match[0].count(")"):
                found.append(Token("num", in_base(match[1], match[2] or match[3]), spaced, match[0]))
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
            found.append(Token("rel", RELATIONS[character], spaced))
            place += 1
        elif character == "&":
            found.append(Token("amp", None, spaced))
            place += 1
        elif character in "$€£¥₹":
            found.append(Token("cur", character, spaced))
            place += 1
        elif character in OPERATORS:
            found.append(Token("op", OPERATORS[character], spaced))
            place += 1
        elif character in '"`?':
            place += 1
        elif character == "." and text[place:].startswith("..."):
            found.append(Token("dots", None, spaced))
            place += 3
        elif character == ".":
            if place + 1 < end and text[place + 1 :].strip(" }$)"):
                raise Unparsable("a sentence")
            place += 1
        elif match := _OTHER_LETTERS.match(text, place):
            found.append(Token("words", match[0], spaced))
            place = match.end()
        else:
            raise Unparsable(f"the character {character!r}")
        if len(found) > before:
            spaced = False
    return found
