"""`qwen-chat ppo`: a chat model learns what a reward model, or reward functions, prefer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from qwen_chat import deepspeed_config
from qwen_chat.hf_run import HfRun, export_hf, hf_run
from qwen_chat.ppo import checkpoint
from qwen_chat.ppo.alarms import AlarmBell
from qwen_chat.ppo.engine import Engine, frozen, make_engine
from qwen_chat.ppo.held_out import HeldOutPrompts, Row, figures, gains, read_answers, write_answers
from qwen_chat.ppo.models import PolicyModel, ValueModel, load_policy, value_of, without_adapters
from qwen_chat.ppo.plan import KIND, check
from qwen_chat.ppo.prompts import Query, load_queries
from qwen_chat.ppo.rollout import Sampler, VllmSampler
from qwen_chat.ppo.scorer import Scorer, find_function
from qwen_chat.ppo.trainer import Models, Trainer
from qwen_chat.reward.model import RewardModel, load_reward_model
from qwen_shared.backend import device, peak_memory_bytes, resolve_precision
from qwen_shared.cli import Invocation
from qwen_shared.convert.hf_files import weights_hash
from qwen_shared.errors import Stopped, UserError
from qwen_shared.generation import vllm_backend
from qwen_shared.generation.sampling import Sampling
from qwen_shared.job.signals import StopRequest
from qwen_shared.log import say
from qwen_shared.run import Parent
from qwen_shared.run.integrity import newest_whole_checkpoint
from qwen_shared.run.lineage import describe_parent
from qwen_shared.run.manifest import MANIFEST
from qwen_shared.run.paths import list_checkpoints
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tracking import data_progress

_BEFORE, _AFTER = "evaluation-before/answers.jsonl", "evaluation/answers.jsonl"


def main(invocation: Invocation) -> None:
    reward = check(invocation.recipe, invocation.layout.world_size, invocation.parent)
    say("loading torch and transformers")  # the next ten seconds would be silent
    with hf_run(invocation, KIND) as run:
        _Job(run, reward).run()


class _Job:
    """A run of PPO, put together; then `run` does what is left of it."""

    def __init__(self, run: HfRun, reward: Path | None):
        self._hf, self._recipe = run, run.recipe
        recipe = self._recipe
        self._tokenizer = load_tokenizer(recipe.tokenizer)
        self._precision = resolve_precision(recipe.training.precision)
        train, held_out = load_queries(
            recipe.data, self._tokenizer, recipe.data.seq_length - recipe.generation.max_new_tokens, recipe.seed
        )
        if run.manifest is not None:
            run.manifest.precision = self._precision
            _keep_data(run, train, held_out, reward)
        say(f"run    {run.run_dir}")
        say(f"data   {len(train):,} prompts; {len(held_out):,} held out")
        torch.manual_seed(recipe.seed)
        reward_model = self._reward_model(reward)
        models = self._models(reward_model)
        self._engines = [engine for engine in (models.policy, models.value) if engine is not None]
        pretraining = self._pretraining() if recipe.pretraining else None
        self._trainer = Trainer(recipe, models, train, run.rank, run.world_size, self._precision, pretraining)
        watched = recipe.reward.held_out
        names = dict.fromkeys([*([watched] if watched else []), *recipe.evaluation.functions])
        self._held_out = HeldOutPrompts(
            _spread(held_out, recipe.evaluation.prompts),
            models.scorer,
            {name: find_function(name, "evaluation.functions") for name in names},
            Sampling(recipe.generation.max_new_tokens, max_length=recipe.data.seq_length),
            run.rank,
            run.world_size,
        )
        self._bell = AlarmBell(recipe.alarms, watched)

    # ---- the models

    def _reward_model(self, directory: Path | None) -> RewardModel | None:
        if directory is None:
            return None
        model = load_reward_model(directory)
        if load_tokenizer(str(directory)).fingerprint != self._tokenizer.fingerprint:
            raise UserError(f"reward.model={directory}: another tokenizer than the policy's; it reads ids")
        return model

    def _models(self, reward: RewardModel | None) -> Models:
        recipe, start = self._recipe, self._hf.start
        config = self._deepspeed()
        lm = load_policy(start, torch.float32, recipe.policy.lora)
        policy = PolicyModel(lm, value_head=recipe.value.share_trunk).to(device())
        groups = [{"params": [p for p in lm.parameters() if p.requires_grad], "lr": recipe.policy.lr}]
        if recipe.value.share_trunk:
            groups.append({"params": list(policy.head.parameters()), "lr": recipe.value.lr})
        policy_engine = make_engine(policy, groups, recipe.policy, self._precision, config, "policy")
        if recipe.policy.lora:
            reference = self._under_adapters(policy_engine, lm)
        else:
            reference = frozen(PolicyModel(load_policy(start, torch.float32)), config)
        functions = [(f.name, f.weight, find_function(f.name, "reward.functions")) for f in recipe.reward.functions]
        watched = recipe.reward.held_out
        held_out = (watched, find_function(watched, "reward.held_out")) if watched else None
        return Models(
            policy_engine,
            None if recipe.value.share_trunk else self._value(reward, config),
            reference,
            Scorer(reward, functions, held_out),
            self._sampler(lm, config is None),
        )

    def _sampler(self, lm: torch.nn.Module, alone: bool) -> Sampler | VllmSampler:
        plain = self._recipe.policy.lora is None  # weights under adapters are not the policy's
        share = self._recipe.generation.vllm_memory
        if plain and share and vllm_backend.available():
            return VllmSampler(lm, self._tokenizer, self._hf.start, share)
        return Sampler(lm, self._tokenizer, rounded=plain and alone and self._precision == "bf16")

    def _value(self, reward: RewardModel | None, config: Callable[..., dict] | None) -> Engine:
        from transformers import AutoModel

        settings = self._recipe.value
        if settings.init == "reward" and reward is not None:
            value = value_of(reward.module)
        else:
            value = ValueModel(
                AutoModel.from_pretrained(
                    self._hf.start, dtype=torch.float32, use_safetensors=True, local_files_only=True
                )
            )
        groups = [{"params": list(value.parameters()), "lr": settings.lr}]
        return make_engine(value.to(device()), groups, settings, self._precision, config, "value")

    @staticmethod
    def _under_adapters(policy: Engine, lm: torch.nn.Module) -> Callable[..., Tensor]:
        def reference(*inputs: Tensor) -> Tensor:
            with without_adapters(lm):
                return policy(*inputs)

        return reference

    def _deepspeed(self) -> Callable[..., dict] | None:
        """How DeepSpeed's settings are made; None where torch alone will do."""
        recipe = self._recipe
        if recipe.deepspeed is None and self._hf.world_size == 1:
            return None
        name = recipe.deepspeed or "zero0"
        if name.startswith("zero") and self._hf.world_size == 1 and not torch.cuda.is_available():
            return None  # one process has nobody to divide with

        def config(clip_grad: float = 0.0) -> dict[str, Any]:
            return deepspeed_config.load_config(name, recipe.training.micro_batch_size, 1, clip_grad, self._precision)

        return config

    def _pretraining(self) -> Callable[[int], tuple[Tensor, Tensor, Tensor]]:
        """This rank's tokens, labels and loss mask [B, S] of the n-th optimizer step (from 0)."""
        from qwen_shared.data import collate, prepare, training_blend
        from qwen_shared.run.paths import cache_dir

        settings, run = self._recipe.pretraining, self._hf
        with data_progress() as progress:
            prepared = prepare(settings.data, self._recipe.tokenizer, cache_dir(), progress if run.rank == 0 else None)
        blend = training_blend(prepared, settings.data.seq_length, self._recipe.seed)
        share = settings.global_batch_size // run.world_size

        def samples(number: int) -> tuple[Tensor, Tensor, Tensor]:
            first = number * settings.global_batch_size + run.rank * share
            rows = collate([blend.sample(k) for k in range(first, first + share)], self._tokenizer.eod_id)
            tokens, labels, mask = (torch.from_numpy(rows[name]) for name in ("tokens", "labels", "loss_mask"))
            return tokens.to(device()), labels.to(device()), mask.bool().to(device())

        return samples

    # ---- the run

    def run(self) -> None:
        recipe, run, trainer = self._recipe, self._hf, self._trainer
        states = {"normaliser": trainer.normaliser, "kl": trainer.kl, "alarms": self._bell}
        checkpoints = run.run_dir / "checkpoints"
        done = newest_whole_checkpoint(checkpoints)
        if done:
            checkpoint.load(checkpoints, done, self._engines, states)
            say(f"going on after step {done}")
        tracker = run.track(recipe.training.steps, recipe.training.global_batch_size, done)
        before = read_answers(run.run_dir / _BEFORE) if done else None
        if before is None:
            say(f"asking {len(self._held_out.queries):,} held-out prompts before the first step")
            before = self._answers(_BEFORE)
            self._bell.held_out(figures(before, self._held_out.measures))
        # Where only the export is left, the answers of the last step are there.
        rows = (read_answers(run.run_dir / _AFTER) if done == recipe.training.steps else None) or before
        with StopRequest() as stop, tracker.training():
            for step in range(done + 1, recipe.training.steps + 1):
                metrics = trainer.step(step)
                if not all(math.isfinite(metrics[f"ppo/{name}"]) for name in ("policy_loss", "value_loss", "reward")):
                    raise FloatingPointError(f"step {step}: a loss or a reward is no number any more")
                last, stopping = step == recipe.training.steps, stop.agreed()
                alarms = self._bell.step(metrics)
                if step % recipe.evaluation.interval == 0 or last:
                    rows = self._answers(_AFTER)
                    found = figures(rows, self._held_out.measures)
                    metrics |= found
                    alarms += self._bell.held_out(found)
                tracker.log(step, metrics)
                if step % recipe.evaluation.interval == 0 or last:
                    tracker.sample_table(step, _shown(before, rows, recipe.evaluation.shown))
                for alarm in alarms:
                    say(f"step {step}: {alarm}")
                if step % recipe.checkpoint.interval == 0 or last or stopping:
                    checkpoint.save(checkpoints, step, self._engines, states, recipe.checkpoint, run.rank)
                if stopping and not last:
                    raise Stopped(f"stopped by {stop.name} after step {step}; the same command goes on")
        self._finish(before, rows)

    def _answers(self, name: str) -> list[Row]:
        models = self._trainer.models
        rows = self._held_out.answers(models.policy, models.sampler)
        if self._hf.rank == 0:
            write_answers(self._hf.run_dir / name, rows)
        return rows

    def _finish(self, before: list[Row], after: list[Row]) -> None:
        run, measures = self._hf, self._held_out.measures
        policy = self._trainer.models.policy
        with policy.whole():
            if run.rank == 0:
                lm = policy.module.lm
                lm = lm.merge_and_unload() if self._recipe.policy.lora else lm
                export_hf(lm, self._tokenizer, run.run_dir, self._recipe.training.steps)
        first, now = figures(before, measures), figures(after, measures)
        results = {f"before/{name}": value for name, value in first.items()} | now | gains(before, after, measures)
        results |= {"seconds": run.tracker.seconds, "peak_memory_bytes": peak_memory_bytes()}
        run.keep_results(results)
        run.tracker.table("eval/answers", _shown(before, after, len(after)))
        if run.rank == 0:
            Console().print(_table(results, measures))


