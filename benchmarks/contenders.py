"""What races in train_throughput.py: `python contenders.py NAME JOB` runs one, and prints one line of JSON.

    suite    this suite's training loop and engine
    trainer  Hugging Face's Trainer on the same architecture from scratch
    matmul   the model's own matrix products and nothing else: what this machine could do at best

A job is JSON: config, overrides, precision, warmup, steps, threads and, for the trainer, its variant. Steps are timed
whole, from one step's end to the next one's: data, forward, backward, clipping, optimizer, bookkeeping.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from report import base_recipe

from qwen_shared.model.sizes import pad_vocab_size, parameter_count
from qwen_shared.recipe import PretrainRecipe, check_layout
from qwen_shared.tokenizer import load_tokenizer

_NEVER = 1 << 40  # an interval that no run reaches


def job_recipe(job: dict[str, Any]) -> PretrainRecipe:
    """The job's recipe with a constant learning rate, and nothing at intervals."""
    recipe = base_recipe(job["config"], job["overrides"])
    warmup = min(recipe.schedule.warmup_steps, job["warmup"])
    # The loop validates and saves at the last step, so the race ends one step before.
    steps = job["warmup"] + job["steps"] + 1
    changes = {
        "training": recipe.training.model_copy(update={"steps": steps}),
        "schedule": recipe.schedule.model_copy(
            update={"kind": "constant", "warmup_steps": warmup, "decay_steps": None}
        ),
        "checkpoint": recipe.checkpoint.model_copy(update={"interval": _NEVER}),
        "evaluation": recipe.evaluation.model_copy(update={"interval": _NEVER}),
        "tracking": recipe.tracking.model_copy(update={"log_interval": 1}),
    }
    return recipe.model_copy(update=changes)


class Clock:
    """Times the ends of steps. `figures` are those of the steps after warm-up."""

    def __init__(self, job: dict[str, Any]):
        self._warmup, self._steps = job["warmup"], job["steps"]
        self._ends: list[float] = []

    def tick(self) -> bool:
        """A step has ended; whether it was the last one that is wanted."""
        self._ends.append(time.perf_counter())
        return len(self._ends) >= self._warmup + self._steps

    def figures(self, recipe: PretrainRecipe) -> dict[str, Any]:
        ends = self._ends[self._warmup - 1 :]
        tokens = recipe.training.global_batch_size * recipe.data.seq_length
        return {
            "tokens_per_second": tokens * (len(ends) - 1) / (ends[-1] - ends[0]),
            "seconds_per_step": [round(b - a, 5) for a, b in itertools.pairwise(ends)],
        }


class _RaceOver(Exception):
    """Leaves the training loop after the last timed step."""


