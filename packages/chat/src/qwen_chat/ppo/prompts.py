"""Prompts as ids, with the columns that reward functions read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from qwen_chat.ppo.recipe import PromptData
from qwen_chat.recipe import DIALOGUES
from qwen_shared.data.check import HF, source_files
from qwen_shared.data.conversations import Messages, messages_of
from qwen_shared.data.documents import Document
from qwen_shared.data.rows import read_hf_rows, read_rows
from qwen_shared.data.split import Split
from qwen_shared.errors import UserError
from qwen_shared.recipe.sft_schema import ConversationSource
from qwen_shared.tokenizer import Tokenizer

_FORMS = ("messages", "conversations", "prompt", "instruction", "input", "output", "completion", "history", "system")


@dataclass(frozen=True)
class Query:
    messages: Messages
    ids: list[int]  # rendered, with the generation prompt
    columns: dict[str, Any]


def load_queries(data: PromptData, tokenizer: Tokenizer, longest: int, seed: int) -> tuple[list[Query], list[Query]]:
    """Queries to train on and held-out ones, without those longer than `longest` ids. Raises UserError if one side is
    empty.
    """
    train: list[Query] = []
    held_out: list[Query] = []
    left_out = 0
    for source in data.sources:
        split = Split(data.validation_fraction, data.validation_max_bytes)
        for document, held in split(_documents(data, source, seed)):
            row = json.loads(document.text)
            query = _query(row["messages"], row["columns"], data.system, tokenizer, document.name)
            if len(query.ids) > longest:
                left_out += 1
            else:
                (held_out if held else train).append(query)
    for side, queries in (("train on", train), ("hold out", held_out)):
        if not queries:
            said = f" ({left_out} are longer than {longest} tokens)" if left_out else ""
            raise UserError(f"data.sources: no prompt to {side}{said}")
    return train, held_out


def _documents(data: PromptData, source: ConversationSource, seed: int) -> Iterator[Document]:
    for count, (messages, columns, name, held_out) in enumerate(_rows(data, source, seed), start=1):
        text = json.dumps({"messages": messages, "columns": columns}, ensure_ascii=False, sort_keys=True)
        yield Document(text, name, held_out)
        if count == data.documents and held_out is None:
            return


def _rows(
    data: PromptData, source: ConversationSource, seed: int
) -> Iterator[tuple[Messages, dict[str, Any], str, bool | None]]:
    if source.path == DIALOGUES:
        from qwen_chat import dialogues

        made = dialogues.prompts(seed, data.documents or 20_000)
        asked = [dialogue for name in dialogues.HELD_OUT for dialogue in dialogues.held_out(name)]
        for held_out, some in ((False, made), (True, asked)):
            for number, dialogue in enumerate(some, start=1):
                yield dialogues.prompt(dialogue), dialogues.columns(dialogue), f"{DIALOGUES} {number}", held_out
        return
    if source.path.startswith(HF):
        rows = read_hf_rows(source.path, source.config, source.split)
    else:
        files: list[Path] = source_files(data, source.path)
        rows = ((row, name) for path in files for row, name, _ in read_rows(path))
    for row, name in rows:
        columns = {key: value for key, value in row.items() if key not in _FORMS}
        yield prompt_of(row, name), columns, name, None


def prompt_of(row: dict[str, Any], name: str) -> Messages:
    """The messages before the last answer. Raises UserError, naming `name`, if no turn asks for an answer."""
    if row.get("prompt") is not None:
        row = {**row, "completion": ""}
    elif row.get("instruction") is not None:
        row = {**row, "output": ""}
    messages = messages_of(row, name)
    while messages and messages[-1]["role"] == "assistant":
        messages.pop()
    if not messages or messages[-1]["role"] == "system":
        raise UserError(f"{name}: no turn to be answered")
    return messages


def _query(messages: Messages, columns: dict[str, Any], system: str | None, tokenizer: Tokenizer, name: str) -> Query:
    asked = messages
    if system is not None and messages[0]["role"] != "system":
        asked = [{"role": "system", "content": system}, *messages]
    try:
        ids, _ = tokenizer.render(asked, add_generation_prompt=True)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return Query(messages, ids, columns)


def queries_for_step(step: int, queries: list[Query], count: int, seed: int) -> list[Query]:
    """The `count` queries of a step (from 1), in shuffled epochs. A function of the step alone, so
    resuming is exact.
    """
    chosen: list[Query] = []
    first = (step - 1) * count
    while len(chosen) < count:
        at = first + len(chosen)
        epoch, within = divmod(at, len(queries))
        order = torch.randperm(len(queries), generator=torch.Generator().manual_seed(seed + epoch)).tolist()
        chosen += [queries[k] for k in order[within : within + count - len(chosen)]]
    return chosen
