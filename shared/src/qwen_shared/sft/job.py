"""Supervised fine-tuning: packed conversations, and the loss of conversations held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.data import PreparedSource
from qwen_shared.data.documents import SourceReader
from qwen_shared.data.prepare import Progress
from qwen_shared.job.parent import ParentModel
from qwen_shared.log import say
from qwen_shared.recipe import Layout, SftRecipe
from qwen_shared.sft.batches import ConversationBatches, held_out_loss
from qwen_shared.sft.data import Conversations, load_conversations
from qwen_shared.sft.stages import StagedBatches, staged_lr_schedule, stages_of
from qwen_shared.tokenizer import Tokenizer
from qwen_shared.tracking import Tracker
from qwen_shared.training.engine import Engine
from qwen_shared.training.job import Work, run_job
from qwen_shared.training.sampling import Prompt

Evaluate = Callable[[Path, str, Tracker], dict[str, float]]


def fine_tune(
    recipe: SftRecipe,
    layout: Layout,
    run_dir: Path,
    command: str,
    kind: str,
    parent: ParentModel,
    readers: Mapping[str, SourceReader] | None = None,
    evaluate: Evaluate | None = None,
) -> None:
    """Run the whole job, or what is left of it.

    `readers` are the conversations a package makes itself. `evaluate(model directory, "before" or "after", tracker)`
    gives final figures; it is called on rank 0 for the model that training starts from and for the one it makes.
    Every process calls this; raises Stopped after a signal.
    """
    job = _FineTuning(recipe, readers or {}, evaluate)
    run_job(job, recipe, layout, run_dir, command, kind, parent)


@dataclass
class _FineTuning:
    recipe: SftRecipe
    readers: Mapping[str, SourceReader]
    evaluate: Evaluate | None
    _conversations: Conversations | None = None

    def prepare(self, tokenizer_source: str, progress: Progress | None) -> list[PreparedSource]:
        self._conversations = load_conversations(self.recipe, tokenizer_source, self.readers, progress)
        return self._conversations.sources

    def work(self, prepared: list[PreparedSource], tokenizer: Tokenizer, layout: Layout, data_rank: int) -> Work:
        training, evaluation, found = self.recipe.training, self.recipe.evaluation, self._conversations
        stages = stages_of(self.recipe)
        blends = [found.blend(self.recipe, i) for i in range(len(stages))]
        sizes = training.global_batch_size, training.micro_batch_size
        batches = StagedBatches(stages, [ConversationBatches(blend, layout, data_rank, *sizes) for blend in blends])

        def validate(engine: Engine, final: bool) -> dict[str, float]:
            limit = None if final else evaluation.max_tokens
            return held_out_loss(engine, found.held_out, limit) if found.held_out else {}

        samples = sum(packed.num_samples for packed in found.train)
        said = (
            f"{sum(packed.num_conversations for packed in found.train):,} conversations of "
            f"{', '.join(source.name for source in prepared)} in {samples:,} samples, {found.real_share:.1%} tokens; "
            f"{sum(packed.num_conversations for packed in found.held_out):,} held out; "
            + ", ".join(
                (f"stage {stage.name} " if self.recipe.stages else "")
                + f"{stage.steps * training.global_batch_size / sum(s.num_samples for s in blend.datasets):.3g} epochs"
                for stage, blend in zip(stages, blends, strict=True)
            )
        )
        prompts = [Prompt(text, self._asked(tokenizer, text), tokenizer.stop_ids) for text in evaluation.prompts]
        results = {"data/real_share": found.real_share}
        return Work(batches, validate, said, prompts, lambda: results, staged_lr_schedule(self.recipe))

    def _asked(self, tokenizer: Tokenizer, text: str) -> list[int]:
        system = self.recipe.data.system
        messages = [{"role": "system", "content": system}] if system is not None else []
        return tokenizer.render([*messages, {"role": "user", "content": text}], add_generation_prompt=True)[0]

    def before(self, parent: Path, tracker: Tracker) -> None:
        if self.evaluate:
            self.evaluate(parent, "before", tracker)

    def after(self, export: Path, tracker: Tracker) -> dict[str, float]:
        return self.evaluate(export, "after", tracker) if self.evaluate else {}

    def say_results(self, results: dict[str, float]) -> None:
        if "val/loss" in results:
            say(f"held-out conversations: loss {results['before/val/loss']:.4f} ► {results['val/loss']:.4f}")
