"""What reading data costs a training step, and whether a large corpus holds up its first one.

    uv run benchmarks/data_loading.py
    uv run benchmarks/data_loading.py --documents 100000000

First the recipe's own data: batches and digests made exactly as the training loop asks for them, with the model taken
out, as a share of a training step measured in the same process. Then a synthetic corpus of many short documents, whose
order is drawn anew for each epoch: how long do its first step, a later one, and the one that begins an epoch take?
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import base_recipe, cpu_name, machine, median, save
from rich.console import Console
from rich.table import Table

from qwen_shared.data import (
    BlendedDataset,
    PackedDataset,
    TokenFile,
    TokenFileWriter,
    prepare,
    token_dtype,
    training_blend,
)
from qwen_shared.errors import UserError
from qwen_shared.model.sizes import pad_vocab_size
from qwen_shared.recipe import PretrainRecipe, check_layout
from qwen_shared.run.paths import cache_dir
from qwen_shared.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from qwen_shared.training.batches import PackedBatches

_TOKENS_PER_DOCUMENT = 20  # on average


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="tiny", help="recipe name or YAML file (default: tiny)")
    parser.add_argument("--steps", type=int, default=200, help="steps of data alone (default: 200)")
    parser.add_argument("--train-steps", type=int, default=10, help="steps with the model (default: 10)")
    parser.add_argument(
        "--documents", type=int, default=10_000_000, help="of the synthetic corpus (default: 10 million)"
    )
    parser.add_argument("--out", type=Path, help="the JSON file (default: results/DATE-MACHINE-data-CONFIG.json)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe keys")
    args = parser.parse_args(argv)
    try:
        recipe = base_recipe(args.config, args.overrides)
        own = training_blend(prepare(recipe.data, recipe.tokenizer, cache_dir()), recipe.data.seq_length, recipe.seed)
    except UserError as error:
        print(f"data_loading: error: {error}", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")  # what libraries say while they are imported
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import start_processes, stop_processes
        from qwen_shared.training import engine  # noqa: F401 (Megatron without the compiler)
    start_processes()

    step = training_step_seconds(recipe, own, args.train_steps)
    figures: dict[str, Any] = {
        "machine": machine(),
        "config": args.config,
        "training_step_seconds": step,
        "recipe": reading(batches(recipe, own), args.steps),
    }
    figures["recipe"]["share_of_step"] = figures["recipe"]["mean_seconds"] / step
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder, "documents")
        figures["documents"] = write_documents(prefix, args.documents, load_tokenizer(recipe.tokenizer).vocab_size)
        began = time.perf_counter()
        stream = PackedDataset(TokenFile(prefix), recipe.data.seq_length, recipe.seed)
        figures["large"] = {"open_seconds": time.perf_counter() - began}
        figures["large"] |= reading(batches(recipe, BlendedDataset([stream], [1.0], recipe.seed)), args.steps)
        figures["large"]["share_of_step"] = figures["large"]["mean_seconds"] / step
        per_step = recipe.training.global_batch_size * recipe.data.seq_length
        figures["large"]["epoch_step_seconds"] = one_step(
            batches(recipe, BlendedDataset([stream], [1.0], recipe.seed)), stream.tokens_per_epoch // per_step + 1
        )
    stop_processes()
    path = save(figures, f"data-{Path(args.config).stem}", cpu_name(), args.out)
    _show(figures)
    print(path)
    return 0


def batches(recipe: PretrainRecipe, blend: BlendedDataset) -> PackedBatches:
    """The recipe's batches of one process."""
    from qwen_shared.training.batches import PackedBatches

    return PackedBatches(
        blend,
        load_tokenizer(recipe.tokenizer).eod_id,
        check_layout(recipe, 1),
        0,
        recipe.training.global_batch_size,
        recipe.training.micro_batch_size,
        recipe.data.isolate_documents,
    )


def one_step(source: PackedBatches, step: int) -> float:
    """Seconds for all that the training loop asks of data in one step."""
    began = time.perf_counter()
    for _ in source.micro_batches(step):
        pass
    source.digest(step)
    return time.perf_counter() - began


def reading(source: PackedBatches, steps: int) -> dict[str, Any]:
    """Seconds of the first step, which draws the documents' order, and of those after it."""
    first, *later = [one_step(source, step) for step in range(1, steps + 1)]
    return {
        "first_seconds": first,
        "mean_seconds": sum(later) / len(later),
        "median_seconds": median(later),
        "slowest_seconds": max(later),
    }


def training_step_seconds(recipe: PretrainRecipe, blend: BlendedDataset, steps: int) -> float:
    """Median seconds of a step without its data: the batches are made before."""
    from qwen_shared.backend import device, resolve_precision, seed_everything, synchronize
    from qwen_shared.backend.device import Processes
    from qwen_shared.model.weights import random_source
    from qwen_shared.training.engine import Engine

    seed_everything(recipe.seed)
    rows = pad_vocab_size(recipe.model, load_tokenizer(recipe.tokenizer).vocab_size, 1)
    engine = Engine(
        recipe,
        check_layout(recipe, 1),
        Processes(0, 1, 0, 1, True, True),
        resolve_precision(recipe.training.precision),
        rows,
        random_source(recipe.seed, recipe.model.num_layers, recipe.model.init_std, device()),
    )
    seconds, source = [], batches(recipe, blend)
    for step in range(1, steps + 3):
        ready = list(source.micro_batches(step))
        began = time.perf_counter()
        engine.train_step(iter(ready), recipe.optimizer.lr)
        synchronize()
        seconds.append(time.perf_counter() - began)
    return median(seconds[2:])


def write_documents(prefix: Path, count: int, vocab_size: int) -> dict[str, int]:
    """A token file of `count` short documents of random tokens."""
    draw, dtype = np.random.default_rng(0), token_dtype(vocab_size)
    with TokenFileWriter(prefix, dtype) as writer:
        for first in range(0, count, 1_000_000):
            lengths = draw.integers(1, 2 * _TOKENS_PER_DOCUMENT, min(1_000_000, count - first))
            writer.add(draw.integers(0, vocab_size, lengths.sum()).astype(dtype), lengths.tolist())
    return {"documents": count, "tokens": writer.num_tokens}


def _show(figures: dict[str, Any]) -> None:
    step, corpus = figures["training_step_seconds"], figures["documents"]
    table = Table(title=f"{figures['config']}: a training step takes {step * 1e3:,.0f} ms; milliseconds of data a step")
    for column in ("", "first step", "mean after", "slowest after", "share of a step"):
        table.add_column(column, justify="left" if not column else "right")
    for name, title in (("recipe", "its own data"), ("large", f"{corpus['documents']:,} documents")):
        row = figures[name]
        cells = (f"{row[key] * 1e3:,.2f}" for key in ("first_seconds", "mean_seconds", "slowest_seconds"))
        table.add_row(title, *cells, f"{row['share_of_step']:.2%}")
    Console(width=120).print(table)
    large = figures["large"]
    opening, epoch = large["open_seconds"], large["epoch_step_seconds"]
    print(f"the large file opens in {opening:.2f} s, its next epoch begins in {epoch:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
