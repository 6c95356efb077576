"""`qwen-chat ppo`: trains a chat model on a reward model or reward functions."""

from __future__ import annotations

from qwen_chat.ppo.plan import check
from qwen_shared.cli import Invocation
from qwen_shared.log import say


def main(invocation: Invocation) -> None:
    reward = check(invocation.recipe, invocation.layout.world_size, invocation.parent)
    say("loading torch and transformers")  # takes ten seconds

    from qwen_chat.ppo.run import PpoJob
    from qwen_shared.job.frame import run_job

    run_job(invocation, PpoJob(invocation.recipe, reward))
