"""The recipe's sections on the mathematics of PPO. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qwen_shared.recipe.schema import Flag, Number, Section, Share


class Rewards(Section):
    """From a score per response to a reward per token."""

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
    def _check(self) -> Rewards:
        if self.kl_target is not None and not self.kl_coefficient:
            raise ValueError(f"kl_target={self.kl_target:g} steers by factors, which kl_coefficient=0 does not feel")
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
