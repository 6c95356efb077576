"""What races in sft_throughput.py: `python sft_contenders.py NAME JOB` runs one, and prints one line of JSON.

    suite    this suite's SFT job: its loop, its engine, its packed samples
    packed   trl's SFTTrainer with packing, whole conversations side by side in a sample (its default, "bfd")
    wrapped  trl's SFTTrainer with packing that fills samples to the brim and cuts conversations where one is full
    padded   trl's SFTTrainer without packing: a conversation a row, padded to the longest of its batch

A job is JSON: start, config, overrides, data (a JSONL file of `messages`), precision, warmup, steps, threads,
rows_per_step (of the padded one) and, for trl, its variant. Everything is tokenised and packed before the clock runs;
steps are timed whole, from one step's end to the next one's.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from contenders import Clock
from report import ROOT

from math_qwen.recipe import MathRecipe
from qwen_shared.job.parent import ParentModel, recipe_from, resolve_parent
from qwen_shared.model.sizes import pad_vocab_size
from qwen_shared.recipe import check_layout
from qwen_shared.sft.data import Conversations, load_conversations
from qwen_shared.tokenizer import load_tokenizer

_RECIPES = ROOT / "packages" / "math_qwen" / "recipes"
_NEVER = 1 << 40  # an interval that no run reaches


def sft_recipe(job: dict[str, Any]) -> tuple[MathRecipe, ParentModel]:
    """The job's recipe with a constant learning rate and nothing at intervals, and the model it starts from."""
    start = resolve_parent(job["start"])
    changes = [
        f"data.sources={json.dumps([job['data']])}",
        "data.validation_fraction=0",
        "schedule.kind=constant",
        "schedule.decay_steps=null",
        f"schedule.warmup_steps={job['warmup']}",
        f"checkpoint.interval={_NEVER}",
        f"evaluation.interval={_NEVER}",
        "tracking.log_interval=1",
        *job["overrides"],
        # The loop validates and saves at the last step, so the race ends one step before.
        f"training.steps={job['warmup'] + job['steps'] + 1}",
    ]
    recipe = recipe_from(start, MathRecipe, job["config"], changes, _RECIPES, Path())
    return recipe.model_copy(update={"tokenizer": start.tokenizer}), start


def conversations(recipe: MathRecipe) -> Conversations:
    return load_conversations(recipe, recipe.tokenizer, {})


class Seen:
    """What each step worked on: places, tokens that are not padding, and tokens in the loss."""

    def __init__(self, job: dict[str, Any]):
        self._clock, self._warmup = Clock(job), job["warmup"]
        self._step, self._passes = 1, []

    def add(self, places: int, tokens: int, in_loss: int) -> None:
        """A pass of the step that is under way."""
        self._passes.append((self._step, places, tokens, in_loss))

    def tick(self) -> bool:
        """A step has ended; whether it was the last one that is wanted."""
        self._step += 1
        return self._clock.tick()

    def figures(self, recipe: MathRecipe) -> dict[str, Any]:
        seconds = self._clock.figures(recipe)["seconds_per_step"]
        timed = [numbers for step, *numbers in self._passes if step > self._warmup]
        places, tokens, in_loss = map(sum, zip(*timed, strict=True))
        return {
            "supervised_tokens_per_second": in_loss / sum(seconds),
            "tokens_per_second": tokens / sum(seconds),
            "padding_share": 1 - tokens / places,
            "supervised_per_step": in_loss / len(seconds),
            "seconds_per_step": seconds,
        }


class _RaceOver(Exception):
    """Leaves the training loop after the last timed step."""


