"""Pretraining: packed text, validated by bits per byte of held-out text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwen_shared.data import BlendedDataset, PackedDataset, PreparedSource, TokenFile, ValidationText, prepare
from qwen_shared.data.documents import SourceReader
from qwen_shared.data.prepare import Progress
from qwen_shared.job.spec import RunSpec
from qwen_shared.log import say
from qwen_shared.recipe import Layout, PretrainRecipe
from qwen_shared.recipe.schema import Source, TrainingData
from qwen_shared.run.paths import cache_dir
from qwen_shared.tokenizer import Tokenizer
from qwen_shared.training.batches import PackedBatches
from qwen_shared.training.engine import Engine
from qwen_shared.training.job import Work, train_on_megatron
from qwen_shared.training.sampling import Prompt
from qwen_shared.training.validation import validate


@dataclass(frozen=True)
class Corpus:
    """Sources of one kind, with a share of the training data and held-out text of their own."""

    name: str
    data: TrainingData
    share: float = 1.0
    readers: Mapping[Source, SourceReader] = field(default_factory=dict)
    transform: Callable[[PackedDataset, Tokenizer], Any] | None = None  # of each source's samples


def pretrain[R: PretrainRecipe](spec: RunSpec[R], corpora: Sequence[Corpus] = ()) -> None:
    """Run the whole job, or what is left of it.

    `corpora` is the recipe's data if it is of several kinds. Metrics of the first are called val/…, those of another
    val/NAME/…. Every process calls this; raises Stopped after a signal.
    """
    train_on_megatron(spec, _Pretraining(spec.recipe, corpora or [Corpus("text", spec.recipe.data)]))


@dataclass(frozen=True)
class _PreparedCorpora:
    each: list[list[PreparedSource]]  # the sources of each corpus

    @property
    def sources(self) -> list[PreparedSource]:
        return [source for sources in self.each for source in sources]


@dataclass(frozen=True)
class _Pretraining:
    recipe: PretrainRecipe
    corpora: Sequence[Corpus]

    def prepare(self, progress: Progress | None) -> _PreparedCorpora:
        return _PreparedCorpora(
            [
                prepare(corpus.data, self.recipe.tokenizer, cache_dir(), progress, readers=corpus.readers)
                for corpus in self.corpora
            ]
        )

    def work(self, prepared: _PreparedCorpora, tokenizer: Tokenizer, layout: Layout, data_rank: int) -> Work:
        data, training, evaluation = self.recipe.data, self.recipe.training, self.recipe.evaluation
        batches = PackedBatches(
            self._blend(prepared, tokenizer),
            tokenizer.eod_id,
            layout,
            data_rank,
            training.global_batch_size,
            training.micro_batch_size,
            data.isolate_documents,
        )
        texts = [
            _HeldOut(self._val(corpus), sources, tokenizer, data.seq_length, evaluation.max_tokens)
            for corpus, sources in zip(self.corpora, prepared.each, strict=True)
            if any(source.meta["validation"]["tokens"] for source in sources)
        ]

        def validate(engine: Engine, final: bool) -> dict[str, float]:
            return {name: value for text in texts for name, value in text.metrics(engine, final).items()}

        def results() -> dict[str, float]:
            return {name: value for text in texts for name, value in text.facts().items()}

        prompts = [
            Prompt(text, tokenizer.encode(text) or [tokenizer.eod_id], (tokenizer.eod_id,))
            for text in evaluation.prompts
        ]
        return Work(batches, validate, self._describe(prepared), self._say_results, prompts=prompts, results=results)

    def _blend(self, prepared: _PreparedCorpora, tokenizer: Tokenizer) -> BlendedDataset:
        """All sources; each corpus has its share, divided by its sources' weights."""
        streams, weights = [], []
        for corpus, sources in zip(self.corpora, prepared.each, strict=True):
            whole = sum(source.weight for source in sources)
            for source in sources:
                packed = PackedDataset(TokenFile(source.train), self.recipe.data.seq_length, self.recipe.seed)
                streams.append(corpus.transform(packed, tokenizer) if corpus.transform else packed)
                weights.append(corpus.share * source.weight / whole)
        return BlendedDataset(streams, weights, self.recipe.seed)

    def _describe(self, prepared: _PreparedCorpora) -> str:
        parts = []
        for corpus, sources in zip(self.corpora, prepared.each, strict=True):
            tokens = sum(source.meta["train"]["tokens"] for source in sources)
            held_bytes = sum(source.meta["validation"]["bytes"] for source in sources)
            names = ", ".join(source.name for source in sources)
            held = f"{held_bytes:,} bytes" if held_bytes else "nothing"
            kind = f"{corpus.share:.0%} {corpus.name}: " if len(self.corpora) > 1 else ""
            parts.append(f"{kind}{tokens:,} tokens of {names}; {held} held out")
        return "\n       ".join(parts)

    def _val(self, corpus: Corpus) -> str:
        return "val" if corpus is self.corpora[0] else f"val/{corpus.name}"

    def _say_results(self, results: dict[str, float]) -> None:
        for corpus in self.corpora:
            val = self._val(corpus)
            if f"{val}/bits_per_byte" not in results:
                continue
            before = results.get(f"before/{val}/bits_per_byte")
            change = f"{before:.3f} ► " if before is not None else ""
            say(
                f"held-out {corpus.name}: {change}{results[f'{val}/bits_per_byte']:.3f} bits per byte over "
                f"{results[f'{val}/bytes']:,} bytes (gzip -9: {results[f'{val}/gzip_bits_per_byte']:.3f})"
            )


class _HeldOut:
    """The held-out text of a corpus, whole, and a part of it for validation at intervals."""

    def __init__(
        self,
        prefix: str,
        sources: list[PreparedSource],
        tokenizer: Tokenizer,
        seq_length: int,
        max_tokens: int | None,
    ):
        self._prefix = prefix
        self._whole = ValidationText(sources, tokenizer, seq_length)
        self._part = ValidationText(sources, tokenizer, seq_length, max_tokens)

    def metrics(self, engine: Engine, final: bool) -> dict[str, float]:
        found = validate(engine, self._whole if final else self._part)
        return {name.replace("val", self._prefix, 1): value for name, value in found.items()}

    def facts(self) -> dict[str, float]:
        """What is true of the text itself."""
        return {
            f"{self._prefix}/gzip_bits_per_byte": self._whole.gzip_bits_per_byte(),
            f"{self._prefix}/bytes": self._whole.num_bytes,
        }
