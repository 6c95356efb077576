"""A recipe's conversations as packed samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.data import BlendedDataset, PreparedSource, TokenFile, prepare
from qwen_shared.data.documents import SourceReader
from qwen_shared.data.prepare import Progress
from qwen_shared.log import say
from qwen_shared.recipe import SftRecipe
from qwen_shared.run.paths import cache_dir
from qwen_shared.sft.checks import check_conversations
from qwen_shared.sft.packing import PackedConversations
from qwen_shared.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Conversations:
    sources: list[PreparedSource]
    train: list[PackedConversations]  # one per source
    held_out: list[PackedConversations]  # of sources that hold some out

    def blend(self, recipe: SftRecipe, stage: int = 0) -> BlendedDataset:
        """A stage's data mixed by weight; without weights every sample is seen equally often."""
        chosen = recipe.stages[stage].sources if recipe.stages else None
        datasets, weights = [], []
        for source, packed in zip(recipe.data.sources, self.train, strict=True):
            if chosen is None or source.path in chosen:
                # Each stage has its own order, so that it does not repeat the samples just seen.
                datasets.append(packed.shuffled(recipe.seed + stage))
                weights.append(packed.num_samples if source.weight is None else source.weight)
        return BlendedDataset(datasets, weights, recipe.seed + stage)

    @property
    def real_share(self) -> float:
        """Share of training positions that are not padding."""
        return sum(p.num_tokens for p in self.train) / sum(p.num_samples * p.seq_length for p in self.train)


def load_conversations(
    recipe: SftRecipe,
    tokenizer_source: str,
    readers: Mapping[str, SourceReader],
    progress: Progress | None = None,
) -> Conversations:
    """Tokenises what the cache lacks. With `progress`, also prints the remarks of `check_conversations`. Raises
    UserError if a source cannot be read or fails the checks."""
    prepared = prepare(recipe.data, tokenizer_source, cache_dir(), progress, readers=readers)
    tokenizer = load_tokenizer(tokenizer_source)
    train = [_packed(recipe, source.train, tokenizer) for source in prepared]
    held_out = [
        _packed(recipe, source.validation, tokenizer) for source in prepared if source.meta["validation"]["tokens"]
    ]
    if progress:
        for source, packed in zip(prepared, train, strict=True):
            for remark in check_conversations(recipe.data, source, packed, tokenizer):
                say(f"data   {remark}")
    return Conversations(prepared, train, [packed for packed in held_out if packed.num_samples])


def _packed(recipe: SftRecipe, prefix: Path, tokenizer: Tokenizer) -> PackedConversations:
    file, longest = TokenFile(prefix), recipe.model.max_positions
    return PackedConversations(file, recipe.data.seq_length, tokenizer.stop_ids, tokenizer.pad_id, recipe.seed, longest)
