"""Pretraining: packed text, and bits per byte of text held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qwen_shared.data import PreparedSource, ValidationText, prepare, training_blend
from qwen_shared.data.prepare import Progress
from qwen_shared.recipe import Layout, PretrainRecipe
from qwen_shared.tokenizer import Tokenizer
from qwen_shared.tracking import Tracker, say
from qwen_shared.training.batches import PackedBatches
from qwen_shared.training.engine import Engine
from qwen_shared.training.job import Work, run_job
from qwen_shared.training.run_files import cache_dir
from qwen_shared.training.sampling import Prompt
from qwen_shared.training.start import Start
from qwen_shared.training.validation import validate


def pretrain(
    recipe: PretrainRecipe, layout: Layout, run_dir: Path, command: str, kind: str, origin: Start | None = None
) -> None:
    """Run the whole job, or what is left of it; a new run begins from `origin`, else from random weights.

    Every process calls this; raises Stopped after a signal.
    """
    run_job(_Pretraining(recipe), recipe, layout, run_dir, command, kind, origin)


@dataclass(frozen=True)
class _Pretraining:
    recipe: PretrainRecipe

    def prepare(self, tokenizer_source: str, progress: Progress | None) -> list[PreparedSource]:
        return prepare(self.recipe.data, tokenizer_source, cache_dir(), progress)

    def work(self, prepared: list[PreparedSource], tokenizer: Tokenizer, layout: Layout, data_rank: int) -> Work:
        data, training, evaluation = self.recipe.data, self.recipe.training, self.recipe.evaluation
        batches = PackedBatches(
            training_blend(prepared, data.seq_length, self.recipe.seed),
            tokenizer.eod_id,
            layout,
            data_rank,
            training.global_batch_size,
            training.micro_batch_size,
            data.isolate_documents,
        )
        whole_text = part_of_text = None
        if any(source.meta["validation"]["tokens"] for source in prepared):
            whole_text = ValidationText(prepared, tokenizer, data.seq_length)
            part_of_text = ValidationText(prepared, tokenizer, data.seq_length, evaluation.max_tokens)

        def held_out(engine: Engine, final: bool) -> dict[str, float]:
            return validate(engine, whole_text if final else part_of_text) if whole_text else {}

        def results() -> dict[str, float]:
            if whole_text is None:
                return {}
            return {"val/gzip_bits_per_byte": whole_text.gzip_bits_per_byte(), "val/bytes": whole_text.num_bytes}

        tokens = sum(source.meta["train"]["tokens"] for source in prepared)
        held_bytes = sum(source.meta["validation"]["bytes"] for source in prepared)
        sources = ", ".join(source.name for source in prepared)
        said = f"{tokens:,} tokens of {sources}; {f'{held_bytes:,} bytes' if held_bytes else 'nothing'} held out"
        prompts = [
            Prompt(text, tokenizer.encode(text) or [tokenizer.eod_id], (tokenizer.eod_id,))
            for text in evaluation.prompts
        ]
        return Work(batches, held_out, said, prompts, results)

    def before(self, origin: Path, tracker: Tracker) -> None: ...

    def after(self, export: Path, tracker: Tracker) -> dict[str, float]:
        return {}

    def say_results(self, results: dict[str, float]) -> None:
        if "val/bits_per_byte" in results:
            say(
                f"held-out text: {results['val/bits_per_byte']:.3f} bits per byte over {results['val/bytes']:,} bytes "
                f"(gzip -9: {results['val/gzip_bits_per_byte']:.3f})"
            )
