"""`--show-batch`: samples token by token. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from rich.console import Console
from rich.text import Text

from qwen_shared.data.documents import SourceReader
from qwen_shared.recipe import SftRecipe
from qwen_shared.sft.data import load_conversations
from qwen_shared.sft.packing import PackedSample
from qwen_shared.tokenizer import Tokenizer, load_tokenizer
from qwen_shared.tracking import data_progress

_IN_LOSS = ("black on green", "black on bright_green")  # alternating, to show token borders
_NOT_IN_LOSS = ("dim", "dim underline")
_SPECIAL, _PADDING = "bold", "dim strike"


def show_batch(recipe: SftRecipe, tokenizer_source: str, readers: Mapping[str, SourceReader], count: int) -> None:
    """The first `count` samples of the first step."""
    with data_progress() as progress:
        conversations = load_conversations(recipe, tokenizer_source, readers, progress)
    tokenizer = load_tokenizer(tokenizer_source)
    blend = conversations.blend(recipe)
    console = Console(highlight=False)
    legend = Text.assemble(
        (" in the loss ", _IN_LOSS[0]), "  ", ("read only", _NOT_IN_LOSS[0]), "  ", ("<|special|>", _SPECIAL), "  ",
        "▌n: document n of the sample, its length and positions; ⏎ line end, · space",
    )  # fmt: skip
    console.print(legend)
    for k in range(min(count, recipe.training.global_batch_size)):
        sample = blend.sample(k)
        console.print()
        console.rule(Text(_described(k, sample)), align="left", style="dim")
        for text in sample_text(sample, tokenizer):
            console.print(text)


def _described(k: int, sample: PackedSample) -> str:
    padding = padding_length(sample)
    documents = int(sample.document_starts.sum()) - bool(padding)
    return (
        f"sample {k}: {documents} documents, {len(sample.tokens) - padding} tokens, "
        f"{int(sample.mask.sum())} in the loss, {padding} padding"
    )


def padding_length(sample: PackedSample) -> int:
    """The length of the last document if it has no loss, else 0."""
    last = int(np.flatnonzero(sample.document_starts)[-1])
    return 0 if sample.mask[last:].any() else len(sample.tokens) - last


def sample_text(sample: PackedSample, tokenizer: Tokenizer) -> Iterable[Text]:
    """A text per document: tokens and its last label, coloured by loss."""
    names = {id: name for name, id in tokenizer.special_tokens.items()}
    starts = [*np.flatnonzero(sample.document_starts).tolist(), len(sample.tokens)]
    padding = padding_length(sample)
    for number, (start, end) in enumerate(pairwise(starts), start=1):
        if padding and end == len(sample.tokens):
            yield Text(f"▌ padding, {padding} places", style=_PADDING)
            return
        text = Text.assemble((f"▌{number}: {end - start} tokens, positions 0 to {end - start - 1}\n", "cyan"))
        ids = [*sample.tokens[start:end].tolist(), int(sample.labels[end - 1])]
        inside = [False, *(sample.mask[start:end] > 0).tolist()]
        for place, (id, shown, trained) in enumerate(
            zip(ids, _token_texts(ids, names, tokenizer), inside, strict=True)
        ):
            style = (_IN_LOSS if trained else _NOT_IN_LOSS)[place % 2]
            text.append(shown, style=f"{style} {_SPECIAL}" if id in names else style)
            if "⏎" in shown:
                text.append("\n")
        yield text


def _token_texts(ids: list[int], names: Mapping[int, str], tokenizer: Tokenizer) -> list[str]:
    """Text of each token; bytes if it is not whole characters."""
    texts = []
    for id in ids:
        raw = tokenizer.token_bytes(id)
        try:
            text = names.get(id) or raw.decode()
        except UnicodeDecodeError:
            text = "".join(f"⟨{byte:02x}⟩" for byte in raw)
        text = "".join(c if c.isprintable() or c == "\n" else f"⟨{ord(c):02x}⟩" for c in text)
        texts.append(text.replace("\n", "⏎").replace(" ", "·"))
    return texts
