"""`qwen-chat reward`: a base model learns which of two answers is preferred, in one stage or two."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_chat.reward.recipe import STAGES
from qwen_shared.cli import Invocation
from qwen_shared.errors import Stopped, UserError
from qwen_shared.log import say
from qwen_shared.run.integrity import data_alone, newest_whole_checkpoint
from qwen_shared.run.paths import checkpoint_path, list_checkpoints

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from qwen_chat.hf_run import HfRun
    from qwen_chat.reward.pairs import StagePairs
    from qwen_chat.reward.stages import Stage
    from qwen_shared.training.plan.formatting import TextPlan

KIND = "chat-reward"
PAIRS, WRITING = "pairs", ".writing"


def plan(invocation: Invocation) -> TextPlan:
    from qwen_chat.reward.plan import plan_reward

    return plan_reward(invocation)


def main(invocation: Invocation) -> None:
    say("loading torch and transformers")  # the next ten seconds would be silent
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

    from qwen_chat.hf_run import hf_run

    with hf_run(invocation, KIND) as run:
        _quiet()
        _Job(run).run()


class _Job:
    """The run from its data to its report. Every process has one."""

    def __init__(self, run: HfRun):
        from qwen_shared.tokenizer import load_tokenizer

        self.hf, self.recipe = run, run.recipe
        self.tokenizer = load_tokenizer(self.recipe.tokenizer)
        self.checkpoints = run.run_dir / "checkpoints"
        self.resume_step = newest_whole_checkpoint(self.checkpoints)

    def run(self) -> None:
        import torch

        from qwen_shared.backend import cpu
        from qwen_shared.job.signals import StopRequest

        if not torch.cuda.is_available():
            cpu.keep_memory()
        self._share_pairs()
        stages = self._stages()
        run, recipe, total = self.hf, self.recipe, stages[-1].last
        precision = self._precision()
        pairs = {stage.name: self._pairs(stage.name, "train") for stage in stages}
        deepspeed = self._deepspeed(precision)
        tracker = run.track(total, recipe.training.global_batch_size, self.resume_step)
        say(f"run    {run.run_dir}" + (f", going on after step {self.resume_step}" if self.resume_step else ""))
        with tracker.training(), StopRequest() as stop:
            for stage in stages:
                if self.resume_step < stage.last:
                    self._train(stage, pairs[stage.name], precision, deepspeed, stop)
        self._finish(stages)

    # ---- data

    def _share_pairs(self) -> None:
        """Rank 0 renders the pairs into RUN/pairs, where every rank, and a run that goes on, finds them."""
        import torch

        if self.hf.rank == 0 and not (self.resume_step and (self.hf.run_dir / PAIRS / "meta.json").is_file()):
            self._write_pairs()
        if self.hf.world_size > 1:
            torch.distributed.barrier()

    def _write_pairs(self) -> None:
        from qwen_chat.reward.pairs import load_pairs

        target = self.hf.run_dir / PAIRS
        temporary = target.with_name(f".{PAIRS}{WRITING}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        meta = {}
        for stage in STAGES[self.recipe.stage]:
            found = load_pairs(self.recipe, stage, self.tokenizer)
            for side in ("train", "held_out"):
                _as_dataset(getattr(found, side)).save_to_disk(temporary / f"{stage}-{side}")
            sizes = {"train": len(found.train), "held_out": len(found.held_out), "sha256": found.digest()}
            meta[stage] = asdict(found.counts) | sizes
            say(f"data   {said_of(stage, found)}")
        (temporary / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
        self.hf.manifest.data = [{"name": stage, **about} for stage, about in meta.items()]
        self.hf.manifest.write(self.hf.run_dir)

    def _pairs(self, stage: str, side: str) -> Dataset:
        from datasets import load_from_disk

        return load_from_disk(self.hf.run_dir / PAIRS / f"{stage}-{side}")

    def _stages(self) -> list[Stage]:
        from qwen_chat.reward.stages import stages_of

        counts = json.loads((self.hf.run_dir / PAIRS / "meta.json").read_text())
        return stages_of(self.recipe, {stage: counts[stage]["train"] for stage in counts})

    # ---- training

    def _train(self, stage: Stage, pairs: Dataset, precision: str, deepspeed: dict | None, stop) -> None:
        import torch
        from transformers import AutoTokenizer

        from qwen_chat.deepspeed_config import know_states
        from qwen_chat.reward.model import load_module, read_at_end
        from qwen_chat.reward.order import training_order
        from qwen_chat.reward.padding import padding_id
        from qwen_chat.reward.trainer import Watch, arguments_of, make_trainer
        from qwen_chat.saving import refusing_disk

        run, recipe, training = self.hf, self.recipe, self.recipe.training
        writing = self.checkpoints / WRITING
        if run.rank == 0:
            shutil.rmtree(writing, ignore_errors=True)
            writing.mkdir(parents=True)
        going_on = stage.first < self.resume_step < stage.last
        done = checkpoint_path(self.checkpoints, self.resume_step) if self.resume_step else None
        if going_on and deepspeed:
            _check_world_size(done, run.world_size)
            know_states()
        dtype = torch.bfloat16 if deepspeed and precision == "bf16" else torch.float32
        module = load_module(done or run.start, dtype, recipe.seed, self.tokenizer.vocab_size)
        pad_id = padding_id(self.tokenizer, pairs[0]["chosen_ids"][-1])
        read_at_end(module)

        shown = AutoTokenizer.from_pretrained(recipe.tokenizer, local_files_only=True, trust_remote_code=False)
        shown.pad_token = shown.convert_ids_to_tokens(pad_id)
        lengths = [max(len(a), len(b)) for a, b in zip(pairs["chosen_ids"], pairs["rejected_ids"], strict=True)]
        order = training_order(lengths, training.global_batch_size, recipe.seed, 0.0, stage.steps)
        chosen = self._held_out_sample(stage.name)
        watch = Watch(
            recipe,
            stage,
            run.tracker,
            stop,
            self.checkpoints,
            run.rank,
            run.world_size,
            lambda: self._validate(module, pad_id, chosen, precision),
        )
        if run.rank == 0 and not self.resume_step:
            count = sum(p.numel() for p in module.parameters())
            processes = "1 process" if run.world_size == 1 else f"{run.world_size} processes"
            say(f"model  {count:,} parameters, {precision}, {processes} on {module.device.type}")
        ordered = pairs.select_columns(["chosen_ids", "rejected_ids"]).select(order)
        arguments = arguments_of(recipe, stage, writing, precision, run.world_size, deepspeed)
        trainer = make_trainer(recipe, stage, module, arguments, ordered, shown, watch)
        with refusing_disk(self.checkpoints, writing), data_alone(done or writing):
            trainer.train(resume_from_checkpoint=str(done) if going_on else None)
        trainer.accelerator.free_memory()
        self.resume_step = list_checkpoints(self.checkpoints)[-1]
        if watch.stopped:
            raise Stopped(
                f"stopped by {stop.name} after step {self.resume_step}, all saved: the same command goes on from there"
            )

    def _precision(self) -> str:
        """What the run began with, on whatever machine it goes on."""
        import torch

        from qwen_shared.backend import resolve_precision
        from qwen_shared.run import Manifest

        if self.hf.manifest is not None:
            self.hf.manifest.precision = self.hf.manifest.precision or resolve_precision(self.recipe.training.precision)
            self.hf.manifest.write(self.hf.run_dir)
        if self.hf.world_size > 1:
            torch.distributed.barrier()
        return Manifest.read(self.hf.run_dir).precision

    def _deepspeed(self, precision: str) -> dict | None:
        import torch

        from qwen_chat.deepspeed_config import check_compiler, load_config

        recipe, world_size = self.recipe, self.hf.world_size
        if recipe.deepspeed is None:
            return None
        if not torch.cuda.is_available():
            if world_size == 1:
                say(f"deepspeed={recipe.deepspeed}: one process on a CPU has nobody to share with: left out")
                return None
            check_compiler()
        micro = recipe.training.micro_batch_size
        accumulation = recipe.training.global_batch_size // (micro * world_size)
        return load_config(recipe.deepspeed, micro, accumulation, recipe.optimizer.clip_grad, precision)

    # ---- looking at it

    def _held_out_sample(self, stage: str) -> Dataset:
        """The held-out pairs of validations: spread evenly over all, the same each time."""
        held_out = self._pairs(stage, "held_out")
        count = min(self.recipe.evaluation.max_pairs, len(held_out))
        return held_out.select([i * len(held_out) // count for i in range(count)])

    def _validate(self, module: torch.nn.Module, pad_id: int, pairs: Dataset, precision: str) -> dict[str, float]:
        """Accuracy, loss and margin. All ranks call: under ZeRO 3 none has the whole model."""
        import torch

        from qwen_chat.reward.model import RewardModel
        from qwen_chat.reward.report import pair_figures

        if not len(pairs):
            return {}
        before = module.training
        device = next(module.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            rewards = self._score(RewardModel(module, pad_id), pairs)
        module.train(before)
        figures = pair_figures(*rewards)
        return {name: figures[name] for name in ("accuracy", "loss", "margin")}

    def _score(self, model, pairs: Dataset) -> tuple[list[float], list[float]]:
        """Rewards of the chosen and of the rejected conversations, on every rank; each scores its part."""
        from qwen_chat.reward.model import length_batches

        rows = [*pairs["chosen_ids"], *pairs["rejected_ids"]]
        budget = self.recipe.evaluation.batch_tokens
        rank, world_size = self.hf.rank, self.hf.world_size
        batches = length_batches([len(row) for row in rows], budget)
        found: dict[int, float] = {}
        # Every rank goes through the model as often as the others, the last times perhaps for nothing.
        for k in range(-(-len(batches) // world_size)):
            batch = batches[min(k * world_size + rank, len(batches) - 1)]
            found |= dict(zip(batch, model.score([rows[i] for i in batch], budget), strict=True))
        if world_size > 1:
            import torch

            parts: list = [None] * world_size
            torch.distributed.all_gather_object(parts, found)
            found = {i: reward for part in parts for i, reward in part.items()}
        rewards = [found[i] for i in range(len(rows))]
        return rewards[: len(pairs)], rewards[len(pairs) :]

    def _finish(self, stages: list[Stage]) -> None:
        """Score all held-out pairs by the last checkpoint, export it, and report."""
        import torch

        from qwen_chat.hf_run import export_hf
        from qwen_chat.reward.model import RewardModel, load_module, read_at_end
        from qwen_chat.reward.padding import PaddedBy, padding_id
        from qwen_chat.reward.report import report
        from qwen_shared.backend import device, peak_memory_bytes

        run = self.hf
        end_id = self._pairs(stages[-1].name, "train")[0]["chosen_ids"][-1]
        pad_id = padding_id(self.tokenizer, end_id)
        dtype = None if torch.cuda.is_available() else torch.float32
        module = load_module(checkpoint_path(self.checkpoints, stages[-1].last), dtype).to(device()).eval()
        module.config.get_text_config().pad_token_id = pad_id
        if run.rank == 0:
            export_hf(module, PaddedBy(self.tokenizer, pad_id), run.run_dir, stages[-1].last)
        model = RewardModel(read_at_end(module), pad_id)
        results: dict[str, float] = {}
        for stage in stages:
            held_out = self._pairs(stage.name, "held_out")
            if not len(held_out):
                say(f"stage {stage.name}: no pair is held out, so nothing is known of what was learned")
                continue
            rewards = self._score(model, held_out)
            if run.rank == 0:
                name = "pairs" if len(stages) == 1 else f"pairs-{stage.name}"
                prefix = "eval" if stage is stages[-1] else f"eval/{stage.name}"
                path = run.run_dir / "evaluation" / f"{name}.jsonl"
                figures, rows = report(held_out, *rewards, self.tokenizer, path, f"stage {stage.name}")
                results |= {f"{prefix}/{key}": value for key, value in figures.items()}
                run.tracker.table(f"{prefix}/scored_{name}", rows)  # eval/pairs is their number
        if run.rank == 0:
            more = {"seconds": run.tracker.seconds, "peak_memory_bytes": peak_memory_bytes()}
            run.keep_results(results | more | {"parameters": sum(p.numel() for p in module.parameters())})
            say(f"load it: AutoModelForSequenceClassification.from_pretrained({str(run.run_dir / 'export')!r})")
        if run.world_size > 1:
            torch.distributed.barrier()


def said_of(stage: str, found: StagePairs) -> str:
    """One line on what became of a stage's pairs."""
    counts = found.counts
    remarks = {
        "with two answers that are the same": counts.identical,
        "too long": counts.too_long,
        "left out for the balance of tags": counts.balanced,
        "cut at the front": counts.cut,
    }
    told = "".join(f", {count:,} {what}" for what, count in remarks.items() if count)
    sides = f"{len(found.train):,} pairs to train on, {len(found.held_out):,} held out"
    return f"{stage}: {sides}; {counts.pairs:,} read{told}"


def _as_dataset(pairs: list) -> Dataset:
    import datasets

    ids = datasets.Sequence(datasets.Value("int32"))
    text = datasets.Value("string")
    features = {"chosen_ids": ids, "rejected_ids": ids, "shared": datasets.Value("int32"), "tag": text, "reason": text}
    columns = {
        "chosen_ids": [pair.chosen for pair in pairs],
        "rejected_ids": [pair.rejected for pair in pairs],
        "shared": [pair.shared for pair in pairs],
        "tag": [pair.tag for pair in pairs],
        "reason": [pair.reason for pair in pairs],
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _check_world_size(checkpoint: Path, world_size: int) -> None:
    from qwen_chat.reward.trainer import PROGRESS

    before = json.loads((checkpoint / PROGRESS).read_text())["world_size"]
    if before != world_size:
        raise UserError(
            f"{checkpoint} was written by {before} processes, and DeepSpeed's files are one for each: "
            f"start with --nproc {before}"
        )


def _quiet() -> None:
    """What libraries have to tell goes to the log; bars and banners nowhere."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    for name in ("transformers", "accelerate", "datasets", "trl"):
        logging.getLogger(name).setLevel(logging.WARNING)
