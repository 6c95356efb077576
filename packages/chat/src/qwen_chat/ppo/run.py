"""A PPO run: prompts, four models, steps, and the gain on held-out prompts."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from rich.console import Console
from torch import Tensor
from transformers import PreTrainedModel

from qwen_chat import deepspeed_config
from qwen_chat.hf_export import export_hf
from qwen_chat.ppo import checkpoint
from qwen_chat.ppo.alarms import AlarmBell
from qwen_chat.ppo.checkpoint import Stateful
from qwen_chat.ppo.engine import Engine, frozen, make_engine
from qwen_chat.ppo.held_out import HeldOutPrompts, Row, gains, read_answers, write_answers
from qwen_chat.ppo.held_out import metrics as held_out_metrics
from qwen_chat.ppo.models import PolicyModel, ValueModel, load_policy, value_of, without_adapters
from qwen_chat.ppo.prompts import Query, load_queries
from qwen_chat.ppo.recipe import PpoRecipe, Pretraining
from qwen_chat.ppo.rollout import Sampler, VllmSampler
from qwen_chat.ppo.scorer import Scorer, find_function
from qwen_chat.ppo.trainer import Models, Trainer
from qwen_chat.reward.model import RewardModel, load_reward_model
from qwen_shared import faults
from qwen_shared.backend import Processes, device, peak_memory_bytes
from qwen_shared.convert.hf_files import weights_hash
from qwen_shared.data import PreparedSource, collate, prepare, training_blend
from qwen_shared.errors import UserError
from qwen_shared.generation import vllm_backend
from qwen_shared.generation.sampling import Sampling
from qwen_shared.job.frame import Run
from qwen_shared.job.signals import StopRequest
from qwen_shared.log import say
from qwen_shared.run import Parent
from qwen_shared.run.lineage import describe_parent
from qwen_shared.run.manifest import MANIFEST
from qwen_shared.run.paths import cache_dir, list_checkpoints
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tracking import data_progress

_BEFORE, _AFTER = "evaluation-before/answers.jsonl", "evaluation/answers.jsonl"


@dataclass(frozen=True)
class PpoData:
    train: list[Query]
    held_out: list[Query]
    pretraining: list[PreparedSource]  # text for the pretraining gradient


@dataclass(frozen=True)
class PpoJob:
    recipe: PpoRecipe
    reward: Path | None  # the reward model's directory
    needs_parent = True  # the reference

    def prepare(self, run: Run) -> PpoData:
        recipe, text = self.recipe, []
        longest = recipe.data.seq_length - recipe.generation.max_new_tokens
        train, held_out = load_queries(recipe.data, load_tokenizer(recipe.tokenizer), longest, recipe.seed)
        if recipe.pretraining:
            with data_progress() as progress:
                text = prepare(
                    recipe.pretraining.data, recipe.tokenizer, cache_dir(), progress if run.rank == 0 else None
                )
        if run.manifest is not None and self.reward is not None:
            reward, before = _describe_reward(self.reward), run.manifest.reward_model
            if list_checkpoints(run.checkpoints) and before and before.hash != reward.hash:
                raise UserError(
                    f"{run.run_dir}: reward.model changed since this run began: put back what was, or start a new run "
                    "with --run-dir"
                )
            run.manifest.reward_model = reward
        return PpoData(train, held_out, text)

    def data(self, prepared: PpoData) -> list[dict[str, Any]]:
        ids = [[q.ids for q in queries] for queries in (prepared.train, prepared.held_out)]
        digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
        sizes = {"train": len(prepared.train), "held_out": len(prepared.held_out)}
        text = [{"name": source.name, **source.meta} for source in prepared.pretraining]
        return [{"name": "prompts", **sizes, "sha256": digest}, *text]

    def join(self, timeout: datetime.timedelta) -> Processes:
        return deepspeed_config.join_ranks(timeout)

    def train(self, run: Run, prepared: PpoData) -> None:
        _PpoRun(run, prepared, self.reward).train()


class _PpoRun:
    def __init__(self, run: Run[PpoRecipe], data: PpoData, reward: Path | None):
        self._run, self._recipe = run, run.recipe
        recipe = self._recipe
        assert run.parent_dir is not None
        self._parent_dir = run.parent_dir
        self._tokenizer = load_tokenizer(recipe.tokenizer)
        if run.rank == 0:
            run.say_start(f"data   {len(data.train):,} prompts; {len(data.held_out):,} held out")
        torch.manual_seed(recipe.seed)
        models = self._models(self._reward_model(reward))
        self._engines = [engine for engine in (models.policy, models.value) if engine is not None]
        settings = recipe.pretraining
        pretraining = self._pretraining(settings, data.pretraining) if settings else None
        self._trainer = Trainer(recipe, models, data.train, run.rank, run.world_size, run.precision, pretraining)
        held_out_reward = recipe.reward.held_out
        names = dict.fromkeys([*([held_out_reward] if held_out_reward else []), *recipe.evaluation.functions])
        self._held_out = HeldOutPrompts(
            _spread(data.held_out, recipe.evaluation.prompts),
            models.scorer,
            {name: find_function(name, "evaluation.functions") for name in names},
            Sampling(recipe.generation.max_new_tokens, max_length=recipe.data.seq_length),
            run.rank,
            run.world_size,
        )
        self._bell = AlarmBell(recipe.alarms, held_out_reward)

    def train(self) -> None:
        recipe, run, trainer, done = self._recipe, self._run, self._trainer, self._run.resume_step
        states: dict[str, Stateful] = {"normaliser": trainer.normaliser, "kl": trainer.kl, "alarms": self._bell}
        if done:
            checkpoint.load(run.checkpoints, done, self._engines, states, run.world_size)
        tracker = run.track(recipe.training.steps, recipe.training.global_batch_size, None)
        before = read_answers(run.run_dir / _BEFORE) if done else None
        if before is None:
            say(f"asking {len(self._held_out.queries):,} held-out prompts before the first step")
            before = self._answers(_BEFORE)
            self._bell.held_out(held_out_metrics(before, self._held_out.measures))
        # If only the export is left, these are the answers of the last step.
        rows = (read_answers(run.run_dir / _AFTER) if done == recipe.training.steps else None) or before
        with run.training() as alive, StopRequest() as stop:
            trainer.alive = trainer.models.sampler.alive = alive
            for step in range(done + 1, recipe.training.steps + 1):
                alive()
                faults.reach("training", step)
                metrics = trainer.step(step)
                if not all(math.isfinite(metrics[f"ppo/{name}"]) for name in ("policy_loss", "value_loss", "reward")):
                    raise FloatingPointError(f"step {step}: a loss or a reward is not finite")
                last, stopping = step == recipe.training.steps, stop.agreed()
                alarms = self._bell.step(metrics)
                if step % recipe.evaluation.interval == 0 or last:
                    rows = self._answers(_AFTER)
                    found = held_out_metrics(rows, self._held_out.measures)
                    metrics |= found
                    alarms += self._bell.held_out(found)
                tracker.log(step, metrics)
                if step % recipe.evaluation.interval == 0 or last:
                    tracker.sample_table(step, _shown(before, rows, recipe.evaluation.shown))
                for alarm in alarms:
                    say(f"step {step}: {alarm}")
                if step % recipe.checkpoint.interval == 0 or last or stopping:
                    checkpoint.save(run, step, self._engines, states)
                if stopping and not last:
                    raise stop.stopped(step)
        self._finish(before, rows)

    def _answers(self, name: str) -> list[Row]:
        models = self._trainer.models
        rows = self._held_out.answers(models.policy, models.sampler)
        if self._run.rank == 0:
            write_answers(self._run.run_dir / name, rows)
        return rows

    def _finish(self, before: list[Row], after: list[Row]) -> None:
        run, measures = self._run, self._held_out.measures
        policy = self._trainer.models.policy
        with policy.whole():
            if run.rank == 0:
                lm = policy.module.get_submodule("lm")
                merged = lm.merge_and_unload() if isinstance(lm, PeftModel) else lm
                assert isinstance(merged, PreTrainedModel)
                export_hf(merged, self._tokenizer, run.run_dir, self._recipe.training.steps)
        first, now = held_out_metrics(before, measures), held_out_metrics(after, measures)
        results = {f"before/{name}": value for name, value in first.items()} | now | gains(before, after, measures)
        results |= {"seconds": run.tracker.seconds, "peak_memory_bytes": peak_memory_bytes()}
        run.keep_results(results)
        run.tracker.table("eval/answers", _shown(before, after, len(after)))
        run.tracker.model(run.run_dir / "export", final=True)
        if run.rank == 0:
            Console().print(_table(results, measures))

    def _reward_model(self, directory: Path | None) -> RewardModel | None:
        if directory is None:
            return None
        model = load_reward_model(directory)
        if load_tokenizer(str(directory)).fingerprint != self._tokenizer.fingerprint:
            raise UserError(f"reward.model={directory}: its tokenizer is not the policy's")
        return model

    def _models(self, reward: RewardModel | None) -> Models:
        recipe, start = self._recipe, self._parent_dir
        config = self._deepspeed()
        lm = load_policy(start, torch.float32, recipe.policy.lora)
        policy = PolicyModel(lm, value_head=recipe.value.share_trunk).to(device())
        groups = [{"params": [p for p in lm.parameters() if p.requires_grad], "lr": recipe.policy.lr}]
        if policy.head is not None:
            groups.append({"params": list(policy.head.parameters()), "lr": recipe.value.lr})
        policy_engine = make_engine(policy, groups, recipe.policy, self._run.precision, config, "policy")
        if isinstance(lm, PeftModel):
            reference = self._under_adapters(policy_engine, lm)
        else:
            reference = frozen(PolicyModel(load_policy(start, torch.float32)), config)
        functions = [(f.name, f.weight, find_function(f.name, "reward.functions")) for f in recipe.reward.functions]
        held_out_reward = recipe.reward.held_out
        held_out = (held_out_reward, find_function(held_out_reward, "reward.held_out")) if held_out_reward else None
        return Models(
            policy_engine,
            None if recipe.value.share_trunk else self._value(reward, config),
            reference,
            Scorer(reward, functions, held_out),
            self._sampler(lm, config is None),
        )

    def _sampler(self, lm: torch.nn.Module, alone: bool) -> Sampler | VllmSampler:
        plain = self._recipe.policy.lora is None  # with adapters, the weights alone are not the policy
        share = self._recipe.generation.vllm_memory
        if plain and share and vllm_backend.available():
            return VllmSampler(lm, self._tokenizer, self._parent_dir, share)
        return Sampler(lm, self._tokenizer, rounded=plain and alone and self._run.precision == "bf16")

    def _value(self, reward: RewardModel | None, config: Callable[..., dict] | None) -> Engine:
        from transformers import AutoModel

        settings = self._recipe.value
        if settings.init == "reward" and reward is not None:
            value = value_of(reward.module)
        else:
            value = ValueModel(
                AutoModel.from_pretrained(
                    self._parent_dir, dtype=torch.float32, use_safetensors=True, local_files_only=True
                )
            )
        groups = [{"params": list(value.parameters()), "lr": settings.lr}]
        return make_engine(value.to(device()), groups, settings, self._run.precision, config, "value")

    @staticmethod
    def _under_adapters(policy: Engine, lm: PeftModel) -> Callable[..., Tensor]:
        def reference(*inputs: Tensor) -> Tensor:
            with without_adapters(lm):
                return policy(*inputs)

        return reference

    def _deepspeed(self) -> Callable[..., dict] | None:
        """Makes DeepSpeed's settings; None if torch alone will do."""
        recipe = self._recipe
        if recipe.deepspeed is None and self._run.world_size == 1:
            return None
        name, precision = recipe.deepspeed or "zero0", self._run.precision
        if name.startswith("zero") and self._run.world_size == 1 and not torch.cuda.is_available():
            return None  # nothing to shard

        def config(clip_grad: float = 0.0) -> dict[str, Any]:
            return deepspeed_config.load_config(name, recipe.training.micro_batch_size, 1, clip_grad, precision)

        return config

    def _pretraining(
        self, settings: Pretraining, sources: list[PreparedSource]
    ) -> Callable[[int], tuple[Tensor, Tensor, Tensor]]:
        """This rank's tokens, labels and loss mask [B, S] of the n-th optimizer step (from 0)."""
        blend = training_blend(sources, settings.data.seq_length, self._recipe.seed)
        share = settings.global_batch_size // self._run.world_size

        def samples(number: int) -> tuple[Tensor, Tensor, Tensor]:
            first = number * settings.global_batch_size + self._run.rank * share
            rows = collate([blend.sample(k) for k in range(first, first + share)], self._tokenizer.eod_id)
            tokens, labels, mask = (torch.from_numpy(rows[name]) for name in ("tokens", "labels", "loss_mask"))
            return tokens.to(device()), labels.to(device()), mask.bool().to(device())

        return samples


def _describe_reward(directory: Path) -> Parent:
    """The reward model in `directory`: a run's export, or a model that is not a run."""
    directory = directory.resolve()
    made = directory.parent if (directory.parent / MANIFEST).is_file() else directory
    saved = list_checkpoints(made / "checkpoints")
    return describe_parent(str(made), saved[-1] if saved else None, weights_hash(directory))


def _spread(queries: list[Query], count: int) -> list[Query]:
    """At most `count`, evenly spaced: kinds of prompts may be grouped."""
    count = min(count, len(queries))
    return [queries[i * len(queries) // count] for i in range(count)]


def _shown(before: list[Row], now: list[Row], count: int) -> list[dict[str, Any]]:
    """Some answers beside those before training, with rewards."""
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
