"""Generated text for people to read: samples during training, and answers of the evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from qwen_shared.report.numbers import number
from qwen_shared.report.record import Record

_STEPS = 5  # spread from the first to the last
_PROMPTS = 8
_OF_EACH = 3  # right answers, and wrong ones
_CHARACTERS = 700
# Packages write these under several names.
_QUESTION, _ANSWER = ("question", "messages", "prompt"), ("answer", "prediction", "completion", "text")
_EXPECTED = ("gold", "reference", "expected")
_REMARKS = ("outcome", "right", "reward", "margin", "preference", "checked", "reason", "tag", "family", "kind")
_MAX_REMARK = 60  # characters; longer ones are left out
_LAST_USER_TURN = re.compile(r".*<\|im_start\|>user\n(.*?)<\|im_end\|>", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    label: str
    text: str
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    prompt: str
    entries: list[Entry]
    good: bool | None = None  # None: nothing decided it


def during_training(record: Record) -> list[Sample]:
    """By prompt, at some of the steps."""
    shown = record.samples
    chosen = {round(k * (len(shown) - 1) / (_STEPS - 1)) for k in range(_STEPS)} if shown else set()
    by_prompt: dict[str, list[Entry]] = {}
    for at in sorted(chosen):
        step, rows = shown[at]
        for row in filter(lambda row: isinstance(row, dict), rows):
            entries = by_prompt.setdefault(_text(row.get("prompt")), [])
            if "before" in row and not entries:
                entries.append(Entry("before training", _text(row["before"]), _remarks(row, "_before")))
            entries.append(Entry(f"step {step:,}", _text(row.get("text")), _remarks(row)))
    return [Sample(prompt, entries) for prompt, entries in list(by_prompt.items())[:_PROMPTS]]


def of_evaluation(record: Record) -> dict[str, list[Sample]]:
    """By file of answers: some right and some wrong ones, beside the answers before training."""
    found = {}
    for name, rows in record.answers.items():
        before = record.answers_before.get(name, [])
        pairs = [(row, before[k] if k < len(before) else {}) for k, row in enumerate(rows)]
        samples = [_sample(row, old) for row, old in pairs]
        chosen = [s for good in (True, False) for s in _first(samples, good)]
        found[name] = chosen or samples[: 2 * _OF_EACH]
    return found


def _first(samples: Iterable[Sample], good: bool) -> list[Sample]:
    return [sample for sample in samples if sample.good is good][:_OF_EACH]


def _sample(row: dict[str, Any], before: dict[str, Any]) -> Sample:
    row, before = row.get("groups", {}) | row, before.get("groups", {}) | before
    prompt = _text(_of(row, _QUESTION))
    if "chosen" in row:  # a pair that a reward model compared
        entries = [
            Entry(side, _text(row[side]), [f"reward {number(row[key])}"] if (key := f"{side}_reward") in row else [])
            for side in ("chosen", "rejected")
            if side in row
        ]
        return Sample(prompt, entries, _is_good(row))
    entries = []
    if before and _text(_of(before, _QUESTION)) == prompt:
        entries.append(Entry("before training", _text(_of(before, _ANSWER)), _remarks(before)))
    entries.append(Entry("after" if entries else "answer", _text(_of(row, _ANSWER)), _remarks(row)))
    if (expected := _of(row, _EXPECTED)) is not None:
        entries.append(Entry("expected", _text(expected)))
    return Sample(prompt, entries, _is_good(row))


def _is_good(row: dict[str, Any]) -> bool | None:
    if isinstance(row.get("outcome"), str):
        return row["outcome"] in ("right", "passed")
    if isinstance(row.get("right"), bool):
        return row["right"]
    if isinstance(row.get("margin"), int | float):
        return row["margin"] > 0
    return None


def _remarks(row: dict[str, Any], ending: str = "") -> list[str]:
    said = []
    for name in _REMARKS:
        value = row.get(name + ending)
        if isinstance(value, bool):
            said.append(name if value else f"not {name}")
        elif isinstance(value, str) and 0 < len(value) <= _MAX_REMARK:
            said.append(value)
        elif isinstance(value, int | float):
            said.append(f"{name.removesuffix(ending)} {number(value)}")
    return said


def _of(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _text(value: Any) -> str:
    """Text, or messages as lines, cut to a length; of a rendered conversation the user's last turn."""
    if isinstance(value, list):
        turns = [turn for turn in value if isinstance(turn, dict)]
        if len(turns) == 1:
            value = turns[0].get("content")
        else:
            value = "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in turns)
    text = "" if value is None else str(value)
    if match := _LAST_USER_TURN.match(text):
        text = match[1]
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}… ({len(text) - _CHARACTERS:,} more characters)"
