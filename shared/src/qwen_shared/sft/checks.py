"""Finds data mistakes that a falling loss would hide."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qwen_shared.data import PreparedSource, TokenFile
from qwen_shared.data.conversations import DOUBLE_SPECIALS, NO_END, NOTHING_TO_LEARN, SPELLED_SPECIALS
from qwen_shared.errors import UserError
from qwen_shared.recipe.sft_schema import SftData
from qwen_shared.sft.packing import PackedConversations
from qwen_shared.tokenizer import Tokenizer

_MAX_SPELLED_SHARE = 0.2  # a larger share of spelled special tokens means that a template was applied before


def check_conversations(
    data: SftData, source: PreparedSource, packed: PackedConversations, tokenizer: Tokenizer
) -> Iterator[str]:
    r"""Remarks for the user on a source's training part.

    Raises UserError for answers without an end, texts with a template already applied, doubled special tokens, and if
    over `data.max_dropped_share` of the conversations are too long or have no answer.
    """
    meta = source.meta["train"]
    total = meta["documents"]
    remarks: dict[str, list] = meta.get("remarks", {})
    where = f"data source {source.name}"

    def counted(remark: str) -> tuple[int, str]:
        count, first = remarks.get(remark, (0, ""))
        return count, f"{count:,} of {total:,} conversations, first {first},"

    count, some = counted(NO_END)
    if count:
        stops = ", ".join(name for name, id in tokenizer.special_tokens.items() if id in tokenizer.stop_ids)
        raise UserError(
            f"{where}: {some} have answers without an end in the loss, so the model would never learn to stop: the "
            f"chat template must close an assistant's turn with one of {stops}"
        )
    count, some = counted(DOUBLE_SPECIALS)
    if count:
        raise UserError(
            f"{where}: {some} have a special token twice in a row: the chat template adds one that the text already has"
        )
    count, some = counted(SPELLED_SPECIALS)
    if count > _MAX_SPELLED_SHARE * total:
        raise UserError(
            f"{where}: {some} have special tokens written out in their texts: give messages as they were before a "
            "template was applied"
        )
    if count:
        yield f"{some} spell a special token; it stays text"
    unanswered, some = counted(NOTHING_TO_LEARN)
    too_long = packed.num_cut + packed.num_left_out - unanswered
    if too_long + unanswered > data.max_dropped_share * total or not packed.num_conversations:
        if unanswered > too_long:
            raise UserError(
                f"{where}: {some} have no answer of an assistant to learn from; data.max_dropped_share="
                f"{data.max_dropped_share:g} allows fewer"
            )
        lengths = np.sort(np.asarray(TokenFile(source.train).lengths))
        raise UserError(
            f"{where}: {too_long:,} of {total:,} conversations are longer than {_limit(data, packed)}; "
            f"{int(lengths[-(-99 * total // 100) - 1]) - 1} would be enough for 99 % of them, "
            f"{int(lengths[-1]) - 1} for all; data.max_dropped_share={data.max_dropped_share:g} allows fewer"
        )
    if unanswered:
        yield f"{some} have no answer of an assistant: left out"
    if too_long:
        left_out = packed.num_left_out - unanswered
        yield (
            f"{too_long:,} of {total:,} conversations are longer than {packed.max_length} tokens: "
            f"{packed.num_cut:,} keep the answers that fit, {left_out:,} are left out"
        )


def _limit(data: SftData, packed: PackedConversations) -> str:
    if packed.max_length < data.seq_length:
        return f"the model's positions, model.max_positions={packed.max_length}"
    return f"data.seq_length={data.seq_length}"
