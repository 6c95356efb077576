"""`qwen-chat reward`: trains a reward model on pairs of answers, in one stage or two."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qwen_shared.cli import Invocation
from qwen_shared.log import say

if TYPE_CHECKING:
    from qwen_shared.training.plan.formatting import TextPlan


def plan(invocation: Invocation) -> TextPlan:
    from qwen_chat.reward.plan import plan_reward

    return plan_reward(invocation)


def main(invocation: Invocation) -> None:
    say("loading torch and transformers")  # takes ten seconds
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

    from qwen_chat.reward.run import RewardJob
    from qwen_shared.job.frame import run_job

    run_job(invocation, RewardJob(invocation.recipe))