def _judge(directory: Path) -> Parent:
    """Who the reward model in `directory` is: a run's export, or a model from elsewhere."""
    directory = directory.resolve()
    made = directory.parent if (directory.parent / MANIFEST).is_file() else directory
    saved = list_checkpoints(made / "checkpoints")
    return describe_parent(str(made), saved[-1] if saved else None, weights_hash(directory))


def _keep_data(run: HfRun, train: list[Query], held_out: list[Query], reward: Path | None) -> None:
    """What the run learns from, into its manifest. Raises UserError where a run that has begun would go on with
    something else."""
    digest = hashlib.sha256(json.dumps([[q.ids for q in queries] for queries in (train, held_out)]).encode())
    data = [{"name": "prompts", "train": len(train), "held_out": len(held_out), "sha256": digest.hexdigest()}]
    judge = None if reward is None else _judge(reward)
    manifest, changed = run.manifest, None
    if list_checkpoints(run.run_dir / "checkpoints"):
        if manifest.data not in ([], data):
            changed = "data.sources"
        elif judge and manifest.reward_model and manifest.reward_model.hash != judge.hash:
            changed = "reward.model"
    if changed:
        raise UserError(f"{changed} changed since {run.run_dir} began: put back what was, or take another --run-dir")
    manifest.data, manifest.reward_model = data, judge
    manifest.write(run.run_dir)


