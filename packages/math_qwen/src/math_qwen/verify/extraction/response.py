"""The final answer of a whole solution, English or Chinese: candidates, the likeliest first.

The last box counts, else the text after the last `####`, `final answer` or `the answer is`, else the last value. A
denied answer (`the answer is not 5`) is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from math_qwen.verify.extraction import DENIED_BEFORE, Final
from math_qwen.verify.extraction.boxes import boxes
from math_qwen.verify.limits import RESPONSE_CHARS
from math_qwen.verify.parsing.units import is_unit_word

_STOP = re.compile(r"<\|(?:im_start|im_end|endoftext|eot_id|end_of_text)\|>|</s>|<eos>")
_OR = re.compile(r"\s*(?:or|或者?)\s*\S{0,2}$")
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")  # GSM8K's marks: 48/2 = <<48/2=24>>24
_PHRASE = re.compile(
    r"final\s+answer\b\**\s*(?:(?:is|are|was|would\s+be|should\s+be|must\s+be)\b|[:=]|(?=\n)|(?=\$)|(?=\\[(\[]))"
    r"|\bans(?:wers?)?\b\**\s*(?:(?:to|for|of)\s[^.\n:]{0,80}?\s)?(?:(?:is|are|was|would\s+be|should\s+be|must\s+be"
    r"|equals|isn't)\b|[:=]|(?=\$)|(?=\\[(\[]))"
    r"|(?:最终|最后|正确)?的?(?:答案|結果|结果|答)\**\s*(?:应该|应当|应|就)?(?:不是|不为|是|为|等于|選|选|：|:|=|(?=\$)|(?=\\[(\[]))"
    r"|(?:故|因此|所以|因而)(?:本题)?(?:应|正确)?(?:选项?)(?:是|为|：|:|择)?"
    r"|应选(?:择)?[:：]?|正确的?(?:选项|选择)(?:是|为|：|:)"
    r"|\b(?:réponse|respuesta|antwort)\b(?:\s+finale)?\s*(?:est|es|ist|[:=])"
    r"|\bcorrect\s+(?:option|choice)\s+(?:is|would\s+be)\b",
    re.IGNORECASE,
)
_HASHES = re.compile(r"####[ \t]*")
_LEAD = re.compile(
    r"^(?:[\s:：*=,，>`_\"“”]+|(?:that|is|are|be|simply|just|indeed|therefore|thus|hence|definitely|probably|certainly|"
    r"likely|clearly|obviously|for\s+sure|exactly|equal\s+to|given\s+by|about|approximately|roughly|around"
    r"|option|choice|"
    r"letter|the\s+letter|the\s+option|the\s+choice|as\s+follows|est|是|为|等于|大约|约|选项?|选择)(?![A-Za-z]))+",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"^[\s:：,*]*(?:[a-z]{2,12}ly|therefore|thus)?\s*"
    r"(?:(?:greater|more|less|fewer|larger|smaller|bigger|higher|lower)\s+than\b|between\b|大于|小于|not\b|never\b|n't\b|neither\b|no\s+longer\b|不是|并非|不为|不等于|绝不|並非|anything\s+but\b|other\s+than\b)",
    re.IGNORECASE,
)
_UNEQUAL_BEFORE = re.compile(r"(?:≠|\\neq?(?![a-zA-Z])|!=)\s*$")
_RESUMED = re.compile(r"\b(?:but|it\s+is|it's|rather|instead|it\s+should\s+be)\b|而是|应该是|应为", re.IGNORECASE)
_CUT = re.compile(
    r",?\s*\b(?:because|since|as\s+(?:the|it|we)|which|where|so\s+that|due\s+to|when|given\s+that|it\s+can't"
    r"|it\s+cannot|it\s+can\s+not)\b"
    r"|\(since|\(because|,\s*(?:as|so|and\s+(?:it|the|this|not))\s|[，,;；]?\s*(?:因为|由于|因此|所以)|\bnot\b|不是|[，,]\s*不",
    re.IGNORECASE,
)
_DOUBTED_BEFORE = re.compile(
    r"\b(?:impossible|false|untrue|incorrect|wrong|not\s+true|not\s+correct|doubt|unlikely|deny)(?:\s+that)?(?:\s+the)?"
    r"(?:\s+(?:final|correct))?\s*$",
    re.IGNORECASE,
)
_DROPPED = re.compile(  # x = 3 or x = -5 (rejected)
    r"(?:,|，|\bor\b|\band\b|或|、|和)\s*\$?(?:[a-z](?:_?\{?\d\}?)?\s*=\s*)?-?[\w./\\{}]{1,30}\$?\s*[(（]\s*"
    r"(?:rejected|reject|extraneous|discarded?|舍去?|不合题意)[^()（）]{0,20}[)）]",
    re.IGNORECASE,
)
_TURN = re.compile(r"\b(?:but|so|then|therefore|thus|hence|which|because|since)\b|所以|但|则")
_YES_NO = re.compile(r"(?:yes|no|true|false|correct|incorrect)(?=[,.!;])", re.IGNORECASE)
_NUMBER_WORD = re.compile(
    r"\b(?:(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w{3,5}teen|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety)(?:[ -](?:one|two|three|four|five|six|seven|eight|nine))?(?:[ -](?:hundred|thousand|million))?)\b",
    re.IGNORECASE,
)
_DENIED_BEHIND = re.compile(
    r"[\s$*)]*(?:(?:is|was)\s+(?:not|wrong|incorrect|false)\b|isn't\b|cannot\s+be\b|(?:does|do)(?:\s+not|n't)\s+(?:work|satisfy|fit)\b|\?\s*no\b|不是|不对|是错)",
    re.IGNORECASE,
)
_REASON = re.compile(r",?\s*\b(?:because|since)\b|，?\s*(?:因为|由于)", re.IGNORECASE)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}[\s,:.]|[\u4e00-\u9fff]|\n|\w\s?[:=]\s|\$\s|\\[(\[]")
_SENTENCE = re.compile(r"[。！？!?\n]|\.(?=\s|$|\*|\"|<)|\.(?=[A-Z][a-z])")
_MATH = re.compile(r"\$\$([^$]*)\$\$|\$([^$]*)\$(?!\d)|\\\(((?:[^\\]|\\(?!\)))*)\\\)|\\\[((?:[^\\]|\\(?!\]))*)\\\]")
_IS = re.compile(
    r"\b(?:is|are|was|were|equals?|be|becomes?|gives?|gets?|got|have|has|to\s+get|it's|that's"
    r"|of)\b(?:\s+(?:therefore|thus|then|just|"
    r"about|approximately|exactly|equal\s+to|only|now|not\b))?|=|≈|\\approx|(?<!不)是|(?<!不)为|等于|共有"
    r"|[得有剩](?=\s*[\d$\\])|[:：]",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"(?:[-−]\s?|\b(?:negative|(?<!\d )minus)\s|负)?(?:[$€£¥]\s?)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
    r"(?:[.,]\d+)?(?:\s?/\s?\d+(?:\.\d+)?)?(?:\^\{?\d+\}?)?"
    r"|(?<!\d)(?:[-−]\s?)?(?:[$€£¥]\s?)?\.\d+"
)
_AFTER_VALUE = re.compile(
    r"\s?(?:\\?%|percent\b|[$€£¥]|\\degree\b|(?:square|cubic|sq)\s[a-z]+"
    r"|[A-Za-z]+(?:\^\{?[23]\}?)?(?:/[a-z]+)?(?:\s+per\s+[a-z]+)?"
    r"|[\u4e00-\u9fff]{1,6})"
)
_ASIDE = re.compile(
    r"(?<=\w)\s\([^()\\$=]{0,40}?[A-Za-z]{3}[^()\\$=]{0,40}\)|(?<=\d)\s\([\d.]+\\?%\)"
)  # 1.5 h (90 minutes)
_COMPARED_BEFORE = re.compile(
    r"(?:\b(?:greater|more|less|fewer|larger|smaller|bigger|higher|lower)\s+than|大于|小于|多于|少于|高于|低于)[\s$\\(]*$",
    re.IGNORECASE,
)
_NOTHING_AT_END = re.compile(r"(?:无(?:实数)?解|没有(?:实数)?解|不存在)$")
_BETWEEN_PARTS = re.compile(r"^\s?(?:,|、|;|,?\s?(?:and|or)\b|和|或者?|以及|与)\s?$")
_MONEY = re.compile(r"(?:[$€£¥]\s?\d[\d,]*(?:\.\d+)?)|(?:(?<![\d.])\d[\d,]*(?:\.\d+)?\s?[€£¥$](?!\w))")
_TRIM = ' \t\r\n*。，；;,`"“”_'


def final_answer(text: str) -> Final:
    """Linear in the text; of a very long one only the end is read."""
    text = text[-RESPONSE_CHARS:] if len(text) > RESPONSE_CHARS else text
    if "<" in text:
        text = _visible(text)
        if "<<" in text:
            text = _CALCULATOR.sub("", text)
    if "(" in text:
        text = _DROPPED.sub("", text)
    boxed = boxes(text) if "\\" in text else None
    if boxed is not None:
        return boxed
    if "####" in text:
        *_, match = _HASHES.finditer(text)
        rest = text[match.end() :].strip(_TRIM)
        line = rest.split("\n", 1)[0].strip(_TRIM)
        return Final(_candidates(line), "####")
    phrases = list(_PHRASE.finditer(text)) if _may_have_phrase(text) else []
    denied = False
    doubtful: tuple[str, ...] = ()
    for match in reversed(phrases[-8:]):
        following = text[match.end() : match.end() + 4000]
        negated = re.search(r"isn't$|不是$|不为$", match[0], re.IGNORECASE)
        if negated or _DENIAL.match(following):
            resumed = _RESUMED.search(following[:120])
            if resumed:
                return Final(_candidates(_sentence(following[resumed.end() :])), "phrase")
            denied = True
            doubtful = () if negated else (_sentence(following),)
            break
        if _DOUBTED_BEFORE.search(text[max(0, match.start() - 60) : match.start()]):
            return Final((), "phrase", denied=True)
        sentence = _sentence(_LEAD.sub("", following))
        if sentence:
            return Final(_candidates(sentence), "phrase")
    if denied:
        return Final(doubtful, "phrase", denied=True)
    return _last_value(text)


def _may_have_phrase(text: str) -> bool:
    lower = text.lower()
    return any(word in lower for word in ("ans", "答", "结果", "選", "选", "ponse", "respuesta", "antwort", "correct"))


def _visible(text: str) -> str:
    """Without <think> reasoning and later turns; only the inside of <answer> tags."""
    if "</think>" in text:
        text = text.rsplit("</think>", 1)[1]
    if "<answer>" in text:
        text = text.rsplit("<answer>", 1)[1].split("</answer>", 1)[0]
    stop = _STOP.search(text)
    return text[: stop.start()] if stop and text[: stop.start()].strip() else text


def _sentence(text: str) -> str:
    """Does not end inside mathematics, braces or a number."""
    text = text.lstrip(" \t\r\n*:：")
    text = _LEAD.sub("", text)
    inside = False
    depth = 0
    for k, character in enumerate(text[:3000]):
        if character == "$" and (k == 0 or text[k - 1] != "\\"):
            # A dollar with no second one on the line is money.
            inside = not inside if "$" in text[k + 1 :].split("\n", 1)[0] or inside else inside
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
        elif character == "\\" and text[k + 1 : k + 2] in ("(", "["):
            inside = True
        elif character == "\\" and text[k + 1 : k + 2] in (")", "]"):
            inside = False
        elif (not inside and depth <= 0) or character == "。":
            if character in "。！？\n" or (
                character in "?!" and text[k + 1 : k + 2] in ("", " ", "\n") and character == "?"
            ):
                return text[:k].strip()
            if character == "." and _ends_sentence(text, k):
                return text[:k].strip()
    return text[:3000].strip()


def _ends_sentence(text: str, k: int) -> bool:
    following = text[k + 1 : k + 2]
    if text[k - 1 : k] == "." or following == ".":
        return False
    if (
        following
        and following not in " \n\t*\"'<)"
        and not (text[k + 1 : k + 2].isupper() and text[k + 2 : k + 3].islower())
    ):
        return False
    # `C. x = 42` goes on; so does `5 sq. ft`
    return not (k == 1 and text[0].isupper()) and not re.search(r"\b(?:sq|approx|vs|cu|no)$", text[:k])


def _candidates(sentence: str, cut_at: re.Pattern[str] = _CUT) -> tuple[str, ...]:
    """The whole sentence, the part before a reason, its mathematics, its last value."""
    found: list[str] = []
    add = _adder(found)
    add(sentence)
    cut = cut_at.search(sentence)
    head = sentence[: cut.start()] if cut and cut.start() > 0 else sentence
    add(head)
    head = _ASIDE.sub("", head)
    add(head)
    maths = list(_MATH.finditer(head))
    verbs = [v for v in _IS.finditer(head) if not any(m.start() < v.start() < m.end() for m in maths)]
    for verb in reversed([v for v in verbs if v[0][:1].isalpha()][-2:]):
        if not DENIED_BEFORE.search(head[: verb.end()] + head[verb.end() :][:6]) and not _TURN.search(head, verb.end()):
            add(_LEAD.sub("", head[verb.end() :]))  # `the solutions are x = 2 and x = 3`
    if verbs and not DENIED_BEFORE.search(head[: verbs[-1].end()] + (head[verbs[-1].end() :][:6])):
        add(_LEAD.sub("", head[verbs[-1].end() :]))
        for verb in reversed(verbs[:-1][-3:]):
            tail = head[verb.end() :]
            if len(tail) < 300:
                add(_LEAD.sub("", tail))
    if maths:
        tail = head[maths[-1].start() :]
        add(tail)
        add(maths[-1][0])
    equals = head.rfind("=")
    if (
        equals >= 0
        and not (maths and equals < maths[-1].end())
        and (value := _VALUE.match(head, _skip(head, equals + 1)))
    ):
        _add_value(head, value, add)
    money = _MONEY.findall(head)
    if len(money) == 1 and not maths:
        add(money[0])
    values = list(_VALUE.finditer(head))
    if values and not (maths and values[-1].start() < maths[-1].end()):
        if len(values) > 1 and _OR.match(head[values[-2].end() : values[-1].start()]):
            return tuple(found)  # two answers
        _add_value(head, values[-1], add)
    return tuple(found)


def _adder(found: list[str]) -> Callable[[str], None]:
    def add(text: str) -> None:
        text = text.strip(_TRIM)
        text = text[:-1].rstrip() if text.endswith(".") and not text.endswith("...") else text
        if text and text not in found:
            found.append(text)

    return add


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] == " ":
        place += 1
    return place


def _add_value(text: str, match: re.Match[str], add: Callable[[str], None]) -> None:
    unit = _AFTER_VALUE.match(text, match.end())
    if unit and (
        not unit[0].strip()[:1].isalpha() or is_unit_word(unit[0].strip().split("^")[0].split(" ")[0].split("/")[0])
    ):
        add(text[match.start() : unit.end()])
    add(match[0])


def _last_value(text: str) -> Final:
    """Of a text without box, `####` or phrase; a short text also counts as a whole."""
    stripped = text.strip()
    if not stripped:
        return Final((), "empty")
    found: list[str] = []
    add = _adder(found)
    if len(stripped) <= 3000 and not _TURN.search(stripped):
        add(_ASIDE.sub("", stripped))
        add(stripped)
        if yes_no := _YES_NO.match(stripped):
            add(yes_no[0])
    if not _PROSE.search(stripped):
        return Final(tuple(found) or (stripped.strip(_TRIM),), "whole")  # a bare answer, not a response
    tail = stripped[-2500:]
    maths = list(_MATH.finditer(tail))
    math_end = maths[-1].end() if maths else -1
    values = [v for v in _VALUE.finditer(tail) if v.start() >= math_end]
    if values:
        last = values[-1]
        before = tail[max(0, last.start() - 40) : last.start()]
        if _COMPARED_BEFORE.search(before):
            return Final(tuple(found), "last value", denied=True)
        if _UNEQUAL_BEFORE.search(before):  # a condition, if anything
            return Final((*found, maths[-1][0]) if maths else tuple(found), "last value")
        if DENIED_BEFORE.search(before):
            # `3, not 4` says 3; `it is not 4` says nothing.
            if (
                len(values) < 2
                or "," not in tail[values[-2].end() : last.start()]
                or _SENTENCE.search(tail, values[-2].end(), last.start())
            ):
                return Final(tuple(found), "last value", denied=True)
            values.pop()
            last = values[-1]
            tail = tail[: last.end()]
        if _DENIED_BEHIND.match(tail, last.end()):
            return Final(tuple(found[1:]), "last value", denied=True)
        begin = max((m.end() for m in _SENTENCE.finditer(tail, 0, last.start())), default=0)
        line = tail[begin:]
        sentence = _sentence(line)
        if len(values) > 1 and _OR.match(tail[values[-2].end() : last.start()]):
            return Final(tuple(found), "last value")  # two answers
        for candidate in _candidates(sentence, _REASON)[1:]:
            add(candidate)
        _add_value(tail, last, add)
        return Final(tuple(found), "last value")
    if maths:
        last = maths[-1]
        if DENIED_BEFORE.search(tail[max(0, last.start() - 40) : last.start()]):
            return Final(tuple(found), "last value", denied=True)
        first = len(maths) - 1
        while first and _BETWEEN_PARTS.match(tail[maths[first - 1].end() : maths[first].start()]):
            first -= 1
        if first < len(maths) - 1:  # `the solutions are $x = 2$ and $x = 3$`
            add(_sentence(tail[maths[first].start() :]))
            add(tail[maths[first].start() : last.end()])
            return Final(tuple(found), "last value")
        add(_sentence(tail[last.start() :]))
        add(last[0])
        values = list(_VALUE.finditer(last[0]))
        if values and re.search(r"(?<!\\)\b[A-Za-z]{4,}\b", last[0]):  # the dollars were money
            add(values[-1][0])
        return Final(tuple(found), "last value")
    sentence = stripped.rsplit("\n", 1)[-1]
    if nothing := _NOTHING_AT_END.search(sentence.rstrip(_TRIM)):
        add(nothing[0])
    verbs = list(_IS.finditer(sentence))
    if verbs and DENIED_BEFORE.search(sentence[: verbs[-1].end()]):
        return Final(tuple(found), "last value", denied=True)
    if verbs:
        add(_LEAD.sub("", sentence[verbs[-1].end() :]))
    if len(sentence) < 300:
        for candidate in _candidates(sentence, _REASON):
            add(candidate)
        if spelled := _NUMBER_WORD.findall(sentence):
            add(spelled[-1])
    return Final(tuple(found), "last value")
