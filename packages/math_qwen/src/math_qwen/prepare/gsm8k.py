"""One worked solution of GSM8K's format: are its equations true, and does the answer follow from them?

A repair is made only if the text shows what was meant; anything to guess is rejected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sympy import Rational

from math_qwen.equations import ANNOTATION, TOLERANCE, NotArithmetic, check, equations, normalised, value
from math_qwen.prepare.plain_equations import plain_equations

KEPT, REPAIRED, REJECTED = "kept", "repaired", "rejected"

ANSWER_MARK = "####"
_NUMBER = r"-?[$£€¥]?\s?-?(?>\d{1,3}(?:,\d{3})++(?:\.\d++)?|\d++(?:\.\d++)?|\.\d++)"
_AFTER = re.compile(rf"\s?({_NUMBER})(?!\d|/\d)")
_GROUPED = re.compile(r"\s?[$£€¥]?\s?(-?\d{1,3}(?: \d{3})+)(?!\d)")  # 16 000
_BEFORE = re.compile(r"([\d.,+\-*/x×÷()%$ ]{1,100}?)\s*=?\s*[$£€¥]?$")
_HALF_MARK = re.compile(r"<{1,2}\s*([^<>\n=]{0,100}=[^<>\n]{0,100}\d\s?)>{1,2}")
_ANSWER = re.compile(rf"({_NUMBER}(?:/\d+)?)\s*(%|°|[^\W\d]\S*(?:\s+[^\W\d]\S*){{0,3}})?\.?")
_STATED = re.compile(rf"answer(?:\s+is|:|\s*=)\s*({_NUMBER})\.?\s*$", re.IGNORECASE)
_FLOATING = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:/\d+)?|\.\d+")
_HUNDREDTHS = re.compile(r"percent|%|百分|cents?\b", re.IGNORECASE)
_ROUNDING = re.compile(
    r"round|about|approx|nearest|roughly|whole|full|complete|at least|only|四舍五入|大约|约", re.IGNORECASE
)


@dataclass
class CheckedSolution:
    """`reasons`: the repairs, or the cause of rejection; each is a short kind, a colon and details. `support`: what the
    answer follows from.
    """

    solution: str
    answer: str
    status: str = KEPT
    reasons: list[str] = field(default_factory=list)
    equations: int = 0
    support: str = ""


class Rejected(Exception):
    """The message is the reason."""


def check_solution(solution: str, gold: str | None = None, question: str = "") -> CheckedSolution:
    """`gold`: the required answer, if known from elsewhere."""
    result = CheckedSolution(solution, "")
    try:
        body, result.answer = _divide(solution.strip(), result.reasons)
        lines = body.splitlines()
        lines = [_checked_line(line, result.answer if line is lines[-1] else None, result.reasons) for line in lines]
        body = "\n".join(line for line in lines if line.strip())
        if not body:
            raise Rejected("no worked steps: there is only an answer")
        result.support = _support(body, result.answer, question)
        if gold is not None:
            _agree(gold, result.answer)
        result.solution = f"{body}\n{ANSWER_MARK} {result.answer}"
        result.equations = len(equations(body))
        result.status = REPAIRED if result.reasons else KEPT
    except Rejected as rejection:
        result.status, result.reasons = REJECTED, [str(rejection)]
    return result


def number_of(text: str) -> Rational | None:
    try:
        return value(text.strip().rstrip("."))
    except NotArithmetic:
        return None


def _divide(solution: str, repairs: list[str]) -> tuple[str, str]:
    if not solution:
        raise Rejected("empty solution")
    body, mark, answer = solution.rpartition(ANSWER_MARK)
    if mark:
        answer = answer.strip()
        if not answer:
            raise Rejected(f"no final answer: nothing follows {ANSWER_MARK}")
    else:
        stated = _STATED.search(solution)
        if not stated:
            raise Rejected(f"no final answer: no line with {ANSWER_MARK}")
        body, answer = solution, stated[1]
        repairs.append(f"answer line added: {answer}")
    match = _ANSWER.fullmatch(answer)
    if not match:
        raise Rejected(f"answer is no number: {answer[:40]}")
    plain = re.sub(r"[$£€¥,\s]", "", match[1])
    if match[2]:
        repairs.append(f"unit in the answer: {answer}")
    elif plain.lstrip("-") != answer.lstrip("-") and mark:
        repairs.append(f"comma or currency in the answer: {answer}")
    return body.rstrip(), plain


def _checked_line(line: str, answer: str | None, repairs: list[str]) -> str:
    """Adds missing annotations. `answer`: for the last line only. Raises Rejected."""
    line = _double_marks(line, repairs)
    pieces: list[str] = []
    at = 0
    for match in ANNOTATION.finditer(line):
        text = line[at : match.start()]
        before = "".join(pieces[-2:]) + text
        equation = _true_annotation(match[1], before, line[match.end() : match.end() + 60], repairs)
        pieces += [_marked(text, None, repairs), f"<<{equation}>>"]
        at = match.end()
    pieces.append(_marked(line[at:], answer, repairs))
    return "".join(pieces)


def _double_marks(line: str, repairs: list[str]) -> str:
    """`<5*4=20>` and the like as `<<5*4=20>>`, if true."""

    def whole(match: re.Match[str]) -> str:
        marked = f"<<{match[1].strip()}>>"
        if match.group() == f"<<{match[1]}>>" or not check(match[1]).ok:
            return match.group()
        repairs.append(f"broken mark: {match.group()}")
        return marked

    line = _HALF_MARK.sub(whole, line)
    rest = ANNOTATION.sub("", line)
    if "<<" in rest or ">>" in rest:
        raise Rejected(f"broken mark: {rest.strip()[:60]}")
    return line


def _true_annotation(equation: str, before: str, after: str, repairs: list[str]) -> str:
    """The equation, or the one of the text around it."""
    result = check(equation)
    shown = _AFTER.match(after)
    number = re.sub(r"[$£€¥,\s]", "", shown[1]) if shown else None
    if not result.ok:
        repaired = _mended(equation, before, number)
        if repaired is None:
            kind = "false equation" if result.reason.startswith("false") else "equation that cannot be read"
            raise Rejected(f"{kind}: <<{equation}>> {result.reason.partition(': ')[2] or result.reason}")
        kind, mended = repaired
        repairs.append(f"{kind}: <<{equation}>> is now <<{mended}>>")
        equation = mended
    elif "," in equation:
        repairs.append(f"comma in an equation: <<{equation}>>")
        equation = equation.replace(",", "")
    grouped = _GROUPED.match(after)
    if number is None:
        return equation
    readings = [number, *([grouped[1].replace(" ", "")] if grouped else [])]
    if not any(_same_number(equation.rpartition("=")[2], reading) for reading in readings):
        raise Rejected(f"text and equation differ: <<{equation}>>{number}")
    return equation


def _mended(equation: str, before: str, number: str | None) -> tuple[str, str] | None:
    """(kind of repair, equation) if annotation and text agree on one."""
    left, equals, right = equation.rpartition("=")
    without_units = re.sub(r"(?<![A-Za-z])(?![xX]\s*[\d(.])[A-Za-z°²³%]+\.?", "", equation)
    tries = [("// for /", equation.replace("//", "/")), ("units in an equation", without_units.replace(" ", ""))]
    if number is not None:
        if not equals:
            tries.append(("equation without a right side", f"{equation}={number}"))
        elif not right.strip():
            tries.append(("equation without a right side", f"{left}={number}"))
        else:
            tries.append(("wrong right side", f"{left}={number}"))
        if spoken := _BEFORE.search(before[-200:]):
            tries.append(("equation rebuilt from the text", f"{spoken[1].strip()}={number}".replace(",", "")))
    for kind, candidate in tries:
        if candidate != equation and check(candidate).ok:
            if number is not None and not _same_number(candidate.rpartition("=")[2], number):
                continue
            return kind, normalised(candidate)
    return None


def _same_number(right: str, shown: str) -> bool:
    """Exact, rounded, or as a percentage."""
    if right.strip() == shown:
        return True
    a, b = number_of(right), number_of(shown)
    if a is None or b is None:
        return False
    return any(check(f"{x}={shown}").ok or (abs(x - b) <= Rational(1, 2) and abs(x) >= 1) for x in (a, a * 100))


def _marked(text: str, answer: str | None, repairs: list[str]) -> str:
    """Text between annotations, with missing ones added. A false equation is mended if it is the last one and its left
    side gives the answer; else raises Rejected.
    """
    if "=" not in text:
        return text
    for equation in reversed(plain_equations(text)):
        result = equation.check
        if not result.ok and not equation.has_units and result.reason.startswith("false"):
            left = equation.text.rpartition("=")[0]
            if answer is not None and "=" not in left and result.value == number_of(answer):
                text = f"{text[: equation.right]}{answer}{text[equation.end :]}"
                repairs.append(f"wrong number in the text: {equation.text}, the answer is {answer}")
                return _marked(text, None, repairs)
            raise Rejected(f"false equation in the text: {equation.text} ({result.reason.partition(': ')[2]})")
        if result.ok and equation.annotation and text[equation.end :].lstrip()[:1] != "=":
            text = f"{text[: equation.right]}<<{equation.annotation}>>{text[equation.right :]}"
            repairs.append(f"missing annotation: {equation.text}")
    return text


def _support(body: str, answer: str, question: str) -> str:
    """What the answer follows from. Raises Rejected."""
    expected = number_of(answer)
    assert expected is not None
    lines = body.splitlines()
    last = lines[-1]
    percent = bool(_HUNDREDTHS.search(question + body))
    found = [equation.rpartition("=")[2] for equation in equations(body)]
    found_last = [e.rpartition("=")[2] for e in equations(last)]
    found_last += [last[p.right : p.end] for p in plain_equations(ANNOTATION.sub("", last)) if p.check.ok]
    if found and _gives(found[-1], expected, percent, exactly=True):
        return "the last equation"
    if any(_gives(text, expected, percent, exactly=True) for text in found_last):
        return "the last line's equation"
    rounding = bool(_ROUNDING.search(question + body))
    if found and _gives(found[-1], expected, percent, exactly=False) and (rounding or _states(last, expected)):
        return "the last equation, rounded"
    if _states(last, expected):
        return "the last line's words"
    if any(_gives(text, expected, percent, exactly=True) for text in found):
        if found_last:
            raise Rejected(
                f"answer does not follow: the last line gives {found_last[-1].strip()}, the answer is {answer}"
            )
        return "an earlier equation"
    given = found[-1].strip() if found else "nothing"
    raise Rejected(f"answer does not follow: the last equation gives {given}, the answer is {answer}")


def _gives(text: str, expected: Rational, percent: bool, exactly: bool) -> bool:
    number = number_of(text)
    if number is None:
        return False
    readings = [number, number * 100, number / 100] if percent else [number]
    near = TOLERANCE if exactly else 1
    return any(abs(reading - expected) <= near if exactly else abs(reading - expected) < near for reading in readings)


def _states(line: str, expected: Rational) -> bool:
    """Whether the line states the number outside its equations' operands."""
    text = re.sub(r"(?<=\d) (?=\d{3}(?!\d))", "", ANNOTATION.sub("", line))  # 100 000
    for equation in reversed(plain_equations(text)):
        text = (
            text[: equation.start]
            + " "
            + text[equation.right if equation.check.ok or equation.has_units else equation.end :]
        )
    text = re.sub(r"[\d.,$%/() ]{1,80}[-+*×÷−–](?=[\s\d($.])[^=,;]{0,200}=", " ", text)  # an equation with words in it
    numbers = [number_of(n) for n in _FLOATING.findall(text)]
    return any(n is not None and abs(n - abs(expected)) <= TOLERANCE for n in numbers)


def _agree(gold: str, answer: str) -> None:
    match = _ANSWER.fullmatch(gold.rpartition(ANSWER_MARK)[2].strip())
    expected = number_of(re.sub(r"[$£€¥,\s]", "", match[1])) if match else None
    found = number_of(answer)
    if expected is None or found is None:
        from math_qwen.verify import same_answer

        same = same_answer(gold, answer)
    else:
        same = abs(expected - found) <= TOLERANCE
    if not same:
        raise Rejected(f"answer contradicts the gold answer: {answer}, not {gold[:40]}")
