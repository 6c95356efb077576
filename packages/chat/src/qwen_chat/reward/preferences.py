"""Preferences in published formats, as two conversations that share their first turns. No torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from qwen_shared.data.conversations import Messages, messages_of
from qwen_shared.errors import UserError

_ANSWERS = ("answers", "responses", "completions")
_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Preference:
    """`prompt` is common; `chosen` and `rejected` follow it, up to an answer."""

    prompt: Messages
    chosen: Messages
    rejected: Messages
    tag: str | None = None
    reason: str | None = None

    @property
    def is_identical(self) -> bool:
        return self.chosen == self.rejected


def preferences_of(row: Mapping[str, Any], name: str, max_pairs: int) -> list[Preference]:
    """A row's preferences; its keys tell the format. Raises UserError, naming `name`.

    - `chosen` and `rejected`, each a text, a turn or a list of turns, after a prompt: `prompt` (a text or messages),
      `messages`, ShareGPT's `conversations`, or Alpaca's `instruction` and `input`; optional `system`.
    - `chosen` and `rejected` as whole conversations, or as HH-RLHF's transcripts, "\\n\\nHuman: … \\n\\nAssistant: …".
    - a prompt and `answers` (`responses`, `completions`), best first, or with `scores`; equal scores make no pair.

    Of more than `max_pairs` pairs a fixed sample is taken. `tag`, or the first of `tags`, is the topic; `reason` says
    why one answer is better.
    """
    tag, reason = _tag(row, name), row.get("reason")
    if row.get("chosen") is not None or row.get("rejected") is not None:
        for side in ("chosen", "rejected"):
            if row.get(side) is None:
                raise UserError(f"{name}: key '{side}' is missing; the keys are: {_keys(row)}")
        pairs = [(_conversation(row, "chosen", name), _conversation(row, "rejected", name))]
    else:
        key = next((key for key in _ANSWERS if row.get(key) is not None), None)
        if key is None:
            raise UserError(
                f"{name}: no preference: expected the keys chosen and rejected, or answers (best first, or with "
                f"scores); the keys are: {_keys(row)}"
            )
        pairs = _ranked(row, key, name, max_pairs)
    return [_preference(a, b, tag, None if reason is None else str(reason), name) for a, b in pairs]


def transcript(text: str, name: str) -> Messages:
    """The turns of an HH-RLHF transcript, those of one speaker in a row joined. Raises UserError."""
    text = text if text.startswith("\n\n") else "\n\n" + text.lstrip("\n")
    before, *parts = _TURN.split(text)
    if before.strip() or not parts:
        raise UserError(f"{name}: not a transcript, which begins with Human: or Assistant:")
    turns: Messages = []
    for speaker, said in zip(parts[::2], parts[1::2], strict=True):
        role, content = _ROLES[speaker], said.strip()
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += f"\n\n{content}"
        else:
            turns.append({"role": role, "content": content})
    return turns


def _preference(chosen: Messages, rejected: Messages, tag: str | None, reason: str | None, name: str) -> Preference:
    for which, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1]["role"] != "assistant":
            raise UserError(f"{name}: '{which}' ends with a turn of the {messages[-1]['role']}, not with an answer")
    # The last turn is never shared, also if the two are equal or one continues the other.
    most = min(len(chosen), len(rejected)) - 1
    shared = next((i for i in range(most) if chosen[i] != rejected[i]), most)
    if not any(turn["role"] == "user" for turn in chosen[:shared]):
        raise UserError(f"{name}: 'chosen' and 'rejected' do not begin with the same question")
    return Preference(chosen[:shared], chosen[shared:], rejected[shared:], tag, reason)


def _conversation(row: Mapping[str, Any], key: str, name: str) -> Messages:
    return _with_answer(row, row[key], f"{name}: '{key}'", name)


def _with_answer(row: Mapping[str, Any], answer: Any, where: str, name: str) -> Messages:
    if isinstance(answer, Mapping):
        answer = [answer]
    if not isinstance(answer, str | list) or answer == []:
        raise UserError(f"{where} is {type(answer).__name__}, expected a text, a turn or a list of turns")
    system = {"system": row["system"]} if row.get("system") else {}
    prompt = row.get("prompt")
    if prompt is not None:
        if isinstance(prompt, str) and prompt.lstrip("\n").startswith("Human:"):
            prompt = _open_transcript(prompt, name)
        return messages_of({"prompt": prompt, "completion": answer} | system, name)
    for key in ("messages", "conversations"):
        if row.get(key) is not None:
            return messages_of({key: row[key]} | system, name) + _turns(answer, name)
    if row.get("instruction") is not None:
        asked = {key: row[key] for key in ("instruction", "input", "history") if row.get(key) is not None}
        before = messages_of(asked | {"output": ""} | system, name)[:-1]
        return before + _turns(answer, name)
    if isinstance(answer, list):
        return messages_of({"messages": answer} | system, name)
    if answer.lstrip("\n").startswith(("Human:", "Assistant:")):
        said = transcript(answer, name)
        return [{"role": "system", "content": row["system"]}, *said] if system else said
    raise UserError(
        f"{where} is a text without a prompt: expected prompt, messages, conversations or "
        f"instruction; the keys are: {_keys(row)}"
    )


def _open_transcript(prompt: str, name: str) -> Messages:
    """A transcript that ends before the answer."""
    turns = transcript(prompt, name)
    if turns[-1] == {"role": "assistant", "content": ""}:
        turns.pop()
    return turns


def _turns(answer: str | list, name: str) -> Messages:
    if isinstance(answer, str):
        return messages_of({"messages": [{"role": "assistant", "content": answer}]}, name)
    return messages_of({"messages": answer}, name)


def _ranked(row: Mapping[str, Any], key: str, name: str, max_pairs: int) -> list[tuple[Messages, Messages]]:
    answers, scores = row[key], row.get("scores")
    if not isinstance(answers, list) or len(answers) < 2:
        raise UserError(f"{name}: '{key}' must be a list of two answers or more")
    if scores is None:
        scores = [-place for place in range(len(answers))]
    if not isinstance(scores, list) or len(scores) != len(answers):
        raise UserError(f"{name}: 'scores' must be a list of {len(answers)} numbers, one for each of '{key}'")
    for i, score in enumerate(scores):
        if isinstance(score, bool) or not isinstance(score, int | float) or score != score:
            raise UserError(f"{name}: scores.{i} is {score!r}, expected a number")
    order = sorted(range(len(answers)), key=lambda i: -scores[i])
    pairs = [(i, j) for i, j in itertools.combinations(order, 2) if scores[i] > scores[j]]
    if len(pairs) > max_pairs:
        pairs = sorted(Random(f"{len(answers)} {answers[0]!r}").sample(pairs, max_pairs))
    whole = {i: _with_answer(row, answers[i], f"{name}: {key}.{i}", name) for pair in pairs for i in pair}
    return [(whole[i], whole[j]) for i, j in pairs]


def _tag(row: Mapping[str, Any], name: str) -> str | None:
    tag = row.get("tag")
    if tag is None and row.get("tags") is not None:
        tags = row["tags"]
        if not isinstance(tags, list):
            raise UserError(f"{name}: 'tags' must be a list of texts; a single one is 'tag'")
        tag = tags[0] if tags else None
    return None if tag is None else str(tag)


def _keys(row: Mapping[str, Any]) -> str:
    shown = [key if key.isprintable() else repr(key) for key in map(str, row)]
    return ", ".join([*shown[:8], *(["…"] if len(shown) > 8 else [])]) or "none"
