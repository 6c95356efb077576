"""Two ranks train under each ZeRO stage with the same settings: `zero_stages.py FOLDER`, which gets the losses."""

import json
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # tests/

STAGES = (0, 2, 3)
WATCHED = ("ppo/policy_loss", "ppo/value_loss", "ppo/kl", "ppo/reward", "ppo/approximate_kl", "ppo/entropy")


def settings():
    return {
        "training__epochs": 2,
        "training__minibatches": 2,
        "training__value_warmup_steps": 1,
        "training__micro_batch_size": 1,
    }


def losses(trainer, steps: int = 3) -> list[dict[str, float]]:
    return [{name: metrics[name] for name in WATCHED} for metrics in map(trainer.step, range(1, steps + 1))]


def main(folder: Path) -> None:
    os.environ["DS_ACCELERATOR"] = "cpu"
    from chat.ppo.small import make_trainer

    from qwen_chat import deepspeed_config
    from qwen_shared.backend import join_processes

    os.environ["MASTER_PORT"] = os.environ["TEST_PORTS"]
    rank, world_size = join_processes()
    found = {}
    for stage in STAGES:

        def config(clip_grad: float = 0.0, stage: int = stage) -> dict:
            return deepspeed_config.load_config(f"zero{stage}", 1, 1, clip_grad, "fp32")

        trainer = make_trainer(config=config, rank=rank, world_size=world_size, **settings())
        found[stage] = losses(trainer)
        policy = trainer.models.policy
        policy.save(folder / f"zero{stage}")
        torch.distributed.barrier()
        policy.load(folder / f"zero{stage}")  # as data, and nothing else
    if rank == 0:
        (folder / "losses.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
