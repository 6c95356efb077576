"""Is the memory that `--plan` tells what ranks hold at their peak?

    uv run benchmarks/memory_plan.py                              eight layouts, one or two processes
    uv run benchmarks/memory_plan.py --only "tensor 2" --out x.json
    uv run benchmarks/memory_plan.py --as-runs                    on a CPU, with the memory that the heap keeps

Every rank builds the engine of training, takes a few steps on random tokens, and tells the most memory it held since
before the model was built. On a GPU that is what torch's allocator counted; layouts that need more GPUs than there are
are left out. On a CPU it is the resident memory's high-water mark (VmHWM), over what was resident after a toy model of
the same layout had taken its steps, so that libraries and first uses are no part of it.

A run on a CPU keeps freed memory for its next step (backend.cpu.keep_memory), so that much of what is resident is held
by nobody. Here each tensor has a mapping of its own instead, which goes when the tensor goes: what is resident is what
is held. `--as-runs` measures with the heap of real runs, and holds against it what a plan adds for that
(`machines.HOLES`), in its line `resident`.

Exits with 1 where a plan is off by more than 10 %, with the heap of real runs by more than 20 %.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from report import cpu_name, machine, save

from qwen_shared.recipe import PretrainRecipe, check_layout
from qwen_shared.training.plan.machines import HOLES
from qwen_shared.training.plan.memory import rank_memory

_TOLERANCE, _TOLERANCE_AS_RUNS = 0.10, 0.20
_TOY_ROWS = 256
# Large enough that tensors drown what libraries take by the way; and, on a GPU, that kernels are those of real sizes.
_MODELS = {
    "cpu": {"num_layers": 8, "hidden_size": 768, "num_attention_heads": 12, "ffn_hidden_size": 2048},
    "cuda": {"num_layers": 16, "hidden_size": 2048, "num_attention_heads": 16, "ffn_hidden_size": 5504},
}
_ROWS = 32768
# Name: processes, precision, samples a micro-batch, micro-batches, tokens a sample on a CPU (four times on a GPU), and
# what else the recipe says.
_LAYOUTS: dict[str, tuple[int, str, int, int, int, dict[str, Any]]] = {
    "one process": (1, "fp32", 4, 1, 256, {}),
    "one process, bf16": (1, "bf16", 4, 1, 256, {}),
    "tied, grouped, full recompute": (
        1,
        "bf16",
        8,
        1,
        256,
        {"model": {"tied_embeddings": True, "num_key_value_heads": 4}, "parallel": {"recompute": "full"}},
    ),
    "data 2": (2, "bf16", 4, 1, 256, {}),
    "tensor 2": (2, "fp32", 4, 1, 256, {"parallel": {"tensor_parallel": 2}}),
    "tensor 2, sequence parallel, selective recompute": (
        2,
        "bf16",
        4,
        1,
        256,
        {"parallel": {"tensor_parallel": 2, "sequence_parallel": True, "recompute": "selective"}},
    ),
    "pipeline 2": (2, "fp32", 4, 4, 256, {"parallel": {"pipeline_parallel": 2}}),
    "context 2": (2, "bf16", 1, 1, 1024, {"parallel": {"context_parallel": 2}}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(_LAYOUTS), metavar="LAYOUT", help=", ".join(_LAYOUTS))
    parser.add_argument("--as-runs", action="store_true", help="with the heap of real runs; CPU only")
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="steps of each rank (default: 3)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--rank", help=argparse.SUPPRESS)  # the job of one process, as JSON
    args = parser.parse_args()
    if args.rank:
        return _run_rank(json.loads(args.rank))

    gpus, name = _gpus()
    device = "cuda" if gpus else "cpu"
    found = {}
    print(f"{'':50} {'planned':>9} {'measured':>9}   {'plan is off by':>14}")
    for layout in args.only or _LAYOUTS:
        ranks = _LAYOUTS[layout][0]
        if gpus and ranks > gpus:
            print(f"{layout:50} left out: it needs {ranks} GPUs, there are {gpus}")
            continue
        found[layout] = figures = _measure(layout, device, args.steps, args.as_runs)
        gib = [size / 2**30 for size in (figures["expected"], figures["measured"])]
        print(f"{layout:50} {gib[0]:9.3f} {gib[1]:9.3f}   {figures['error']:+14.1%}", flush=True)
    worst = max(abs(figures["error"]) for figures in found.values())
    print(f"{len(found)} layouts, GiB of the rank that held most; off by {worst:.1%} at most")
    if not args.only or args.out:
        about = {"machine": machine() | ({"gpu": name} if gpus else {}), "model": _MODELS[device], "rows": _ROWS}
        heap = {"heap": "as in runs" if args.as_runs else "each tensor mapped by itself"} if device == "cpu" else {}
        title = "memory-plan-as-runs" if args.as_runs else "memory-plan"
        print(save({**about, **heap, "steps": args.steps, "layouts": found}, title, name or cpu_name(), args.out))
    return int(worst > (_TOLERANCE_AS_RUNS if args.as_runs else _TOLERANCE))


def _gpus() -> tuple[int, str]:
    """How many GPUs there are, and what they are called; asked in another process, which leaves nothing behind."""
    ask = "import torch as t; n = t.cuda.device_count(); print(n, t.cuda.get_device_name() if n else '')"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    count, _, name = done.stdout.strip().partition(" ")
    return int(count), name


def _recipe(layout: str, device: str) -> PretrainRecipe:
    ranks, precision, micro, passes, length, sections = _LAYOUTS[layout]
    parallel = sections.get("parallel", {})
    model_ranks = 1
    for key in ("tensor_parallel", "pipeline_parallel", "context_parallel"):
        model_ranks *= parallel.get(key, 1)
    return PretrainRecipe.model_validate(
        {
            "name": "memory",
            "model": _MODELS[device] | sections.get("model", {}),
            "data": {"sources": "stdlib", "seq_length": length * (4 if device == "cuda" else 1)},  # no data is read
            "parallel": parallel,
            "training": {
                "steps": 1000,
                "global_batch_size": micro * passes * ranks // model_ranks,
                "micro_batch_size": micro,
                "precision": precision,
            },
            "optimizer": {"lr": 1e-4},
            "checkpoint": {"interval": 1000},
            "evaluation": {"interval": 1000},
        }
    )


def _measure(layout: str, device: str, steps: int, as_runs: bool) -> dict[str, Any]:
    """The plan's figures and those of every rank, in bytes."""
    recipe, ranks = _recipe(layout, device), _LAYOUTS[layout][0]
    precision = recipe.training.precision
    plan = rank_memory(recipe, check_layout(recipe, ranks), _ROWS, precision, cpu=device == "cpu")
    job = json.dumps({"layout": layout, "device": device, "steps": steps, "as_runs": as_runs})
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1"}
    environment["MASTER_PORT"] = str(_free_port())
    if not as_runs:
        environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_MMAP_MAX_": "1000000"}
    command = [sys.executable, __file__, "--rank", job]
    workers = [
        subprocess.Popen(
            command,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        said = [worker.communicate() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for worker, (_, errors) in zip(workers, said, strict=True):
        if worker.returncode:
            sys.exit(f"{layout}: a rank failed\n{errors[-3000:]}")
    by_rank = [json.loads(out.splitlines()[-1]) for out, _ in said]
    measured = max(figures["peak"] for figures in by_rank)
    expected = plan.total * (1 + HOLES) if as_runs else plan.total
    return {
        "processes": ranks,
        "recipe": recipe.model_dump(mode="json", include={"model", "parallel", "training", "data"}),
        "planned": plan.parts | {"total": plan.total, "parameters": plan.parameters},
        "expected": expected,
        "measured": measured,
        "ranks": by_rank,
        "error": expected / measured - 1,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _run_rank(job: dict[str, Any]) -> int:
    """One rank: prints what it held, in bytes."""
    warnings.simplefilter("ignore")  # what libraries say while they are imported
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import cpu, seed_everything, start_processes, stop_processes

    if not job["as_runs"]:
        cpu.keep_memory = lambda: None
    recipe = _recipe(job["layout"], job["device"])
    parallel = recipe.parallel
    processes = start_processes(
        parallel.tensor_parallel, parallel.pipeline_parallel, parallel.virtual_pipeline, parallel.context_parallel
    )
    seed_everything(recipe.seed)
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": None, "ffn_hidden_size": 64}
    toy = recipe.model_copy(
        update={"model": recipe.model.model_copy(update=sizes | {"num_layers": parallel.pipeline_parallel})}
    )
    _train(toy, processes, _TOY_ROWS, 2)
    gc.collect()
    before = _start_counting()
    held = _train(recipe, processes, _ROWS, job["steps"])
    print(json.dumps({"before": before, "peak": _peak() - before, **held}))
    stop_processes()
    return 0


def _train(recipe: PretrainRecipe, processes: Any, rows: int, steps: int) -> dict[str, int]:
    """Trains, and returns the bytes of what stays between steps."""
    import torch

    from qwen_shared.backend import device
    from qwen_shared.model.context import context_slice
    from qwen_shared.model.weights import random_source
    from qwen_shared.training.engine import Engine, MicroBatch

    layout = check_layout(recipe, processes.world_size)
    weights = random_source(recipe.seed, recipe.model.num_layers, recipe.model.init_std, device())
    engine = Engine(recipe, layout, processes, recipe.training.precision, rows, weights)
    shape = (recipe.training.micro_batch_size, recipe.data.seq_length + 1)

    def micro_batches():
        for _ in range(layout.num_microbatches):
            tokens = torch.randint(0, rows, shape, device=device())
            columns = (tokens[:, :-1], tokens[:, 1:], torch.ones(1, *tokens[:, 1:].shape, device=device()))
            yield MicroBatch(*(context_slice(column, -1) for column in columns))

    for _ in range(steps):
        engine.train_step(micro_batches(), recipe.optimizer.lr)
    return engine_bytes(engine)


def engine_bytes(engine: Any) -> dict[str, int]:
    """Bytes of an engine's weights, gradients and optimizer, as its tensors have them."""
    buffers = [buffer for chunk in engine.model_chunks for buffer in chunk.buffers]
    optimizers = getattr(engine.optimizer, "chained_optimizers", [engine.optimizer])
    state = [
        tensor
        for optimizer in optimizers
        for tensors in optimizer.optimizer.state.values()
        for tensor in tensors.values()
        if hasattr(tensor, "numel") and tensor.numel() > 1  # not the count of steps
    ]
    copies = [
        tensor
        for optimizer in optimizers
        for group in optimizer.shard_fp32_from_float16_groups
        for tensor in group
        if tensor is not None
    ]
    return {
        "weights": sum(buffer.param_data.nbytes for buffer in buffers),
        "gradients": sum(buffer.grad_data.nbytes for buffer in buffers),
        "optimizer": sum(tensor.nbytes for tensor in (*state, *copies)),
    }


def _start_counting() -> int:
    """What this process holds now; from here on its peak is looked for anew."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins again at VmRSS
    return _status("VmRSS")


def _peak() -> int:
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _status("VmHWM")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    sys.exit(main())