def suite(job: dict[str, Any]) -> dict[str, Any]:
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import device, peak_memory_bytes, seed_everything, start_processes, stop_processes
        from qwen_shared.training.batches import PackedBatches
        from qwen_shared.training.engine import Engine
        from qwen_shared.training.loop import Hooks, train
        from qwen_shared.training.schedule import lr_schedule
    from qwen_shared.model.weights import random_source

    recipe = job_recipe(job)
    processes, layout = start_processes(), check_layout(recipe, 1)
    seed_everything(recipe.seed)
    tokenizer = load_tokenizer(recipe.tokenizer)
    rows = pad_vocab_size(recipe.model, tokenizer.vocab_size, 1)
    weights = random_source(recipe.seed, recipe.model.num_layers, recipe.model.init_std, device())
    engine = Engine(recipe, layout, processes, job["precision"], rows, weights)
    parameters = sum(p.numel() for chunk in engine.model_chunks for p in chunk.parameters())
    batches = PackedBatches(
        _blend(recipe),
        tokenizer.eod_id,
        layout,
        processes.data_rank,
        recipe.training.global_batch_size,
        recipe.training.micro_batch_size,
        recipe.data.isolate_documents,
    )
    clock, losses = Clock(job), []

    class Log:
        def log(self, step: int, metrics: dict[str, Any]) -> None:
            losses.append(metrics["train/loss"])
            if clock.tick():
                raise _RaceOver

    hooks = Hooks(validate=lambda step, final: {}, saved=lambda step: None)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_RaceOver):
        train(recipe, engine, batches, lr_schedule(recipe), hooks, Log(), Path(folder), 0, rows)
    stop_processes()
    return clock.figures(recipe) | {
        "mean_loss": sum(losses) / len(losses),
        "parameters": parameters,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def trainer(job: dict[str, Any]) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    from qwen_shared.backend import peak_memory_bytes
    from qwen_shared.convert.families import hf_config

    recipe, variant, bf16 = job_recipe(job), job["variant"], job["precision"] == "bf16"
    tokenizer = load_tokenizer(recipe.tokenizer)
    rows = pad_vocab_size(recipe.model, tokenizer.vocab_size, 1)
    torch.manual_seed(recipe.seed)
    dtype = torch.bfloat16 if variant["weights"] == "bf16" else torch.float32
    config = hf_config(recipe.model, rows, recipe.data.seq_length, tokenizer, dtype)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.config.use_cache = False
    parameters = sum(p.numel() for p in model.parameters())
    expected = parameter_count(recipe.model, rows)
    if parameters != expected:
        raise RuntimeError(f"Hugging Face's model has {parameters} parameters, not {expected}")

    blend, count = _blend(recipe), recipe.training.global_batch_size * (job["warmup"] + job["steps"])

    class Samples(torch.utils.data.Dataset):
        """The suite's samples in the suite's order. Labels are the inputs; the model shifts them."""

        def __len__(self) -> int:
            return count

        def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
            tokens = torch.from_numpy(blend.sample(k)[:-1])
            return {"input_ids": tokens, "labels": tokens}

    clock = Clock(job)

    class Ticks(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop |= clock.tick()

    optimizer, training = recipe.optimizer, recipe.training
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=job["warmup"] + job["steps"],
            per_device_train_batch_size=training.micro_batch_size,
            gradient_accumulation_steps=training.global_batch_size // training.micro_batch_size,
            train_sampling_strategy="sequential",
            bf16=bf16 and variant["weights"] == "fp32",  # autocast over fp32 weights
            optim=variant["optimizer"],
            torch_compile=variant["compile"],
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
        done = Trainer(model=model, args=arguments, train_dataset=Samples(), callbacks=[Ticks()]).train()
    return clock.figures(recipe) | {
        "mean_loss": done.training_loss,
        "parameters": parameters,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def matmul(job: dict[str, Any]) -> dict[str, Any]:
    """FLOP/s of the model's linear layers alone, forward and both gradients, each at its best of some tries."""
    import torch

    from qwen_shared.backend import device, synchronize

    if not torch.cuda.is_available():
        from qwen_shared.backend.cpu import keep_memory

        keep_memory()  # page faults are no part of a product

    recipe = base_recipe(job["config"], job["overrides"])
    model = recipe.model
    rows = pad_vocab_size(model, load_tokenizer(recipe.tokenizer).vocab_size, 1)
    tokens = recipe.training.micro_batch_size * recipe.data.seq_length
    heads = model.num_attention_heads * model.head_size
    shapes = [  # (inputs, outputs, how many of them)
        (model.hidden_size, heads + 2 * model.kv_heads * model.head_size, model.num_layers),
        (heads, model.hidden_size, model.num_layers),
        (model.hidden_size, 2 * model.ffn_hidden_size, model.num_layers),
        (model.ffn_hidden_size, model.hidden_size, model.num_layers),
        (model.hidden_size, rows, 1),
    ]
    dtype = torch.bfloat16 if job["precision"] == "bf16" else torch.float32
    routes = ["ieee"]
    if dtype == torch.float32 and _onednn_keeps_fp32():
        routes.append("bf16")
    seconds = 0.0
    for inputs, outputs, times in shapes:
        x = torch.randn(tokens, inputs, device=device()).to(dtype)
        w = torch.randn(outputs, inputs, device=device()).to(dtype)
        g = torch.randn(tokens, outputs, device=device()).to(dtype)
        for product in (lambda: x @ w.t(), lambda: g @ w, lambda: g.t() @ x):  # noqa: B023 (called before the next turn)
            tries = []
            for route in routes:
                torch.backends.mkldnn.matmul.fp32_precision = route
                for _ in range(2 + job["steps"]):
                    synchronize()
                    began = time.perf_counter()
                    product()
                    synchronize()
                    tries.append(time.perf_counter() - began)
            seconds += times * min(tries)
    flops = sum(6.0 * tokens * inputs * outputs * times for inputs, outputs, times in shapes)
    return {"flops_per_second": flops / seconds}


def _onednn_keeps_fp32() -> bool:
    """Whether oneDNN, when it may round a product's inputs to bf16, does not: it is the faster library on some
    processors, and this permission is torch's only way to it."""
    import torch

    before, generator = torch.backends.mkldnn.matmul.fp32_precision, torch.Generator().manual_seed(0)
    x, w = torch.randn(256, 256, generator=generator), torch.randn(256, 256, generator=generator)
    try:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        exact = x.double() @ w.double()
        return ((x @ w - exact).norm() / exact.norm()).item() < 1e-6
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before


def _blend(recipe: PretrainRecipe):
    from qwen_shared.data import prepare, training_blend
    from qwen_shared.run.paths import cache_dir

    return training_blend(prepare(recipe.data, recipe.tokenizer, cache_dir()), recipe.data.seq_length, recipe.seed)


def main() -> None:
    import torch

    name, job = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(job["threads"])
    result = {"suite": suite, "trainer": trainer, "matmul": matmul}[name](job)
    if torch.get_num_threads() != job["threads"]:
        raise RuntimeError(f"{name} ran on {torch.get_num_threads()} threads, not on {job['threads']}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
