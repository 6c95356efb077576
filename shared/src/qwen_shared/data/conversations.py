"""Conversations: from published forms to messages, and from messages to tokens.

A conversation is a `Document` whose text is its messages as JSON, so that splitting and tokenising are those of texts.
A token in the loss is stored as its complement `~id` (see `token_file.token_ids` and `in_loss`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_shared.data.check import HF, source_files
from qwen_shared.data.documents import Document, Meter, SourceReader
from qwen_shared.data.rows import files_identity, read_hf_rows, read_rows
from qwen_shared.errors import UserError
from qwen_shared.recipe.sft_schema import ConversationSource, SftData
from qwen_shared.text import replace_lone_surrogates

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Message, Tokenizer

Messages = list[dict[str, str]]

# The encoder's remarks; `sft.checks` decides what follows.
NOTHING_TO_LEARN = "nothing to learn"
NO_END = "no end"
SPELLED_SPECIALS = "spelled specials"
DOUBLE_SPECIALS = "double specials"

# Published role → ours.
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


def conversation_reader(data: SftData, source: ConversationSource, own: SourceReader | None = None) -> SourceReader:
    """Reads at most `data.documents` conversations of a source; a package's `own` reader applies the limit itself.

    Reading raises UserError for a row of unknown form and for a source without conversations.
    """
    settings = {"conversations": None, **(own.settings if own else {}), "mask": data.mask, "system": data.system}
    if source.path.startswith(HF):
        settings |= {"config": source.config, "split": source.split}
    limit = None if own else data.documents
    read_all = own.read if own else partial(_read_rows, data, source)

    def read(meter: Meter) -> Iterator[Document]:
        count = 0
        for document in read_all(meter):
            yield document
            count += 1
            if count == limit:
                return
        if not count:
            raise UserError(f"data source {source.path}: no conversation in it")

    return SourceReader(read, settings, own.files if own else partial(files_identity, data, source.path))


def generated_conversations(
    name: str, generate: Callable[[], Iterable[tuple[Sequence[Message], bool]]], identity: str
) -> SourceReader:
    """A reader of generated conversations: (messages, held out?). `identity` covers everything that decides them."""

    def read(meter: Meter) -> Iterator[Document]:
        for number, (messages, held_out) in enumerate(generate(), start=1):
            meter.at(number)
            yield Document(_as_text([dict(message) for message in messages]), f"{name} {number}", held_out)

    return SourceReader(read, {"conversations": identity})


def _read_rows(data: SftData, source: ConversationSource, meter: Meter) -> Iterator[Document]:
    if source.path.startswith(HF):
        for number, (row, name) in enumerate(read_hf_rows(source.path, source.config, source.split), start=1):
            meter.at(number)
            yield Document(_as_text(messages_of(row, name)), name)
        return
    files = source_files(data, source.path)
    sizes = [path.stat().st_size for path in files]
    meter.total = sum(sizes)
    for i, path in enumerate(files):
        for row, name, position in read_rows(path):
            meter.at(sum(sizes[:i]) + position)
            yield Document(_as_text(messages_of(row, name)), name)


def messages_of(row: Mapping[str, Any], name: str) -> Messages:
    """A row as messages {role, content}. Its keys tell the form:

    - `messages`: OpenAI's
    - `conversations`: ShareGPT's, {from, value}
    - `instruction`, `input`, `output`: Alpaca's, after an optional `history` of pairs
    - `prompt` and `completion`: texts or lists of messages

    The key `system` adds a first turn, unless there is one. Raises UserError that starts with `name`.
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
        if isinstance(turn, dict) and role_key not in turn and {"role", "from"} & set(turn):  # the other form's keys
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
    shown = [key if key.isprintable() else repr(key) for key in map(str, row)]
    return ", ".join([*shown[:8], *(["…"] if len(shown) > 8 else [])]) or "none"


def _as_text(messages: Messages) -> str:
    return json.dumps(messages, ensure_ascii=False, separators=(",", ":"))


# ---- from messages to tokens


@dataclass(frozen=True)
class ConversationEncoder:
    """A conversation's rendered ids up to the last one in the loss; [] if there is no answer."""

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


def _remark(tokenizer: Tokenizer, messages: Messages, ids: list[int], mask: list[int]) -> str | None:
    if not any(message["role"] == "assistant" and message["content"].strip() for message in messages) or not any(mask):
        return NOTHING_TO_LEARN
    # Each run of tokens in the loss is an answer and must end with a stop id.
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
    """The mask of the released Qwen chat models (report, section 5; QwenLM/Qwen issue 41): assistant turns, and every
    turn's opening token, closing token and line end."""
    try:
        marks = {tokenizer.special_tokens[_IM_START], tokenizer.special_tokens[_IM_END]}
    except KeyError:
        raise UserError(f"data.mask=qwen is for ChatML, and this model's tokenizer has no {_IM_START}") from None
    im_end = tokenizer.special_tokens[_IM_END]
    before = [None, *ids]
    return [int(a or id in marks or b == im_end) for a, id, b in zip(assistant, ids, before, strict=False)]
