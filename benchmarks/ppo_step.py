"""Seconds per PPO step by phase, beside a step of trl's RLOOTrainer: same model, prompts, lengths and batch.

    uv run benchmarks/ppo_step.py
    uv run benchmarks/ppo_step.py --from runs/base-pretrain/tiny/export --reward runs/chat-reward/tiny --precision fp32

PPO has a value model and a reward model where RLOO has neither (it scores with a Python function). Both start from a
base model, which ends no answer, so that every response has the same length; both answer the same prompts twice, and
make one optimizer step. They take turns, each in a process of its own, so that a busy minute of the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from report import ROOT, cpu_name, machine, median, save

_START = ROOT / "runs" / "base-pretrain" / "tiny" / "export"
_REWARD = ROOT / "runs" / "chat-reward" / "tiny" / "export"
_PHASES = ("rollout", "score", "learn")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="start", type=Path, default=_START, help="a causal model in Hugging Face form")
    parser.add_argument("--reward", type=Path, default=_REWARD, help="a reward model in Hugging Face form")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--responses", type=int, default=64, help="per step (default: 64)")
    parser.add_argument("--tokens", type=int, default=48, help="of each response (default: 48)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: 3)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of a turn (default: 5)")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them (default: 2)")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False), help="of each (default: cores)")
    parser.add_argument("--out", type=Path, help="the JSON file (default: results/DATE-MACHINE-ppo.json)")
    args = parser.parse_args(argv)
    for path in (args.start, args.reward):
        if not (path / "config.json").is_file():
            print(f"ppo_step: error: {path}: no model there", file=sys.stderr)
            return 2
    sizes = {key: getattr(args, key) for key in ("responses", "tokens", "steps", "warmup", "threads")}
    job = sizes | {"start": str(args.start), "reward": str(args.reward)}
    results = {}
    for precision in args.precision:
        turns: dict[str, list[dict[str, Any]]] = {"ppo": [], "rloo": []}
        for _ in range(args.rounds):
            for name, found in turns.items():
                found.append(_turn(name, job | {"precision": precision}))
        results[precision] = {name: _median(found) for name, found in turns.items()}
        ppo, rloo = results[precision]["ppo"], results[precision]["rloo"]
        results[precision]["ratio"] = ppo["step"] / rloo["step"]
        phases = ", ".join(f"{phase} {ppo[phase]:.2f}" for phase in _PHASES)
        print(f"{precision}: PPO {ppo['step']:.2f} s a step ({phases}), RLOO {rloo['step']:.2f} s", end=": ")
        print(
            f"{ppo['step'] / rloo['step']:.2f} x; {ppo['response_tokens']:.0f} and {rloo['response_tokens']:.0f} tokens"
        )
    print(save({"machine": machine(args.threads), **sizes, "results": results}, "ppo", cpu_name(), args.out))
    return 0


def _turn(name: str, job: dict[str, Any]) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": str(job["threads"]), "TRL_EXPERIMENTAL_SILENCE": "1"}
    command = [sys.executable, __file__, "--contender", name, json.dumps(job)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _median(turns: list[dict[str, Any]]) -> dict[str, float]:
    return {name: median([turn[name] for turn in turns]) for name in turns[0]}


def _prompts(count: int) -> list[list[dict[str, str]]]:
    from qwen_chat import dialogues

    return [dialogues.prompt(dialogue) for dialogue in dialogues.prompts(0, count)]


def ppo(job: dict[str, Any]) -> dict[str, Any]:
    import torch

    from qwen_chat.ppo.engine import frozen, make_engine
    from qwen_chat.ppo.models import PolicyModel, load_policy, value_of
    from qwen_chat.ppo.prompts import Query
    from qwen_chat.ppo.recipe import PpoRecipe
    from qwen_chat.ppo.rollout import Sampler
    from qwen_chat.ppo.scorer import Scorer
    from qwen_chat.ppo.trainer import Models, Trainer
    from qwen_chat.reward.model import load_reward_model
    from qwen_shared.recipe import validate
    from qwen_shared.tokenizer import load_tokenizer

    B = job["responses"]
    recipe = validate(
        PpoRecipe,
        {
            "name": "race",
            "data": {"sources": ["dialogues"], "seq_length": 256},
            "training": {"steps": 1, "value_warmup_steps": 0, "global_batch_size": B, "micro_batch_size": B // 2},
            "generation": {"max_new_tokens": job["tokens"]},
            "evaluation": {"interval": 1},
            "checkpoint": {"interval": 1},
        },
        "race",
    )
    precision, tokenizer = job["precision"], load_tokenizer(job["start"])
    queries = [Query(m, tokenizer.render(m, add_generation_prompt=True)[0], {}) for m in _prompts(16 * B)]
    lm, reward = load_policy(Path(job["start"]), torch.float32), load_reward_model(Path(job["reward"]))
    policy, value = PolicyModel(lm), value_of(reward.module)
    models = Models(
        make_engine(policy, [{"params": list(lm.parameters())}], recipe.policy, precision, None, "policy"),
        make_engine(value, [{"params": list(value.parameters())}], recipe.value, precision, None, "value"),
        frozen(PolicyModel(load_policy(Path(job["start"]), torch.float32)), None),
        Scorer(reward),
        Sampler(lm, tokenizer, rounded=precision == "bf16"),
    )
    trainer = Trainer(recipe, models, queries, 0, 1, precision)
    timed = [trainer.step(step) for step in range(1, job["warmup"] + job["steps"] + 1)][job["warmup"] :]
    phases = {phase: median([metrics[f"time/{phase}"] for metrics in timed]) for phase in _PHASES}
    steps = [sum(metrics[f"time/{phase}"] for phase in _PHASES) for metrics in timed]
    return phases | {"step": median(steps), "response_tokens": median([m["ppo/response_tokens"] for m in timed])}


def rloo(job: dict[str, Any]) -> dict[str, Any]:
    import time

    import datasets
    import torch
    from transformers import AutoTokenizer, TrainerCallback
    from trl import RLOOConfig, RLOOTrainer

    datasets.disable_progress_bars()
    B, times, lengths = job["responses"], [], []

    class Ticks(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            times.append(time.perf_counter())

    def reward(completions, completion_ids=None, **_):
        lengths.extend(map(len, completion_ids))
        return [float(len(str(completion))) for completion in completions]

    with tempfile.TemporaryDirectory() as folder:
        arguments = RLOOConfig(
            output_dir=folder,
            num_generations=2,
            max_completion_length=job["tokens"],
            per_device_train_batch_size=B // 2,
            gradient_accumulation_steps=2,
            num_iterations=1,
            beta=0.04,
            temperature=1.0,
            top_p=0.9,
            learning_rate=1e-6,
            max_steps=job["warmup"] + job["steps"],
            model_init_kwargs={"dtype": "float32"},
            bf16=job["precision"] == "bf16",
            gradient_checkpointing=False,
            use_cpu=not torch.cuda.is_available(),
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = RLOOTrainer(
            job["start"],
            reward,
            arguments,
            train_dataset=datasets.Dataset.from_list([{"prompt": messages} for messages in _prompts(16 * B)]),
            processing_class=AutoTokenizer.from_pretrained(job["start"]),
            callbacks=[Ticks()],
        )
        trainer.train()
    steps = [later - earlier for earlier, later in pairwise(times)][job["warmup"] - 1 :]
    return {"step": median(steps), "response_tokens": sum(lengths) / len(lengths)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contender"]:
        import torch

        settings = json.loads(sys.argv[3])
        torch.set_num_threads(settings["threads"])
        print(json.dumps({"ppo": ppo, "rloo": rloo}[sys.argv[2]](settings)))
    else:
        sys.exit(main())