def suite(job: dict[str, Any]) -> dict[str, Any]:
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import peak_memory_bytes, seed_everything, start_processes, stop_processes
        from qwen_shared.sft.batches import ConversationBatches, conversation_batch
        from qwen_shared.sft.show import padding_length
        from qwen_shared.training.engine import Engine
        from qwen_shared.training.loop import Hooks, train
        from qwen_shared.training.schedule import lr_schedule
    from qwen_shared.convert.import_hf import hf_source

    recipe, start = sft_recipe(job)
    processes, layout = start_processes(), check_layout(recipe, 1)
    seed_everything(recipe.seed)
    rows = pad_vocab_size(recipe.model, load_tokenizer(recipe.tokenizer).vocab_size, 1)
    engine = Engine(recipe, layout, processes, job["precision"], rows, hf_source(start.fetch()))
    found, seen, losses = conversations(recipe), Seen(job), []
    blend = found.blend(recipe)

    training, S = recipe.training, recipe.data.seq_length
    G = training.global_batch_size
    batches = ConversationBatches(blend, layout, processes.data_rank, G, training.micro_batch_size)

    class Log:
        def log(self, step: int, metrics: dict[str, Any]) -> None:
            losses.append(metrics["train/loss"])
            padding = sum(padding_length(blend.sample(k)) for k in range((step - 1) * G, step * G))
            seen.add(G * S, G * S - padding, metrics["train/loss_tokens"])
            if seen.tick():
                raise _RaceOver

    def loss_of_others(change: int) -> float:
        """The loss of a sample's documents after the first, where `change` is added to that one's first token."""
        batch = conversation_batch([blend.sample(0)] * training.micro_batch_size)
        first = batch.documents.lengths[0]
        batch.tokens[0, 0] += change
        batch.masks[..., :first] = 0
        batch.masks[:, 1:] = 0
        return float(engine.loss_sums(iter([batch]), 1)[0, 0])

    change = abs(loss_of_others(1) - loss_of_others(0))
    hooks = Hooks(validate=lambda step, final: {}, saved=lambda step: None)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_RaceOver):
        train(recipe, engine, batches, lr_schedule(recipe), hooks, Log(), Path(folder), 0, rows)
    stop_processes()
    return seen.figures(recipe) | {
        "parameters": sum(p.numel() for chunk in engine.model_chunks for p in chunk.parameters()),
        "supervised_per_epoch": sum(
            int(packed.epoch_sample(j).mask.sum()) for packed in found.train for j in range(packed.num_samples)
        ),
        "change_in_neighbours": change,
        "mean_loss": sum(losses) / len(losses),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def trl(job: dict[str, Any], form: str) -> dict[str, Any]:
    """`form`: packed, wrapped or padded. Its own tokenisation, chat template, mask, packing and collator."""
    import datasets
    import torch
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from qwen_shared.backend import peak_memory_bytes

    datasets.disable_progress_bars()
    recipe, start = sft_recipe(job)
    directory, seen, variant = start.fetch(), Seen(job), job["variant"]
    packing = {"packed": "bfd", "wrapped": "wrapped"}.get(form)
    training, optimizer = recipe.training, recipe.optimizer
    rows = training.global_batch_size if packing else job["rows_per_step"]
    data = datasets.Dataset.from_json(str(job["data"])).select_columns(["messages"])

    class Ticks(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop |= seen.tick()

    class Counted(SFTTrainer):
        def training_step(self, model, inputs, *args):
            places = inputs["input_ids"].numel()
            # Without a mask over padding there is none: padding-free batches.
            real = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else places
            seen.add(places, real, int((inputs["labels"][:, 1:] != -100).sum()))
            return super().training_step(model, inputs, *args)

    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder,
            model_init_kwargs={"dtype": variant["weights"], "attn_implementation": "sdpa"},
            packing=packing is not None,
            packing_strategy=packing or "bfd",
            max_length=recipe.data.seq_length,
            assistant_only_loss=True,
            train_sampling_strategy=variant["order"],
            max_steps=job["warmup"] + job["steps"],
            per_device_train_batch_size=rows // variant["passes"],
            gradient_accumulation_steps=variant["passes"],
            gradient_checkpointing=False,
            bf16=job["precision"] == "bf16" and variant["weights"] == "float32",  # autocast over fp32 weights
            optim="adamw_torch_fused",
            learning_rate=optimizer.lr,
            adam_beta1=optimizer.beta1,
            adam_beta2=optimizer.beta2,
            adam_epsilon=optimizer.eps,
            weight_decay=optimizer.weight_decay,
            max_grad_norm=optimizer.clip_grad,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=recipe.schedule.warmup_steps,
            use_cpu=not torch.cuda.is_available(),
            dataloader_num_workers=0,
            dataloader_pin_memory=torch.cuda.is_available(),
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=recipe.seed,
        )
        tokenizer = AutoTokenizer.from_pretrained(directory)
        trainer = Counted(
            str(directory), arguments, train_dataset=data, processing_class=tokenizer, callbacks=[Ticks()]
        )
        model, packed = trainer.model, trainer.train_dataset
        first = len(tokenizer.apply_chat_template(data[0]["messages"])["input_ids"])
        first = packed[0]["seq_lengths"][0] if "seq_lengths" in packed.column_names else first

        def loss_of_others(change: int) -> float:
            """As the suite's: of the places after the first document of the first sample."""
            batch = trainer.data_collator([packed[0]])
            batch["input_ids"][0, 0] += change
            batch["labels"][0, :first] = -100
            return float(-model(**batch, fused_lm_head=True).log_probs.double().sum())

        with torch.no_grad():
            model.eval()
            change = abs(loss_of_others(1) - loss_of_others(0)) if packing else 0.0  # padded rows have no neighbours
        done = trainer.train()
    return seen.figures(recipe) | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "supervised_per_epoch": sum(label != -100 for row in packed["labels"] for label in row),
        "change_in_neighbours": change,
        "mean_loss": done.training_loss,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is asked of a hub while the clock runs
    import torch

    name, job = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(job["threads"])
    result = suite(job) if name == "suite" else trl(job, name)
    if torch.get_num_threads() != job["threads"]:
        raise RuntimeError(f"{name} ran on {torch.get_num_threads()} threads, not on {job['threads']}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
