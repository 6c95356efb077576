"""The recipe of `qwen-chat ppo`. Its `model` and `tokenizer` are those of the model it starts from. No torch."""

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
    """A reward function of the group `qwen.rewards`, by name."""

    name: str = Field(min_length=1)
    weight: Number = 1.0


def _function_from_text(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Reward(Section):
    """What scores a response, and how that score becomes a reward per token. Scores of several add up."""

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
        description="a reward function that is only watched: where it falls while the reward rises, the policy "
        "has learned to please the reward alone",
    )

    kl_coefficient: Number = Field(0.04, ge=0.0, description="reward lost per nat of KL (report, section 7)")
    kl_target: Number | None = Field(
        None, gt=0.0, description="nats per response; steers the coefficient, which is otherwise fixed"
    )
    # k2 and k3 are second order in the policy's distance from the reference. As rewards they have next to no gradient
    # where the policy starts, and k3's exponential can swamp the score: k1 alone has the gradient of the KL.
    kl_estimator: Literal["k1", "k2", "k3"] = Field("k1", description="of the penalty; k1 has the KL's own gradient")
    normalise: Literal["none", "mean", "mean_and_deviation"] = Field(
        "mean", description="what of all scores so far is taken out of a score (report, section 7: the running mean)"
    )
    clip: Number = Field(5.0, gt=0.0, description="no normalised score lies further from 0")
    truncated: Literal["penalty", "keep", "mask"] = Field(
        "penalty", description="responses without end token: a fixed reward, their own score, or no part in the loss"
    )
    # In normalised units, so that it means the same for every reward model.
    truncated_penalty: Number = Field(-1.0, description="the normalised score of a truncated response")

    @model_validator(mode="after")
    def _check(self) -> Reward:
        if self.kl_target is not None and not self.kl_coefficient:
            raise ValueError(f"kl_target={self.kl_target:g} steers by factors, which kl_coefficient=0 does not feel")
        names = [function.name for function in self.functions]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"functions names {twice} twice; weight says how much one counts")
        if abs(self.truncated_penalty) > self.clip:
            raise ValueError(f"truncated_penalty={self.truncated_penalty:g} lies beyond clip={self.clip:g}")
        return self


class Advantages(Section):
    """Generalised advantage estimation. The report gives neither number (section 7)."""

    gamma: Share = Field(1.0, description="discount per token; 1: a long answer's end counts as much as a short one's")
    gae_lambda: Share = Field(0.95, description="0 trusts the value model alone, 1 the rewards alone")
    whiten: Flag = Field(True, description="advantages of a step to mean 0 and deviation 1 over all its tokens")


class Losses(Section):
    policy_clip: Number = Field(0.2, gt=0.0, lt=1.0, description="of the ratio around 1; not in the report")
    value_clip: Number = Field(
        0.15, gt=0.0, description="of the value around its old one, in units of reward (report, section 7)"
    )
    pretraining_coefficient: Number = Field(
        0.0, ge=0.0, description="of the pretraining loss; not in the report, which mixes one in (section 7)"
    )
    kl_limit: Number | None = Field(
        None, gt=0.0, description="end a step's updates where the policy has moved this far in it, nats per token"
    )


class Lora(Section):
    """Low-rank adapters on all linear layers of the policy (peft). The weights below them stay, and are the reference.

    The report's recipe trains all weights; rank and alpha are those of Qwen's published fine-tuning script.
    """

    rank: Positive = 64
    alpha: Positive = 16
    bits: Literal[4, 8] | None = Field(None, description="quantise the weights below (QLoRA; needs bitsandbytes)")


class Learner(Section):
    """A model that learns, with AdamW at a constant rate."""

    lr: Number = Field(gt=0.0)
    beta1: Number = Field(0.9, ge=0.0, lt=1.0)
    beta2: Number = Field(0.95, ge=0.0, lt=1.0)
    eps: Number = Field(1e-8, gt=0.0)
    weight_decay: Number = Field(0.0, ge=0.0)
    clip_grad: Number = Field(1.0, gt=0.0, description="global norm")


class Policy(Learner):
    lr: Number = Field(1e-6, gt=0.0, description="report, section 7")
    lora: Lora | None = None


class Value(Learner):
    lr: Number = Field(5e-6, gt=0.0, description="report, section 7")
    init: Literal["reward", "policy"] = Field(
        "reward", description="whose trunk it begins with; without a reward model always the policy's"
    )
    share_trunk: Flag = Field(False, description="a head on the policy instead of a model of its own")
    coefficient: Number = Field(0.1, gt=0.0, description="of its loss, where it shares the policy's trunk")


class Generation(Section):
    responses_per_query: Positive = Field(2, description="report, section 7")
    max_new_tokens: Positive = 512
    temperature: Number = Field(1.0, gt=0.0, le=2.0)
    top_p: Number = Field(0.9, gt=0.0, le=1.0, description="report, section 7")
    vllm_memory: Number = Field(
        0.3, ge=0.0, lt=1.0, description="share of each GPU for vLLM to answer with, where it is installed; 0: never"
    )


class PpoTraining(Section):
    steps: Positive
    value_warmup_steps: Whole = Field(50, ge=0, description="steps in which only the value learns (report, section 7)")
    global_batch_size: Positive = Field(description="responses per step")
    micro_batch_size: Positive = Field(description="responses per forward pass and rank")
    minibatches: Positive = Field(1, description="optimizer steps in an epoch over a step's responses")
    epochs: Positive = Field(1, description="passes over a step's responses")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 where the hardware speeds it up")


class Alarms(Section):
    """When to say that a run goes wrong. An alarm is said once, and logged; it stops nothing."""

    kl: Number | None = Field(None, gt=0.0, description="budget: nats per response from the reference")
    entropy: Share = Field(0.1, description="collapse: less than this share of the first step's")
    divergence: Number = Field(
        0.5, gt=0.0, description="the held-out reward's fall from its best, in deviations, while the reward rises"
    )


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


class PromptData(TrainingData):
    """Rows with a `prompt` (a text or messages), or conversations in any form, whose last answer is left out. Every
    other key of a row is a column for reward functions."""

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
    if not TYPE_CHECKING:  # it is None only until the start is known
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
        if training.value_warmup_steps >= training.steps:
            raise ValueError(
                f"training.value_warmup_steps={training.value_warmup_steps} leaves the policy none of the "
                f"{training.steps} steps (training.steps)"
            )
        if bool(self.losses.pretraining_coefficient) != bool(self.pretraining):
            raise ValueError("losses.pretraining_coefficient and the section pretraining: one needs the other")
        if self.value.share_trunk and self.policy.lora:
            raise ValueError("value.share_trunk=true with policy.lora: adapters and a value on one trunk are not built")
        return self
