"""The final answer of a whole solution, English or Chinese: candidates, the likeliest first.

The last box counts; else what follows the last `####`, `final answer` or `the answer is`; else the last value. A denied
answer (`the answer is not 5`) is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from math_qwen.verify.bounds import RESPONSE_CHARS
from math_qwen.verify.units import is_unit_word


@dataclass(frozen=True)
class Final:
    candidates: tuple[str, ...]  # texts that may be the answer; the first that reads as mathematics is
    how: str  # "box", "####", "phrase", "whole", "last value"
    denied: bool = False


_STOP = re.compile(r"<\|(?:im_start|im_end|endoftext|eot_id|end_of_text)\|>|</s>|<eos>")
_OR = re.compile(r"\s*(?:or|或者?)\s*\S{0,2}$")
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")  # GSM8K's marks: 48/2 = <<48/2=24>>24
_BOX = re.compile(r"\\(?:boxed|fbox|framebox|colorbox)(?![a-zA-Z])")
_BRACE = re.compile(r"\\[\\{}]|[{}]")
_PHRASE = re.compile(
    r"final\s+answer\b\**\s*(?:(?:is|are|was|would\s+be|should\s+be|must\s+be)\b|[:=]|(?=\n)|(?=\$)|(?=\\[(\[]))"
    r"|\banswers?\b\**\s*(?:(?:to|for|of)\s[^.\n:]{0,80}?\s)?(?:(?:is|are|was|would\s+be|should\s+be|must\s+be"
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
    r"^[\s:：,*]*(?:definitely|certainly|clearly|probably|simply|therefore|thus)?\s*"
    r"(?:not\b|never\b|n't\b|neither\b|no\s+longer\b|不是|并非|不为|不等于|绝不|並非|anything\s+but\b|other\s+than\b)",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    r"(?:\bnot|n't|\bcannot\s+be|\bnever|\bneither|≠|\\neq?|不是|并非|不等于|不为|而非|rather\s+than|instead\s+of|other\s+than)"
    r"(?:\s+(?:be|equal(?:\s+to)?|simply|just|the\s+answer|exactly))?[\s$:*\\(\[]*$",
    re.IGNORECASE,
)
_RESUMED = re.compile(r"\b(?:but|it\s+is|it's|rather|instead|it\s+should\s+be)\b|而是|应该是|应为", re.IGNORECASE)
_CUT = re.compile(
    r",?\s*\b(?:because|since|as\s+(?:the|it|we)|which|where|so\s+that|due\s+to|when|given\s+that|it\s+can't"
    r"|it\s+cannot|it\s+can\s+not)\b"
    r"|\(since|\(because|,\s*(?:as|so|and\s+(?:it|the|this|not))\s|[，,;；]?\s*(?:因为|由于|因此|所以)|\bnot\b|不是|[，,]\s*不",
    re.IGNORECASE,
)
_DENIED_BEHIND = re.compile(
    r"[\s$*)]*(?:(?:is|was)\s+(?:not|wrong|incorrect|false)\b|isn't\b|cannot\s+be\b|不是|不对|是错)", re.IGNORECASE
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
    r"(?:[-−]\s?)?(?:[$€£¥]\s?)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:[.,]\d+)?(?:\s?/\s?\d+(?:\.\d+)?)?(?:\^\{?\d+\}?)?"
    r"|(?<!\d)(?:[-−]\s?)?(?:[$€£¥]\s?)?\.\d+"
)
_AFTER_VALUE = re.compile(
    r"\s?(?:\\?%|percent\b|[$€£¥]|\\degree\b|(?:square|cubic|sq)\s[a-z]+"
    r"|[A-Za-z]+(?:\^\{?[23]\}?)?(?:/[a-z]+)?(?:\s+per\s+[a-z]+)?"
    r"|[\u4e00-\u9fff]{1,6})"
)
_UNIT_BEHIND_BOX = re.compile(
    r"^[ \t]*(?:\$\$?|\\\)|\\\])?[ \t]*(?:\\(?:text|mathrm|mbox)\{\s*)?(\\?%|\\degree\b|\^\s*\{?\\circ\}?"
    r"|(?:square |cubic |sq )?[A-Za-z]+|[\u4e00-\u9fff]{1,4})"
    r"(\s*\^\s*\{?[23]\}?)?"
)
_GAP_WORDS = re.compile(r"[A-Za-z]+")
_BREAKS = frozenset(
    [
        "so",
        "then",
        "therefore",
        "thus",
        "hence",
        "wait",
        "no",
        "actually",
        "simplifies",
        "simplify",
        "means",
        "gives",
        "final",
        "answer",
        "instead",
        "but",
        "not",
        "is",
        "which",
        "since",
        "because",
        "correct",
        "corrected",
        "equals",
        "equal",
    ]
)
_CONNECTIVE = re.compile(r"\b(?:and|or)\b|和|或|以及|[,;，；、]")
_LABEL_BEFORE = re.compile(r"([A-Za-z](?:_\{?[A-Za-z0-9]{1,3}\}?)?)\s*=\s*\$?\s*$")
_MONEY = re.compile(r"(?:[$€£¥]\s?\d[\d,]*(?:\.\d+)?)|(?:(?<![\d.])\d[\d,]*(?:\.\d+)?\s?[€£¥$](?!\w))")
_TRIM = ' \t\r\n*。，；;,`"“”_'


def final_answer(text: str) -> Final:
    """Where the answer of `text` stands. Linear in the text; only the end of a very long one is read."""
    text = text[-RESPONSE_CHARS:] if len(text) > RESPONSE_CHARS else text
    if "<" in text:
        text = _visible(text)
        if "<<" in text:
            text = _CALCULATOR.sub("", text)
    boxed = _boxes(text) if "\\" in text else None
    if boxed is not None:
        return boxed
    if "####" in text:
        *_, match = _HASHES.finditer(text)
        rest = text[match.end() :].strip(_TRIM)
        line = rest.split("\n", 1)[0].strip(_TRIM)
        return Final(_segments(line), "####")
    phrases = list(_PHRASE.finditer(text)) if _may_have_phrase(text) else []
    denied = False
    for match in reversed(phrases[-8:]):
        following = text[match.end() : match.end() + 4000]
        negated = re.search(r"isn't$|不是$|不为$", match[0], re.IGNORECASE)
        if negated or _DENIAL.match(following):
            resumed = _RESUMED.search(following[:120])
            if resumed:
                return Final(_segments(_sentence(following[resumed.end() :])), "phrase")
            denied = True
            break
        sentence = _sentence(_LEAD.sub("", following))
        if sentence:
            return Final(_segments(sentence), "phrase")
    if denied:
        return Final((), "phrase", denied=True)
    return _unannounced(text)


def _may_have_phrase(text: str) -> bool:
    lower = text.lower()
    return any(
        word in lower for word in ("answer", "答", "结果", "選", "选", "ponse", "respuesta", "antwort", "correct")
    )


def _visible(text: str) -> str:
    """Without reasoning in <think> tags and without the turns after the answer."""
    if "</think>" in text:
        text = text.rsplit("</think>", 1)[1]
    stop = _STOP.search(text)
    return text[: stop.start()] if stop and text[: stop.start()].strip() else text


def _boxes(text: str) -> Final | None:
    """The last box with those joined to it by `and`, `or` or a comma; a unit behind the box belongs to it."""
    starts = [match.end() for match in _BOX.finditer(text)]
    if not starts:
        return None
    ends = _matching(text)
    found: list[tuple[int, int, str]] = []  # start of the command, end, content
    for match in _BOX.finditer(text):
        begin = match.end()
        while begin < len(text) and text[begin] in " \t\n":
            begin += 1
        if begin < len(text) and text[begin] == "{":
            end = ends.get(begin)
            if end is None:  # not closed: what stands on the line
                line = text[begin + 1 :].split("\n", 1)[0]
                found.append((match.start(), begin + 1 + len(line), line.rstrip(" .$\\])")))
                break
            if found and match.start() < found[-1][1]:
                continue  # a box in a box
            found.append((match.start(), end + 1, text[begin + 1 : end]))
        else:
            bare = re.match(r"\s*(-?[\w.,/]+)", text[match.end() :][:80])
            if bare:
                found.append((match.start(), match.end() + bare.end(), bare[1]))
    if not found:
        return None
    group = [found[-1]]
    for box in reversed(found[:-1][-20:]):
        if not _joined(text[box[1] : group[0][0]]):
            break
        group.insert(0, box)
    first = group[0]
    if _DENIED_BEFORE.search(text[max(0, first[0] - 60) : first[0]]):
        return Final((), "box", denied=True)
    if len(group) == 1:
        content = _inner(first[2])
        return Final((content + _unit_behind(text, first[1], content),), "box")
    labels = [_LABEL_BEFORE.search(text[max(0, box[0] - 30) : box[0]]) for box in group]
    parts = [
        f"{label[1]} = {_inner(box[2])}" if label else _inner(box[2]) for label, box in zip(labels, group, strict=True)
    ]
    return Final((", ".join(parts),), "box")


def _inner(content: str) -> str:
    return content.strip()


def _matching(text: str) -> dict[int, int]:
    """Where each opening brace closes; escaped braces do not count."""
    stack: list[int] = []
    ends: dict[int, int] = {}
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            stack.append(match.start())
        elif match[0] == "}" and stack:
            ends[stack.pop()] = match.start()
    return ends


def _joined(gap: str) -> bool:
    """Whether two boxes with this between them are one answer in two parts."""
    if len(gap) > 90 or "\n\n" in gap or re.search(r"[.。!?！？]\s", gap):
        return False
    bare = re.sub(r"\\(?:text|quad|qquad|mathrm|mbox|[()\[\],;! ])|[{}$\s]", " ", gap)
    words = [word.lower() for word in _GAP_WORDS.findall(bare)]
    if any(word in _BREAKS for word in words) or "=" in re.sub(r"[A-Za-z](?:_\w+)?\s*=\s*$", "", bare.rstrip()):
        return False
    if re.search(r"\bto\b|为|是|得", gap):
        return False
    if not words and not re.search(r"[\u4e00-\u9fff]", bare):
        symbols = bare.replace(" ", "")
        return symbols in ("", ",", ";", "、", ".") or (len(symbols) > 1 and len(set(symbols)) == 1)
    return len(words) <= 6 and _CONNECTIVE.search(gap) is not None


def _unit_behind(text: str, end: int, content: str) -> str:
    match = _UNIT_BEHIND_BOX.match(text[end : end + 60])
    if match is None:
        return ""
    unit = match[1].strip()
    if unit in ("%", "\\%"):
        return "" if "%" in content else "\\%"
    if unit.lower() in ("percent", "pct", "percentage") and "%" not in content and "perc" not in content:
        return "\\%"
    if unit.startswith(("\\degree", "^")):
        return "" if "circ" in content or "degree" in content else "^\\circ"
    words = unit.split(" ")
    if len(words[-1]) > 1 and is_unit_word(words[-1]) and words[-1].lower() not in ("in", "times", "day", "a", "cup"):
        if re.search(
            r"\\text|\\mathrm|[A-Za-z]{2,}", content.replace("frac", "").replace("sqrt", "").replace("\\pi", "")
        ):
            return ""
        power = match[2] or ""
        return f" \\text{{{unit}}}{power}"
    return ""


def _sentence(text: str) -> str:
    """Up to the end of the sentence, but not inside mathematics, braces or a number."""
    text = text.lstrip(" \t\r\n*:：")
    text = _LEAD.sub("", text)
    inside = False
    depth = 0
    for k, character in enumerate(text[:3000]):
        if character == "$" and (k == 0 or text[k - 1] != "\\"):
            # A dollar before a digit that no other dollar follows on the line is money.
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


def _segments(sentence: str, cut_at: re.Pattern[str] = _CUT) -> tuple[str, ...]:
    """What in an answering sentence may be the answer: all of it, what precedes a reason, its mathematics, its last
    value.
    """
    found: list[str] = []

    def add(text: str) -> None:
        text = text.strip(_TRIM)
        text = text[:-1].rstrip() if text.endswith(".") and not text.endswith("...") else text
        if text and text not in found:
            found.append(text)

    add(sentence)
    cut = cut_at.search(sentence)
    head = sentence[: cut.start()] if cut and cut.start() > 0 else sentence
    add(head)
    maths = list(_MATH.finditer(head))
    verbs = list(_IS.finditer(head))
    if verbs and not _DENIED_BEFORE.search(head[: verbs[-1].end()] + (head[verbs[-1].end() :][:6])):
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


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] == " ":
        place += 1
    return place


def _add_value(text: str, match: re.Match[str], add) -> None:
    unit = _AFTER_VALUE.match(text, match.end())
    if unit and (
        not unit[0].strip()[:1].isalpha() or is_unit_word(unit[0].strip().split("^")[0].split(" ")[0].split("/")[0])
    ):
        add(text[match.start() : unit.end()])
    add(match[0])


def _unannounced(text: str) -> Final:
    """No box, no `####`, no phrase: the text itself if it is short, and the last value in it."""
    stripped = text.strip()
    if not stripped:
        return Final((), "empty")
    found: list[str] = []

    def add(candidate: str) -> None:
        candidate = candidate.strip(_TRIM)
        candidate = candidate[:-1].rstrip() if candidate.endswith(".") and not candidate.endswith("...") else candidate
        if candidate and candidate not in found:
            found.append(candidate)

    if len(stripped) <= 3000:
        add(stripped)
    if not _PROSE.search(stripped):
        return Final((stripped.strip(_TRIM),), "whole")  # no response: a bare answer, readable or not
    tail = stripped[-2500:]
    maths = list(_MATH.finditer(tail))
    math_end = maths[-1].end() if maths else -1
    values = [v for v in _VALUE.finditer(tail) if v.start() >= math_end]
    if values:
        last = values[-1]
        if _DENIED_BEFORE.search(tail[max(0, last.start() - 40) : last.start()]):
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
        for candidate in _segments(sentence, _REASON)[1:]:
            add(candidate)
        _add_value(tail, last, add)
        return Final(tuple(found), "last value")
    if maths:
        last = maths[-1]
        if _DENIED_BEFORE.search(tail[max(0, last.start() - 40) : last.start()]):
            return Final(tuple(found), "last value", denied=True)
        before = tail[: last.start()]
        if re.search(r"(?:\bor\b|或)\s*$", before) and len(maths) > 1 and len(tail[maths[-2].end() : last.start()]) < 8:
            add(tail[maths[-2].start() :])
            return Final(tuple(found), "last value")
        add(_sentence(tail[last.start() :]))
        add(last[0])
        values = list(_VALUE.finditer(last[0]))
        if values and re.search(r"(?<!\\)\b[A-Za-z]{4,}\b", last[0]):  # two dollar signs that were money
            add(values[-1][0])
        return Final(tuple(found), "last value")
    sentence = stripped.rsplit("\n", 1)[-1]
    verbs = list(_IS.finditer(sentence))
    if verbs:
        add(_LEAD.sub("", sentence[verbs[-1].end() :]))
    if len(sentence) < 300:
        for candidate in _segments(sentence, _REASON):
            add(candidate)
    return Final(tuple(found), "last value")
