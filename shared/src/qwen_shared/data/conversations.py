"""Conversations in the forms that people publish them in, and how they are stored as tokens.

A conversation travels as a `Document` whose text is its messages as JSON, so that splitting, dropping copies and
tokenising are those of texts. In a token file a token that is in the loss is stored as its complement, `~id`, which is
negative; `token_file.token_ids` and `in_loss` take the two apart again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_shared.data.check import HF, source_files
from qwen_shared.data.documents import BuiltIn, Document, FileIdentity, Meter
from qwen_shared.data.rows import files_identity, read_hf_rows, read_rows
from qwen_shared.errors import UserError
from qwen_shared.recipe.sft_schema import ConversationSource, SftData
from qwen_shared.text import replace_lone_surrogates

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer

Messages = list[dict[str, str]]

# Remarks of the encoder; `sft.checks` decides what follows from them.
NOTHING_TO_LEARN = "nothing to learn"
NO_END = "no end"
SPELLED_SPECIALS = "spelled specials"
DOUBLE_SPECIALS = "double specials"

# What the forms call the roles.
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
_IM_START, _IM_END = "<|im_start|>", "<|im_end|>"


# ---- from rows to messages


def read(data: SftData, source: ConversationSource, meter: Meter, made: BuiltIn | None) -> Iterator[Document]:
    """The conversations of one source, in the same order on every machine; at most `data.documents` of them.

    Raises UserError, naming file and line, for a row in none of the forms, and for a source without conversations.
    """
    count = 0
    for messages, name, held_out in _read(data, source, meter, made):
        yield Document(_as_text(messages), name, held_out)
        count += 1
        if count == data.documents and made is None:
            return
    if not count:
        raise UserError(f"data source {source.path}: no conversation in it")


def source_identity(data: SftData, source: ConversationSource, made: BuiltIn | None) -> list[FileIdentity]:
    return [] if made else files_identity(data, source.path)


def settings(data: SftData, source: ConversationSource, made: BuiltIn | None) -> dict[str, Any]:
    """What decides the conversations besides the contents of files."""
    about = {"conversations": made.identity if made else None, "mask": data.mask, "system": data.system}
    return about | ({"config": source.config, "split": source.split} if source.path.startswith(HF) else {})


def _read(
    data: SftData, source: ConversationSource, meter: Meter, made: BuiltIn | None
) -> Iterator[tuple[Messages, str, bool | None]]:
    if made:
        for number, (messages, held_out) in enumerate(made.read(), start=1):
            meter.at(number)
            yield [dict(message) for message in messages], f"{source.path} {number}", held_out
    elif source.path.startswith(HF):
        for number, (row, name) in enumerate(read_hf_rows(source.path, source.config, source.split), start=1):
            meter.at(number)
            yield messages_of(row, name), name, None
    else:
        files: list[Path] = source_files(data, source.path)
        sizes = [path.stat().st_size for path in files]
        meter.total = sum(sizes)
        for i, path in enumerate(files):
            for row, name, position in read_rows(path):
                meter.at(sum(sizes[:i]) + position)
                yield messages_of(row, name), name, None


def messages_of(row: Mapping[str, Any], name: str) -> Messages:
    """A row's conversation as messages {role, content}; the keys tell the form. Raises UserError that names `name`.

    `messages`: OpenAI's form. `conversations`: ShareGPT's, {from, value}. `instruction`, `input`, `output`: Alpaca's,
    with a `history` of pairs before it. `prompt` and `completion`: texts or lists of messages. In each a `system`
    stands before all, where no turn of that role does.
    """
    if row.get("messages") is not None:
        turns = _turns(row["messages"], name, "messages", "role", "content")
    elif row.get("conversations") is not None:
        turns = _turns(row["conversations"], name, "conversations", "from", "value")
    elif row.get("instruction") is not None:
        turns, history = [], row.get("history") or []
        if not isinstance(history, list):
            raise UserError(f"{name}: 'history' must be a list of pairs of texts, [instruction, answer]")
        for i, pair in enumerate(history):
            if not isinstance(pair, list) or len(pair) != 2:
                raise UserError(f"{name}: history.{i} must be a pair of texts, [instruction, answer]")
            turns += [_turn("user", pair[0], name, f"history.{i}"), _turn("assistant", pair[1], name, f"history.{i}")]
        asked = _text(row["instruction"], name, "instruction")
        given = _text(row.get("input") or "", name, "input")
        turns.append(_turn("user", f"{asked}\n{given}" if given else asked, name, "instruction"))
        turns.append(_turn("assistant", _required(row, "output", name), name, "output"))
    elif row.get("prompt") is not None:
        turns = [
            *_turns_or_text(row["prompt"], "user", name, "prompt"),
            *_turns_or_text(_required(row, "completion", name), "assistant", name, "completion"),
        ]
    else:
        raise UserError(
            f"{name}: no conversation: expected the key messages, conversations, instruction (and output) or prompt "
            f"(and completion); there are: {_keys(row)}"
        )
    if row.get("system") and turns[0]["role"] != "system":
        turns.insert(0, _turn("system", row["system"], name, "system"))
    return turns


def _turns_or_text(value: Any, role: str, name: str, key: str) -> Messages:
    if isinstance(value, str):
        return [_turn(role, value, name, key)]
    return _turns(value, name, key, "role", "content")


def _turns(value: Any, name: str, key: str, role_key: str, content_key: str) -> Messages:
    if not isinstance(value, list) or not value:
        raise UserError(f"{name}: '{key}' must be a list of turns, {{{role_key}, {content_key}}}")
    turns = []
    for i, turn in enumerate(value):
        where = f"{key}.{i}"
        if isinstance(turn, dict) and role_key not in turn and {"role", "from"} & set(turn):  # one form in the other
            role_key, content_key = ("role", "content") if "role" in turn else ("from", "value")
        if not isinstance(turn, dict) or role_key not in turn or content_key not in turn:
            raise UserError(f"{name}: {where} must have the keys '{role_key}' and '{content_key}'")
        role = turn[role_key]
        if not isinstance(role, str) or role.lower() not in _ROLES:
            shown = repr(role) if len(repr(role)) <= 40 else repr(role)[:37] + "..."
            raise UserError(f"{name}: {where} has the role {shown}; known are {', '.join(_ROLES)}")
        turns.append(_turn(_ROLES[role.lower()], turn[content_key], name, where))
    return turns


def _turn(role: str, content: Any, name: str, where: str) -> dict[str, str]:
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(_text(part.get("text"), name, where) for part in content)
    return {"role": role, "content": _text(content, name, where)}


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        found = "null" if value is None else type(value).__name__
        raise UserError(f"{name}: {where} is {found}, expected a text")
    return replace_lone_surrogates(value)


def _required(row: Mapping[str, Any], key: str, name: str) -> Any:
    if row.get(key) is None:
        raise UserError(f"{name}: no key '{key}'; there are: {_keys(row)}")
    return row[key]


def _keys(row: Mapping[str, Any]) -> str:
    """At most eight, on one line."""
    shown = [key if key.isprintable() else repr(key) for key in map(str, row)]
    return ", ".join([*shown[:8], *(["…"] if len(shown) > 8 else [])]) or "none"


def _as_text(messages: Messages) -> str:
    return json.dumps(messages, ensure_ascii=False, separators=(",", ":"))


# ---- from messages to tokens


@dataclass(frozen=True)
class ConversationEncoder:
    """A conversation's rendered ids, those in the loss complemented, up to the last that is in the loss; of one without
    an answer nothing."""

    mask: str
    system: str | None

    def dtype(self, tokenizer: Tokenizer) -> np.dtype:
        return np.dtype(np.int32)

    def __call__(self, tokenizer: Tokenizer, document: Document) -> tuple[list[int], str | None]:
        messages = json.loads(document.text)
        if self.system is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self.system})
        try:
            ids, mask = tokenizer.render(messages)
        except UserError as error:
            raise UserError(f"{document.name}: {error}") from None
        remark = _remark(tokenizer, messages, ids, mask)
        if remark == NOTHING_TO_LEARN:
            return [], remark
        if self.mask == "qwen":
            mask = _qwen_mask(tokenizer, ids, mask)
        last = max((at for at, inside in enumerate(mask) if inside), default=-1)
        return [~id if inside else id for id, inside in zip(ids[: last + 1], mask, strict=False)], remark


def encoder(data: SftData) -> ConversationEncoder:
    return ConversationEncoder(data.mask, data.system)


def _remark(tokenizer: Tokenizer, messages: Messages, ids: list[int], mask: list[int]) -> str | None:
    if not any(message["role"] == "assistant" and message["content"].strip() for message in messages) or not any(mask):
        return NOTHING_TO_LEARN
    # Each stretch in the loss is an answer, and must show the model where answers end.
    ends = [id for id, inside, after in zip(ids, mask, [*mask[1:], 0], strict=True) if inside and not after]
    if not all(id in tokenizer.stop_ids for id in ends):
        return NO_END
    special = set(tokenizer.special_tokens.values())
    if any(a == b and a in special for a, b in pairwise(ids)):
        return DOUBLE_SPECIALS
    said = "\0".join(message["content"] for message in messages)
    if any(mark in said for mark in tokenizer.special_tokens):
        return SPELLED_SPECIALS
    return None


def _qwen_mask(tokenizer: Tokenizer, ids: list[int], assistant: list[int]) -> list[int]:
    """The mask of the released Qwen chat models (report, section 5; QwenLM/Qwen issue 41): besides what assistants say
    every turn's opening and closing token, and the line end after it."""
    try:
        marks = {tokenizer.special_tokens[_IM_START], tokenizer.special_tokens[_IM_END]}
    except KeyError:
        raise UserError(f"data.mask=qwen is for ChatML, and this model's tokenizer has no {_IM_START}") from None
    im_end = tokenizer.special_tokens[_IM_END]
    before = [None, *ids]
    return [int(a or id in marks or b == im_end) for a, id, b in zip(assistant, ids, before, strict=False)]
