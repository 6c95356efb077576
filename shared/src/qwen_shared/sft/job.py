"""Supervised fine-tuning on packed conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qwen_shared.data.documents import SourceReader
from qwen_shared.data.prepare import Progress
from qwen_shared.job.spec import RunSpec
from qwen_shared.log import say
from qwen_shared.recipe import Layout, SftRecipe
from qwen_shared.sft.batches import ConversationBatches, held_out_loss
from qwen_shared.sft.data import Conversations, load_conversations
from qwen_shared.sft.stages import StagedBatches, staged_lr_schedule, stages_of
from qwen_shared.tokenizer import Tokenizer
from qwen_shared.training.engine import Engine
from qwen_shared.training.job import Evaluate, Work, train_on_megatron
from qwen_shared.training.sampling import Prompt


def fine_tune[R: SftRecipe](
    spec: RunSpec[R], readers: Mapping[str, SourceReader] | None = None, evaluate: Evaluate | None = None
) -> None:
    r"""Runs the whole job, or the rest of it.

    `readers`: conversations that a package generates. `evaluate(model directory, "before" or "after", tracker)` returns
    final results; rank 0 calls it for the parent and the trained model. Every process calls this. Raises Stopped after
    a signal.
    """
    train_on_megatron(spec, _FineTuning(spec.recipe, readers or {}, evaluate))


@dataclass(frozen=True)
class _FineTuning:
    recipe: SftRecipe
    readers: Mapping[str, SourceReader]
    evaluate: Evaluate | None

    def prepare(self, progress: Progress | None) -> Conversations:
        return load_conversations(self.recipe, self.recipe.tokenizer, self.readers, progress)

    def work(self, prepared: Conversations, tokenizer: Tokenizer, layout: Layout, data_rank: int) -> Work:
        training, evaluation = self.recipe.training, self.recipe.evaluation
        stages = stages_of(self.recipe)
        blends = [prepared.blend(self.recipe, i) for i in range(len(stages))]
        sizes = training.global_batch_size, training.micro_batch_size
        batches = StagedBatches(stages, [ConversationBatches(blend, layout, data_rank, *sizes) for blend in blends])

        def validate(engine: Engine, final: bool) -> dict[str, float]:
            limit = None if final else evaluation.max_tokens
            return held_out_loss(engine, prepared.held_out, limit) if prepared.held_out else {}

        samples = sum(packed.num_samples for packed in prepared.train)
        said = (
            f"{sum(packed.num_conversations for packed in prepared.train):,} conversations of "
            f"{', '.join(source.name for source in prepared.sources)} in {samples:,} samples, "
            f"{prepared.real_share:.1%} tokens; "
            f"{sum(packed.num_conversations for packed in prepared.held_out):,} held out; "
            + ", ".join(
                (f"stage {stage.name} " if self.recipe.stages else "")
                + f"{stage.steps * training.global_batch_size / sum(s.num_samples for s in blend.datasets):.3g} epochs"
                for stage, blend in zip(stages, blends, strict=True)
            )
        )
        prompts = [Prompt(text, self._asked(tokenizer, text), tokenizer.stop_ids) for text in evaluation.prompts]
        return Work(
            batches,
            validate,
            said,
            _say_results,
            prompts=prompts,
            results=lambda: {"data/real_share": prepared.real_share},
            rate=staged_lr_schedule(self.recipe),
            evaluate=self.evaluate,
        )

    def _asked(self, tokenizer: Tokenizer, text: str) -> list[int]:
        system = self.recipe.data.system
        messages = [{"role": "system", "content": system}] if system is not None else []
        return tokenizer.render([*messages, {"role": "user", "content": text}], add_generation_prompt=True)[0]


def _say_results(results: dict[str, float]) -> None:
    if "val/loss" in results:
        say(f"held-out conversations: loss {results['before/val/loss']:.4f} ► {results['val/loss']:.4f}")
