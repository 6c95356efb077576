"""Runs of letters or Chinese characters as tokens: symbols, functions, units, number words, prose."""

from __future__ import annotations

import re
from collections.abc import Callable

from math_qwen.verify.parsing.keywords import ALIASES, CONSTANTS, CURRENCY_CODES, FUNCTIONS, GREEK, JOINING, PROSE
from math_qwen.verify.parsing.number_words import chinese_number, spell_out
from math_qwen.verify.parsing.tokens import Token, symbol
from math_qwen.verify.parsing.units import is_unit_letter, is_unit_word

Again = Callable[[str], list[Token]]
_WORDS = re.compile(r"[A-Za-z]+(?:[ '-][A-Za-z]+)*")
_DIGITS = re.compile(r"\d+")
_JOIN_CHINESE = re.compile(r"(或者|以及|[和或且与及])")
_NOT_A_COUNT = re.compile("一[切样定般些直起致]|[一二三四五六七八九十]+(?:角形|边形|面体|次函|次方|元[一二三]|等分)")
_SIGNED = re.compile(r"\s+(?:\d|\\|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|half|[a-z]\b)")
_DIGIT_AHEAD = re.compile(r"\s?\d")
_OUT_OF = re.compile(r"(?:in|out of(?: every)?)\s+(?=\d)")  # 1 in 2
_HALF_OF_DAY = re.compile(r"([apAP])\.\s?[mM]\.?")
_DOTTED_WORD = re.compile(r"o'clock|[apAP]\.\s?[mM]\b")
_NAME_IN_PROSE = re.compile(r"[A-Z][a-z]{2}$")
_OPENING = re.compile(r"\s*(?:\\left\s*)?\\?[(\[{]")
_WORD_AHEAD = re.compile(r" [A-Za-z]{3}")
_UNIT_END = re.compile(r"(?:/[a-zA-Z]{1,3}|/\w{1,3}\^\{?2\}?|\^\{?[23]\}?)?[ .$]*$")
_SYMBOLS = re.compile(r"[a-df-hj-np-tv-zA-Z]{2}$|[b-df-hj-np-tv-zA-Z]{3}$")  # symbols side by side, not a word
_BESIDE_WORD = re.compile(r"[ ,]+(?:[A-Za-z]{2}|[aI]\b|\d|\$)")


