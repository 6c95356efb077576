"""The recipe of `qwen-chat reward`. `model` and `tokenizer` come from the parent model. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from qwen_chat.deepspeed_config import check_name
from qwen_shared.recipe import RunRecipe
from qwen_shared.recipe.schema import (
    Model,
    Number,
    Optimizer,
    Parallel,
    Positive,
    Schedule,
    Section,
    Share,
    TrainingData,
    source_from_text,
    sources_from_text,
)
from qwen_shared.recipe.sft_schema import SftData

PAIRS = "pairs"  # the name of the source
STAGES = {"pmp": ("pmp",), "finetune": ("finetune",), "both": ("pmp", "finetune")}


class PreferenceSource(Section):
    """A file, a directory, or `hf:NAME_OR_DIRECTORY`; keys tell the format (see `preferences`)."""

    weight: ClassVar[None] = None  # all pairs count the same

    path: str = Field(min_length=1, description="a file, a directory, hf:NAME_OR_DIRECTORY, or embedded data: pairs")
    config: str | None = Field(None, description="hf: only; the dataset's configuration")
    split: str = Field("train", description="hf: only")


Sources = Annotated[
    list[Annotated[PreferenceSource, BeforeValidator(source_from_text)]], BeforeValidator(sources_from_text)
]


class PreferenceData(TrainingData):
    """Prompts are held out with all their pairs."""

    builtin: ClassVar[tuple[str, ...]] = (PAIRS,)
    suffixes: ClassVar[tuple[str, ...]] = SftData.suffixes
    isolate_documents: ClassVar[bool] = True

    seq_length: Positive = Field(description="tokens of a conversation; longer ones lose their first turns")
    sources: Sources = Field([], description="of stage finetune; a path alone is short for {path: …}")
    validation_fraction: Share = Field(0.05, description="of the prompts, with all their pairs")
    system: str | None = Field(None, description="for conversations without a system turn; default: the template's")
    max_pairs_per_prompt: Positive = Field(16, description="of a ranking or of scores; a random sample of more")
    # The report balances its prompts over 6,600 tags, but does not say how.
    max_tag_share: Share = Field(
        0.5, gt=0.0, description="largest share of a tag in the training pairs; the rest is left out. 1: keep all"
    )
    max_dropped_share: Share = Field(0.05, description="refuse to train if more pairs are too long")


class RewardData(PreferenceData):
    pmp_sources: Sources = Field([], description="of stage pmp: many comparisons, of any quality")

    @property
    def parts(self) -> dict[str, TrainingData]:
        parts: dict[str, TrainingData] = {"sources": self} if self.sources else {}
        if self.pmp_sources:
            parts["pmp_sources"] = self.of("pmp")
        return parts

    def of(self, stage: str) -> PreferenceData:
        return self.model_copy(update={"sources": self.pmp_sources}) if stage == "pmp" else self


class Pairs(Section):
    """The source `pairs`: one of two answers to a short dialogue has the better style, is right, or is complete."""

    count: Positive = Field(20_000, description="training pairs, each on a different prompt")
    held_out: Positive = Field(1000, description="pairs on prompts that are in no training dialogue")
    languages: list[Literal["en", "zh"]] = Field(["en", "zh"], min_length=1)


class RewardTraining(Section):
    epochs: Number = Field(1.0, gt=0.0, le=1e4)
    steps: Positive | None = Field(None, description="instead of epochs; pairs repeat if they run out")
    global_batch_size: Positive = Field(description="pairs per step")
    micro_batch_size: Positive = Field(1, description="pairs per forward pass and rank")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 if the hardware speeds it up")
    recompute: Literal["none", "full"] = Field("none", description="full: recompute layers in the backward pass")


class Pmp(Section):
    """What differs from fine-tuning."""

    epochs: Number | None = Field(None, gt=0.0, le=1e4)
    steps: Positive | None = None
    lr: Number | None = Field(None, gt=0.0)


class RewardEvaluation(Section):
    interval: Positive = Field(description="steps between validations")
    max_pairs: Positive = Field(1000, description="held-out pairs at intervals; the end uses all")
    batch_tokens: Positive = Field(16384, description="padded tokens in a batch of conversations to score")


class RewardRecipe(RunRecipe):
    parallel: ClassVar[Parallel] = Parallel()  # data parallelism only; ZeRO shards memory

    if not TYPE_CHECKING:  # None only until the parent is known
        model: Model | None = Field(None, description="the parent's, as is the tokenizer; not to be set")
    stage: Literal["pmp", "finetune", "both"] = Field(
        "finetune", description="preference-model pretraining on data.pmp_sources, fine-tuning on data.sources"
    )
    data: RewardData
    pairs: Pairs = Pairs.model_construct()
    training: RewardTraining
    optimizer: Optimizer
    schedule: Schedule = Field(Schedule.model_construct(kind="constant"), description="of each stage, over its steps")
    pmp: Pmp = Pmp.model_construct()
    deepspeed: str | None = Field(None, description="zero0 to zero3, or a JSON file; null: plain data parallelism")
    evaluation: RewardEvaluation

    @model_validator(mode="after")
    def _check(self) -> RewardRecipe:
        size, part = self.training.global_batch_size, self.training.micro_batch_size
        if size % part:
            raise ValueError(f"training.global_batch_size={size} is not a multiple of training.micro_batch_size={part}")
        for stage in STAGES[self.stage]:
            key = "pmp_sources" if stage == "pmp" else "sources"
            if not getattr(self.data, key):
                raise ValueError(f"stage={self.stage} reads data.{key}, which names no source")
            steps = self.steps(stage)
            if steps is not None and self.schedule.warmup_steps >= steps:
                raise ValueError(
                    f"schedule.warmup_steps={self.schedule.warmup_steps} leaves nothing of the {steps} steps of {stage}"
                )
        if self.deepspeed is not None:
            check_name(self.deepspeed)
        return self

    def epochs(self, stage: str) -> float:
        return (self.pmp.epochs if stage == "pmp" else None) or self.training.epochs

    def steps(self, stage: str) -> int | None:
        """Steps of a stage if given; pmp's own epochs override the steps of all."""
        if stage == "pmp" and (self.pmp.steps or self.pmp.epochs):
            return self.pmp.steps
        return self.training.steps

    def lr(self, stage: str) -> float:
        return (self.pmp.lr if stage == "pmp" else None) or self.optimizer.lr