def _spread(queries: list[Query], count: int) -> list[Query]:
    """At most `count`, from all over: kinds of prompts may stand together."""
    count = min(count, len(queries))
    return [queries[i * len(queries) // count] for i in range(count)]


def _shown(before: list[Row], now: list[Row], count: int) -> list[dict[str, Any]]:
    """Some answers beside those of before, with their rewards."""
    every = max(1, len(now) // count)
    return [
        {
            "prompt": new["prompt"][-1]["content"],
            "before": old["text"],
            "reward_before": old["reward"],
            "text": new["text"],
            "reward": new["reward"],
        }
        for old, new in list(zip(before, now, strict=True))[::every][:count]
    ]


def _table(results: dict[str, float], measures: list[str]):
    from qwen_shared.evaluation.results import cells_table

    def cells(name: str) -> dict[str, str]:
        shown = {"before": f"{results[f'before/val/{name}']:.3f}", "after": f"{results[f'val/{name}']:.3f}"}
        if f"gain/{name}" in results:
            shown["gain"] = f"{results[f'gain/{name}']:+.3f}"
        if f"gain/{name}_low" in results:
            shown["95 %"] = f"{results[f'gain/{name}_low']:+.3f} … {results[f'gain/{name}_high']:+.3f}"
        if f"gain_sd/{name}" in results:
            shown["in sd"] = f"{results[f'gain_sd/{name}']:+.2f}"
        return shown

    return cells_table({name: cells(name) for name in [*measures, "ended", "tokens"]}, "held-out prompts")
