"""A run of a reward model: stages on trl, then the export and the report on held-out pairs."""

from __future__ import annotations

import datetime
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import datasets
import torch
import transformers
from datasets import Dataset
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel

from qwen_chat.deepspeed_config import check_compiler, check_world_size, join_ranks, know_states, load_config
from qwen_chat.hf_export import export_hf
from qwen_chat.reward.model import RewardModel, length_batches, load_module, read_at_end
from qwen_chat.reward.padding import PaddedBy, padding_id
from qwen_chat.reward.pair_files import PairFiles
from qwen_chat.reward.pairs import StagePairs, load_pairs
from qwen_chat.reward.recipe import STAGES, RewardRecipe
from qwen_chat.reward.report import pair_metrics, report
from qwen_chat.reward.stages import Stage, stages_of, training_order
from qwen_chat.reward.trainer import PROGRESS, StepCallback, arguments_of, make_trainer
from qwen_shared.backend import Processes, device, peak_memory_bytes
from qwen_shared.job.frame import Run
from qwen_shared.job.signals import StopRequest
from qwen_shared.log import say
from qwen_shared.run.integrity import data_alone
from qwen_shared.run.paths import checkpoint_path, list_checkpoints
from qwen_shared.run.saving import refusing_disk
from qwen_shared.tokenizer import load_tokenizer

_WRITING = ".writing"  # for checkpoints of transformers


