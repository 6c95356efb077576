"""The recipe of `qwen-chat ppo`. Its `model` and `tokenizer` are those of the model it starts from."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from qwen_chat.deepspeed import check_name
from qwen_chat.ppo.settings import Advantages, Alarms, Generation, Losses, Policy, PpoTraining, Reward, Value
from qwen_chat.recipe import PromptData
from qwen_shared.recipe import RunRecipe
from qwen_shared.recipe.schema import Data, Model, Parallel, Positive, Section


class Pretraining(Section):
    """Text that the policy also goes on with, against the alignment tax; `losses.pretraining_coefficient` weighs it."""

    data: Data
    global_batch_size: Positive = Field(description="samples of data.seq_length tokens per optimizer step")


class HeldOut(Section):
    """How the policy answers held-out prompts, greedily, as it learns."""

    interval: Positive = Field(description="steps between evaluations; before the first and after the last always")
    prompts: Positive = Field(700, description="at most; the same ones every time")
    shown: Positive = Field(3, description="answers on the console and in W&B")
    functions: list[str] = Field([], description="reward functions that also measure the answers")


class PpoRecipe(RunRecipe):
    model: Model | None = Field(None, description="the start's, as its tokenizer is; never to be given")
    data: PromptData
    parallel: ClassVar[Parallel] = Parallel()  # data parallelism only; ZeRO divides what else there is

    training: PpoTraining
    generation: Generation = Generation.model_construct()
    reward: Reward = Reward.model_construct()
    advantages: Advantages = Advantages.model_construct()
    losses: Losses = Losses.model_construct()
    policy: Policy = Policy.model_construct()
    value: Value = Value.model_construct()
    pretraining: Pretraining | None = None
    evaluation: HeldOut
    alarms: Alarms = Alarms.model_construct()
    deepspeed: str | None = Field(
        None, min_length=1, description="zero0 to zero3, or a DeepSpeed JSON file; default: zero0 on several processes"
    )

    @field_validator("deepspeed")
    @classmethod
    def _check_deepspeed(cls, name: str | None) -> str | None:
        if name is not None:
            check_name(name)
        return name

    @model_validator(mode="after")
    def _check(self) -> PpoRecipe:
        training, per_query = self.training, self.generation.responses_per_query
        pieces = {
            "generation.responses_per_query": per_query,
            "training.minibatches": training.minibatches,
        }
        for key, count in pieces.items():
            if training.global_batch_size % count:
                raise ValueError(
                    f"training.global_batch_size={training.global_batch_size} is not a multiple of {key}={count}"
                )
        if self.generation.max_new_tokens >= self.data.seq_length:
            raise ValueError(
                f"generation.max_new_tokens={self.generation.max_new_tokens} leaves no room for a prompt in "
                f"data.seq_length={self.data.seq_length}"
            )
        if bool(self.losses.pretraining_coefficient) != bool(self.pretraining):
            raise ValueError("losses.pretraining_coefficient and the section pretraining: one needs the other")
        if self.value.share_trunk and self.policy.lora:
            raise ValueError("value.share_trunk=true with policy.lora: adapters and a value on one trunk are not built")
        return self
