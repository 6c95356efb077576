"""The recipe of `qwen-chat ppo`. `model` and `tokenizer` come from the parent model. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from qwen_chat.deepspeed_config import check_name
from qwen_chat.recipe import DIALOGUES
from qwen_shared.recipe import RunRecipe
from qwen_shared.recipe.schema import (
    Data,
    Flag,
    Model,
    Number,
    Optimizer,
    Parallel,
    Positive,
    Section,
    Share,
    TrainingData,
    Whole,
    source_from_text,
    sources_from_text,
)
from qwen_shared.recipe.sft_schema import ConversationSource, SftData


class Function(Section):
    name: str = Field(min_length=1)
    weight: Number = 1.0


def _function_from_text(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Reward(Section):
    """How a response is scored (the sum of all scores), and how scores become rewards per token."""

    model: str | None = Field(
        None,
        min_length=1,
        description="a run of `qwen-chat reward`, or its export; default without functions: "
        "the finished one of the same recipe name",
    )
    functions: list[Annotated[Function, BeforeValidator(_function_from_text)]] = Field(
        [], description="reward functions, by name or as {name, weight}"
    )
    held_out: str | None = Field(
        None,
        description="a reward function that is only logged: if it falls while the reward rises, the policy "
        "exploits the reward",
    )

    kl_coefficient: Number = Field(0.04, ge=0.0, description="reward lost per nat of KL (report, section 3.2.2)")
    kl_target: Number | None = Field(
        None, gt=0.0, description="nats per response, to which the coefficient is steered; default: fixed"
    )
    # k2 and k3 are second order in the distance from the reference: as rewards they have almost no gradient at the
    # start, and k3's exponential can exceed the score. Only k1 has the gradient of the KL.
    kl_estimator: Literal["k1", "k2", "k3"] = Field("k1", description="of the penalty; k1 has the KL's own gradient")
    normalise: Literal["none", "mean", "mean_and_deviation"] = Field(
        "mean", description="scores less their running mean (report, section 3.2.2), also over their deviation"
    )
    clip: Number = Field(5.0, gt=0.0, description="largest size of a normalised score")
    truncated: Literal["penalty", "keep", "mask"] = Field(
        "penalty", description="responses without end token: a fixed score, their own score, or no loss"
    )
    # In normalised units, so it means the same for every reward model.
    truncated_penalty: Number = Field(-1.0, description="the normalised score of a truncated response")

    @model_validator(mode="after")
    def _check(self) -> Reward:
        if self.kl_target is not None and not self.kl_coefficient:
            raise ValueError(
                f"kl_target={self.kl_target:g} multiplies the coefficient, which has no effect on kl_coefficient=0"
            )
        names = [function.name for function in self.functions]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"functions names {twice} twice; use weight")
        if abs(self.truncated_penalty) > self.clip:
            raise ValueError(f"truncated_penalty={self.truncated_penalty:g} is beyond clip={self.clip:g}")
        return self


class Advantages(Section):
    """Generalised advantage estimation. The report gives neither number (section 3.2.2)."""

    gamma: Share = Field(1.0, description="discount per token; 1: the length of an answer does not matter")
    gae_lambda: Share = Field(0.95, description="0 uses only the value model, 1 only the rewards")
    whiten: Flag = Field(True, description="scale a step's advantages to mean 0 and deviation 1 over all tokens")


class Losses(Section):
    policy_clip: Number = Field(0.2, gt=0.0, lt=1.0, description="of the ratio around 1; not in the report")
    value_clip: Number = Field(
        0.15, gt=0.0, description="of the value around its old one, in units of reward (report, section 3.2.2)"
    )
    pretraining_coefficient: Number = Field(
        0.0, ge=0.0, description="of the pretraining loss; not in the report, which mixes one in (section 3.2.2)"
    )
    kl_limit: Number | None = Field(
        None, gt=0.0, description="end a step's updates once the policy has moved this far, nats per token"
    )


class Lora(Section):
    """Low-rank adapters on all linear layers (peft); the frozen weights are the reference.

    The report trains all weights; rank and alpha are from Qwen's fine-tuning script.
    """

    rank: Positive = 64
    alpha: Positive = 16
    bits: Literal[4, 8] | None = Field(None, description="quantise the frozen weights (QLoRA; needs bitsandbytes)")


class ConstantAdamW(Optimizer):
    lr: Number = Field(gt=0.0)
    weight_decay: Number = Field(0.0, ge=0.0)
    clip_grad: Number = Field(1.0, gt=0.0, description="global norm")


class Policy(ConstantAdamW):
    lr: Number = Field(1e-6, gt=0.0, description="report, section 3.2.2")
    lora: Lora | None = None


class Value(ConstantAdamW):
    lr: Number = Field(5e-6, gt=0.0, description="report, section 3.2.2")
    init: Literal["reward", "policy"] = Field(
        "reward", description="whose trunk it starts from; always the policy's if there is no reward model"
    )
    share_trunk: Flag = Field(False, description="a head on the policy instead of a separate model")
    coefficient: Number = Field(0.1, gt=0.0, description="of its loss, if share_trunk")


class Generation(Section):
    responses_per_query: Positive = Field(2, description="report, section 3.2.2")
    max_new_tokens: Positive = 512
    temperature: Number = Field(1.0, gt=0.0, le=2.0)
    top_p: Number = Field(0.9, gt=0.0, le=1.0, description="report, section 3.2.2")
    vllm_memory: Number = Field(
        0.3, ge=0.0, lt=1.0, description="share of each GPU for generation with vLLM, if it is installed; 0: never"
    )


class PpoTraining(Section):
    steps: Positive
    value_warmup_steps: Whole = Field(50, ge=0, description="steps that train only the value (report, section 3.2.2)")
    global_batch_size: Positive = Field(description="responses per step")
    micro_batch_size: Positive = Field(description="responses per forward pass and rank")
    minibatches: Positive = Field(1, description="optimizer steps in an epoch over a step's responses")
    epochs: Positive = Field(1, description="passes over a step's responses")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 if the hardware speeds it up")


class Alarms(Section):
    """Limits of warnings, each given once."""

    kl: Number | None = Field(None, gt=0.0, description="warn above this many nats per response")
    entropy: Share = Field(0.1, description="warn below this share of the first step's entropy")
    divergence: Number = Field(
        0.5,
        gt=0.0,
        description="warn if the held-out reward falls this many deviations from its best while the reward rises",
    )


class Pretraining(Section):
    """Text against the alignment tax, weighted by `losses.pretraining_coefficient`."""

    data: Data
    global_batch_size: Positive = Field(description="samples of data.seq_length tokens per optimizer step")


class HeldOutEvaluation(Section):
    """Greedy answers to held-out prompts."""

    interval: Positive = Field(description="steps between evaluations; always before the first step and after the last")
    prompts: Positive = Field(700, description="at most; the same every time")
    shown: Positive = Field(3, description="answers shown on the console and in W&B")
    functions: list[str] = Field([], description="more reward functions that score the answers")


class PromptData(TrainingData):
    """Rows with a `prompt`, or conversations without their last answer. Other keys are columns for reward functions."""

    builtin: ClassVar[tuple[str, ...]] = (DIALOGUES,)
    suffixes: ClassVar[tuple[str, ...]] = SftData.suffixes
    isolate_documents: ClassVar[bool] = True

    sources: Annotated[
        list[Annotated[ConversationSource, BeforeValidator(source_from_text)]],
        BeforeValidator(sources_from_text),
        Field(min_length=1, description="one source or a list; a path alone is short for {path: …}"),
    ]
    system: str | None = Field(None, description="for prompts without a system turn; default: the template's")


class PpoRecipe(RunRecipe):
    if not TYPE_CHECKING:  # None only until the parent is known
        model: Model | None = Field(None, description="the parent's, as is the tokenizer; not to be set")
    data: PromptData
    parallel: ClassVar[Parallel] = Parallel()  # data parallelism only; ZeRO shards memory

    training: PpoTraining
    generation: Generation = Generation.model_construct()
    reward: Reward = Reward.model_construct()
    advantages: Advantages = Advantages.model_construct()
    losses: Losses = Losses.model_construct()
    policy: Policy = Policy.model_construct()
    value: Value = Value.model_construct()
    pretraining: Pretraining | None = None
    evaluation: HeldOutEvaluation
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
        divisors = {
            "generation.responses_per_query": per_query,
            "training.minibatches": training.minibatches,
        }
        for key, count in divisors.items():
            if training.global_batch_size % count:
                raise ValueError(
                    f"training.global_batch_size={training.global_batch_size} is not a multiple of {key}={count}"
                )
        if self.generation.max_new_tokens >= self.data.seq_length:
            raise ValueError(
                f"generation.max_new_tokens={self.generation.max_new_tokens} leaves no room for a prompt in "
                f"data.seq_length={self.data.seq_length}"
            )
        if training.value_warmup_steps >= training.steps:
            raise ValueError(
                f"training.value_warmup_steps={training.value_warmup_steps} leaves the policy none of the "
                f"{training.steps} steps (training.steps)"
            )
        if bool(self.losses.pretraining_coefficient) != bool(self.pretraining):
            raise ValueError("losses.pretraining_coefficient and the section pretraining need each other")
        if self.value.share_trunk and self.policy.lora:
            raise ValueError("value.share_trunk=true with policy.lora: not implemented together")
        return self