def lex_letters(text: str, place: int, run: str, found: list[Token], spaced: bool, integral: bool, again: Again) -> int:
    """Append the tokens of a run of letters; return its end. `again` lexes number words that became digits."""
    end = place + len(run)
    after_value = bool(found) and (found[-1].kind in ("num", "close", "words") or found[-1].value in ("deg", "%"))
    lower = run.lower()
    if len(run) == 1 and not (run in "opaPA" and _DOTTED_WORD.match(text, place)):
        if run in "aA" and not found and _WORD_AHEAD.match(text, end):
            found.append(Token("words", run, spaced))  # an article
        elif (
            after_value
            and spaced
            and found[-1].kind == "num"
            and not _is_index(found)
            and is_unit_letter(run)
            and _UNIT_END.match(text, end)
        ):
            found.append(Token("words", run, spaced))
        elif (index := _DIGITS.match(text, end)) and not (found and found[-1].kind == "num") and run not in "ei":
            found.append(Token("name", f"{run}_{index[0]}", spaced))  # x1
            return index.end()
        else:
            found.append(symbol(run, spaced))
        return end
    if lower in ("minus", "negative") and _SIGNED.match(text, end):
        found.append(Token("op", "-", spaced))
        return end
    if run == "to" and found and found[-1].kind == "num" and _DIGIT_AHEAD.match(text, end):
        found.append(Token("op", ":", spaced))  # 1 to 2
        return end
    if run in CURRENCY_CODES and not found and _DIGIT_AHEAD.match(text, end):
        found.append(Token("cur", run, spaced))
        return end
    if (match := _OUT_OF.match(text, place)) and found and found[-1].kind == "num":
        found.append(Token("op", "/", spaced))
        return match.end()
    if run in ("st", "nd", "rd", "th") and found and found[-1].kind == "num" and not spaced and found[-1].raw.isdigit():
        return end  # 3rd
    if text.startswith("o'clock", place):
        found.append(Token("words", "oclock", spaced))
        return place + 7
    if match := _HALF_OF_DAY.match(text, place):
        found.append(Token("words", match[1].lower() + "m", spaced))
        return match.end()
    if lower in JOINING and run in (lower, lower.upper(), lower.capitalize()):
        found.append(Token("sep", JOINING[lower], spaced))
        return end
    if run in FUNCTIONS or run in ALIASES:
        found.append(Token("fn", ALIASES.get(run, run), spaced))
        return end
    if lower == "sqrt":
        found.append(Token("fn", "sqrt", spaced))
        return end
    if run in CONSTANTS:
        found.append(Token("const", CONSTANTS[run], spaced))
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
    if run in GREEK:
        found.append(Token("name", run, spaced))
        return end
    if run in ("union", "cup", "U") and found and found[-1].kind in ("close", "named"):
        found.append(Token("op", "cup", spaced))
        return end
    if integral and len(run) == 2 and run[0] == "d":
        found.append(Token("diff", run[1], spaced))
        return end
    per_unit = len(found) > 1 and found[-1][:2] == ("op", "/") and found[-2].kind == "words"
    if (after_value or per_unit) and is_unit_word(run):
        found.append(Token("words", run, spaced))
        return end
    if run[:-1] in ("sin", "cos", "tan", "ln", "log", "cot", "sec"):  # `sinx`
        found.append(Token("fn", run[:-1], spaced))
        found.append(symbol(run[-1], False))
        return end
    for joint in ("or", "and"):  # `1orx`
        if run.startswith(joint) and after_value and not spaced and len(run) - len(joint) == 1:
            found.append(Token("sep", joint, spaced))
            found.append(symbol(run[-1], True))
            return end
    if lower in ("am", "pm") and after_value:
        found.append(Token("words", lower, spaced))
        return end
    if run == "in" and _OPENING.match(text, end):
        found.append(Token("rel", "in", spaced))
        return end
    if not after_value:
        phrase = _phrase(text, place)
        spelled = spell_out(phrase)
        if spelled != phrase:
            found.extend(again(spelled))
            return place + len(phrase)
    if len(run) == len(text.strip()) and not run.isupper() and not _SYMBOLS.match(run) and not _all_alike(run):
        found.append(Token("words", run, spaced))
        return end
    if lower in PROSE and (_BESIDE_WORD.match(text, end) or (spaced and found and found[-1].kind == "words")):
        found.append(Token("words", run, spaced))
        return end
    if _NAME_IN_PROSE.match(run) and spaced and any(token.kind == "words" for token in found):
        found.append(Token("words", run, spaced))  # in April and May
        return end
    if (len(run) <= 3 and not (after_value and spaced)) or (run.isupper() and len(run) <= 6) or _all_alike(run):
        for k, letter in enumerate(run):
            found.append(symbol(letter, spaced and k == 0))
        return end
    phrase = _phrase(text, place)
    end = place + len(phrase)
    cut = re.search(r"[ -](?:and|or)\b", phrase)
    if cut:
        phrase, end = phrase[: cut.start()], place + cut.start()
    found.append(Token("words", phrase, spaced))
    return end


def lex_chinese(run: str, found: list[Token], spaced: bool, again: Again) -> None:
    for part in _JOIN_CHINESE.split(run):
        if not part:
            continue
        if part in JOINING:
            found.append(Token("sep", JOINING[part], spaced))
            continue
        if part in ("负", "比"):
            found.append(Token("op", "-" if part == "负" else ":", spaced))
            continue
        plain_word = (found and found[-1].kind == "num") or _NOT_A_COUNT.match(part)
        number = None if plain_word else chinese_number(part)
        length = len(part)
        while number is None and length > 1 and not plain_word:
            length -= 1  # 五个苹果: the longest number that the run begins with
            number = chinese_number(part[:length])
        if number is not None:
            found.extend(again(number))
            part = part[length:] if length < len(part) else ""
        if part:
            found.append(Token("words", part, spaced))


def _phrase(text: str, place: int) -> str:
    match = _WORDS.match(text, place)
    assert match is not None  # a letter stands there
    return match[0]


def _is_index(found: list[Token]) -> bool:
    """v_0 t"""
    return len(found) > 1 and found[-2].kind == "op" and found[-2].value in ("_", "^")


def _all_alike(run: str) -> bool:
    """`xyzw`, `abcd`: usual symbols in order, no word."""
    return len(run) <= 5 and (run in "abcdefgh" or run in "uvwxyz" or run in "wxyz" or run in "pqrstuv")