@dataclass(frozen=True)
class RewardJob:
    recipe: RewardRecipe
    needs_parent = False

    def prepare(self, run: Run) -> PairFiles:
        _quiet()
        exist = PairFiles.exist(run.run_dir)
        if run.rank == 0 and not (exist and list_checkpoints(run.checkpoints)):
            return PairFiles.write(run.run_dir, self._load_pairs())
        return PairFiles(run.run_dir)

    def _load_pairs(self) -> Iterator[tuple[str, StagePairs]]:
        recipe, tokenizer = self.recipe, load_tokenizer(self.recipe.tokenizer)
        for stage in STAGES[recipe.stage]:
            yield stage, load_pairs(recipe.data.of(stage), recipe.pairs, recipe.seed, tokenizer, stage)

    def data(self, prepared: PairFiles) -> list[dict[str, Any]]:
        return [{"name": stage, **about} for stage, about in prepared.counts.items()]

    def join(self, timeout: datetime.timedelta) -> Processes:
        return join_ranks(timeout)

    def train(self, run: Run, prepared: PairFiles) -> None:
        recipe, pairs = self.recipe, prepared
        stages = stages_of(recipe, {stage: about["train"] for stage, about in pairs.counts.items()})
        deepspeed = self._deepspeed(run)
        run.track(stages[-1].last, recipe.training.global_batch_size, None)
        if run.rank == 0:
            run.say_start()
        done = run.resume_step
        with run.training() as alive, StopRequest() as stop:
            for stage in stages:
                if done < stage.last:
                    done = self._train_stage(run, stage, pairs, done, deepspeed, stop, alive)
        self._finish(run, stages, pairs)

    def _deepspeed(self, run: Run) -> dict | None:
        recipe = self.recipe
        if recipe.deepspeed is None:
            return None
        if not torch.cuda.is_available():
            if run.world_size == 1:
                say(f"deepspeed={recipe.deepspeed}: ignored: one process on a CPU has nothing to shard")
                return None
            check_compiler()
        micro = recipe.training.micro_batch_size
        accumulation = recipe.training.global_batch_size // (micro * run.world_size)
        return load_config(recipe.deepspeed, micro, accumulation, recipe.optimizer.clip_grad, run.precision)

    def _train_stage(
        self,
        run: Run,
        stage: Stage,
        files: PairFiles,
        done: int,
        deepspeed: dict | None,
        stop: StopRequest,
        alive: Callable[[], None],
    ) -> int:
        """Trains from step `done`; returns the last step of the stage. Raises Stopped after a signal."""
        recipe, training, pairs = self.recipe, self.recipe.training, files.train(stage.name)
        tokenizer = load_tokenizer(recipe.tokenizer)
        alive()
        writing = run.checkpoints / _WRITING
        if run.rank == 0:
            shutil.rmtree(writing, ignore_errors=True)
            writing.mkdir(parents=True)
        checkpoint = checkpoint_path(run.checkpoints, done) if done else None
        resumed = checkpoint if stage.first < done < stage.last else None
        if resumed and deepspeed:
            check_world_size(resumed, json.loads((resumed / PROGRESS).read_text())["world_size"], run.world_size)
            know_states()
        dtype = torch.bfloat16 if deepspeed and run.precision == "bf16" else torch.float32
        weights = checkpoint or run.parent_dir
        assert weights is not None
        module = load_module(weights, dtype, recipe.seed, tokenizer.vocab_size)
        pad_id = padding_id(tokenizer, pairs[0]["chosen_ids"][-1])
        read_at_end(module)

        shown = AutoTokenizer.from_pretrained(recipe.tokenizer, local_files_only=True, trust_remote_code=False)
        shown.pad_token = shown.convert_ids_to_tokens(pad_id)
        lengths = [max(len(a), len(b)) for a, b in zip(pairs["chosen_ids"], pairs["rejected_ids"], strict=True)]
        order = training_order(lengths, training.global_batch_size, recipe.seed, 0.0, stage.steps)
        held_out = files.held_out(stage.name, recipe.evaluation.max_pairs)
        callback = StepCallback(
            run, recipe, stage, stop, lambda: self._validate(run, module, pad_id, held_out, alive), alive
        )
        if run.rank == 0 and not done:
            count = sum(p.numel() for p in module.parameters())
            processes = "1 process" if run.world_size == 1 else f"{run.world_size} processes"
            say(f"model  {count:,} parameters, {run.precision}, {processes} on {module.device.type}")
        ordered = pairs.select_columns(["chosen_ids", "rejected_ids"]).select(order)
        arguments = arguments_of(recipe, stage, writing, run.precision, run.world_size, deepspeed)
        trainer = make_trainer(recipe, stage, module, arguments, ordered, shown, callback)
        with refusing_disk(run.checkpoints, writing), data_alone(checkpoint or writing):
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        trainer.accelerator.free_memory()
        done = list_checkpoints(run.checkpoints)[-1]
        if callback.stopped:
            raise stop.stopped(done)
        return done

    def _validate(
        self, run: Run, module: PreTrainedModel, pad_id: int, pairs: Dataset, alive: Callable[[], None]
    ) -> dict[str, float]:
        """A collective call: under ZeRO 3 no rank has the whole model."""
        if not len(pairs):
            return {}
        before = module.training
        with torch.autocast(next(module.parameters()).device.type, torch.bfloat16, enabled=run.precision == "bf16"):
            rewards = self._score(run, RewardModel(module, pad_id), pairs, alive)
        module.train(before)
        metrics = pair_metrics(*rewards)
        return {name: metrics[name] for name in ("accuracy", "loss", "margin")}

    def _score(
        self, run: Run, model: RewardModel, pairs: Dataset, alive: Callable[[], None] = lambda: None
    ) -> tuple[list[float], list[float]]:
        """Rewards of chosen and of rejected conversations, on every rank; each scores a part."""
        rows = [*pairs["chosen_ids"], *pairs["rejected_ids"]]
        budget = self.recipe.evaluation.batch_tokens
        batches = length_batches([len(row) for row in rows], budget)
        found: dict[int, float] = {}
        # ZeRO 3 needs the same number of forward passes on every rank; some may be repeats.
        for k in range(-(-len(batches) // run.world_size)):
            alive()
            batch = batches[min(k * run.world_size + run.rank, len(batches) - 1)]
            found |= dict(zip(batch, model.score([rows[i] for i in batch], budget), strict=True))
        if run.world_size > 1:
            parts: list = [None] * run.world_size
            torch.distributed.all_gather_object(parts, found)
            found = {i: reward for part in parts for i, reward in part.items()}
        rewards = [found[i] for i in range(len(rows))]
        return rewards[: len(pairs)], rewards[len(pairs) :]

    def _finish(self, run: Run, stages: list[Stage], files: PairFiles) -> None:
        """Scores all held-out pairs with the last checkpoint, exports it, reports."""
        tokenizer, last = load_tokenizer(self.recipe.tokenizer), stages[-1]
        pad_id = padding_id(tokenizer, files.train(last.name)[0]["chosen_ids"][-1])
        dtype = None if torch.cuda.is_available() else torch.float32
        module = load_module(checkpoint_path(run.checkpoints, last.last), dtype).eval()
        nn.Module.to(module, device())
        module.config.get_text_config().pad_token_id = pad_id
        if run.rank == 0:
            export_hf(module, PaddedBy(tokenizer, pad_id), run.run_dir, last.last)
        model = RewardModel(read_at_end(module), pad_id)
        results: dict[str, float] = {}
        for stage in stages:
            pairs = files.held_out(stage.name)
            if not len(pairs):
                say(f"stage {stage.name}: no pair is held out, so there is nothing to report")
                continue
            rewards = self._score(run, model, pairs)
            if run.rank == 0:
                name = "pairs" if len(stages) == 1 else f"pairs-{stage.name}"
                prefix = "eval" if stage is last else f"eval/{stage.name}"
                path = run.run_dir / "evaluation" / f"{name}.jsonl"
                metrics, rows = report(pairs, *rewards, tokenizer, path, f"stage {stage.name}")
                results |= {f"{prefix}/{key}": value for key, value in metrics.items()}
                run.tracker.table(f"{prefix}/scored_{name}", rows)  # eval/pairs is their number
        if run.rank == 0:
            more = {"seconds": run.tracker.seconds, "peak_memory_bytes": peak_memory_bytes()}
            run.keep_results(results | more | {"parameters": sum(p.numel() for p in module.parameters())})
            run.tracker.model(run.run_dir / "export", final=True)
            say(f"load it: AutoModelForSequenceClassification.from_pretrained({str(run.run_dir / 'export')!r})")
        if run.world_size > 1:
            torch.distributed.barrier()


def _quiet() -> None:
    """Libraries' messages go to the log, their bars and banners nowhere."""
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    for name in ("transformers", "accelerate", "datasets", "trl"):
        logging.getLogger(name).setLevel(logging.WARNING)
