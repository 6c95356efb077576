"""Training speed and memory on one GPU: this suite, and Hugging Face's model of the same size beside it.

    python3 benchmarks/gpu_throughput.py --out gpu.json
    python3 benchmarks/gpu_throughput.py --micro-batches 1 2 4 --recompute none full --out gpu.json
    python3 benchmarks/gpu_throughput.py --config tiny --out cpu.json model.padded_vocab_size=8192   # without a GPU

Needs this repository, not installed, and the machine's own torch; tokens are drawn, no data is read. Of other packages
it names what is missing. They are pure Python but for pydantic-core, and can be carried along in a folder that was
filled where packages can be had, for the same Python version and processor:

    uv pip install --target carried --no-deps megatron-core pydantic pydantic-core annotated-types typing-inspection
    PYTHONPATH=carried python3 benchmarks/gpu_throughput.py --out gpu.json

Every line of the table is a process of its own, so that one that runs out of memory ends nothing but itself. `--out` is
written after each. MFU counts the FLOPs of qwen_shared.model.sizes (recomputation is not counted as work) against the
data sheet's dense bf16 peak. The peer is transformers' model with SDPA in a plain loop with torch's fused AdamW: once
with fp32 weights under bf16 autocast, which keeps as much precision as the suite does, and once wholly in bf16.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
import warnings
from collections import namedtuple
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_NEEDED = {  # import name → what to install
    "torch": "torch",
    "numpy": "numpy",
    "yaml": "pyyaml",
    "pydantic": "pydantic",
    "psutil": "psutil",
    "packaging": "packaging",
    "megatron.core": "megatron-core",
}
_PEERS = ("fp32 weights, autocast", "bf16 weights")
_PATIENCE = 900.0  # seconds for one line


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="1.8b", help="recipe name or YAML file (default: 1.8b)")
    parser.add_argument("--micro-batches", type=int, nargs="+", default=[1, 2, 4], help="sizes (default: 1 2 4)")
    parser.add_argument("--recompute", nargs="+", choices=("none", "selective", "full"), default=["none", "full"])
    parser.add_argument("--accumulate", type=int, default=4, help="micro-batches of one optimizer step (default: 4)")
    parser.add_argument("--steps", type=int, default=5, help="timed optimizer steps (default: 5)")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them (default: 2)")
    parser.add_argument("--no-peer", action="store_true", help="this suite alone")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file")
    parser.add_argument("--line", help=argparse.SUPPRESS)  # one line of the table, as JSON: what the processes get
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe keys")
    args = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT / "shared" / "src"))
    if missing := [package for name, package in _NEEDED.items() if not _can_import(name)]:
        print(f"gpu_throughput: missing: {', '.join(missing)} (the docstring says how to carry them)", file=sys.stderr)
        return 2
    from qwen_shared.errors import UserError

    try:
        if args.line:
            print(json.dumps(run_line(json.loads(args.line))))
            return 0
        return _all_lines(args)
    except UserError as error:
        print(f"gpu_throughput: error: {error}", file=sys.stderr)
        return 2


def _can_import(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def _all_lines(args: argparse.Namespace) -> int:
    import torch
    from report import machine, save

    from qwen_shared.backend import matmul_peak

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if gpu is None:
        print("no GPU here: these are a CPU's figures and say nothing of a GPU")
    peers = () if args.no_peer or not _can_import("transformers") else _PEERS
    common = {key: getattr(args, key) for key in ("config", "overrides", "accumulate", "steps", "warmup")}
    figures = {"machine": {"gpu": gpu, **machine()}, **common, "peak_flops_per_second": matmul_peak(), "lines": []}
    plan = [
        *itertools.product(["suite"], args.micro_batches, args.recompute),
        *itertools.product(peers, args.micro_batches, [r for r in args.recompute if r != "selective"]),
    ]
    print(f"{'':24} {'batch':>5} {'recompute':>10} {'tokens/s':>10} {'MFU':>7} {'GiB':>7}")
    for who, micro_batch, recompute in plan:
        line = {"who": who, "micro_batch": micro_batch, "recompute": recompute}
        figures["lines"].append(line | _as_only_process(common | line, args.out))
        save(figures, "", "", args.out)
        print(_row(figures["lines"][-1]), flush=True)
    return 0


def _as_only_process(job: dict[str, Any], out: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--out", str(out), "--line", json.dumps(job)]
    paths = [str(ROOT / "shared" / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {_PATIENCE:.0f} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = (done.stderr.strip() or "no message").splitlines()[-1]
    return {"failed": "out of memory" if "OutOfMemoryError" in done.stderr else said[:300]}


def _row(line: dict[str, Any]) -> str:
    start = f"{line['who']:24} {line['micro_batch']:5} {line['recompute']:>10} "
    if "failed" in line:
        return start + line["failed"]
    mfu = f"{line['mfu']:7.1%}" if line["mfu"] else f"{'-':>7}"
    return start + f"{line['tokens_per_second']:10,.0f} {mfu} {line['peak_memory_bytes'] / 2**30:7.2f}"


def run_line(job: dict[str, Any]) -> dict[str, Any]:
    """One line of the table: median seconds of an optimizer step, and what follows from it."""
    warnings.simplefilter("ignore")  # what libraries say while they are imported
    import torch
    from report import base_recipe, median

    from qwen_shared.backend import matmul_peak, peak_memory_bytes, stop_processes, synchronize
    from qwen_shared.model.sizes import flops_per_token, pad_vocab_size

    samples = job["micro_batch"] * job["accumulate"]
    sizes = [f"training.micro_batch_size={job['micro_batch']}", f"training.global_batch_size={samples}"]
    ours = ["data.sources=[stdlib]", "parallel.tensor_parallel=1", "parallel.pipeline_parallel=1"]  # no source is read
    recompute = f"parallel.recompute={job['recompute']}"
    recipe = base_recipe(job["config"], [*ours, *job["overrides"], *sizes, recompute])
    rows = recipe.model.padded_vocab_size
    if rows is None:
        from qwen_shared.tokenizer import load_tokenizer

        rows = pad_vocab_size(recipe.model, load_tokenizer(recipe.tokenizer).vocab_size, 1)

    torch.manual_seed(0)
    step, parameters = (_suite if job["who"] == "suite" else _peer)(recipe, rows, job)
    seconds = []
    for _ in range(job["warmup"] + job["steps"]):
        synchronize()
        began = time.perf_counter()
        loss = step()
        synchronize()
        seconds.append(time.perf_counter() - began)
    stop_processes()
    tokens = samples * recipe.data.seq_length
    speed = tokens / median(seconds[job["warmup"] :])
    flops, peak = flops_per_token(recipe.model, rows, recipe.data.seq_length), matmul_peak()
    return {
        "tokens_per_second": speed,
        "mfu": speed * flops / peak if peak else None,
        "peak_memory_bytes": peak_memory_bytes(),
        "seconds_per_step": seconds[job["warmup"] :],
        "tokens_per_step": tokens,
        "parameters": parameters,
        "loss": loss,
    }


def _suite(recipe, rows: int, job: dict[str, Any]):
    """A function that takes one optimizer step and returns its loss, and the number of parameters."""
    import torch

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import device, seed_everything, start_processes
        from qwen_shared.training.engine import Engine, MicroBatch
    from qwen_shared.model.weights import random_source
    from qwen_shared.recipe import check_layout

    processes = start_processes()
    seed_everything(recipe.seed)
    weights = random_source(recipe.seed, recipe.model.num_layers, recipe.model.init_std, device())
    engine = Engine(recipe, check_layout(recipe, 1), processes, "bf16", rows, weights)
    batches = [
        MicroBatch(tokens[:, :-1], tokens[:, 1:], torch.ones(1, *tokens[:, 1:].shape, device=tokens.device))
        for tokens in _tokens(recipe, rows, job["accumulate"])
    ]
    parameters = sum(p.numel() for chunk in engine.model_chunks for p in chunk.parameters())
    return lambda: engine.train_step(iter(batches), recipe.optimizer.lr).loss, parameters


def _peer(recipe, rows: int, job: dict[str, Any]):
    """The same of transformers' model."""
    import torch
    from transformers import AutoModelForCausalLM

    from qwen_shared.backend import device
    from qwen_shared.convert.families import hf_config

    dtype = torch.bfloat16 if job["who"] == "bf16 weights" else torch.float32
    ids = namedtuple("Ids", "eod_id pad_id")(0, 0)  # of a tokenizer, which training does not need
    config = hf_config(recipe.model, rows, recipe.data.seq_length, ids, dtype)
    with device():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa").train()
    model.config.use_cache = False
    if job["recompute"] == "full":
        model.gradient_checkpointing_enable()
    o = recipe.optimizer
    optimizer = torch.optim.AdamW(
        model.parameters(), o.lr, (o.beta1, o.beta2), o.eps, weight_decay=o.weight_decay, fused=True
    )
    batches = [tokens[:, :-1] for tokens in _tokens(recipe, rows, job["accumulate"])]

    def step() -> float:
        total = torch.zeros((), device=device())
        for tokens in batches:
            with torch.autocast(device().type, torch.bfloat16, enabled=dtype == torch.float32):
                loss = model(input_ids=tokens, labels=tokens).loss / len(batches)
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), o.clip_grad)
        optimizer.step()
        optimizer.zero_grad()
        return total.item()

    return step, sum(p.numel() for p in model.parameters())


def _tokens(recipe, rows: int, count: int):
    """`count` micro-batches of random tokens [B, S + 1] on the device."""
    import torch

    from qwen_shared.backend import device

    shape = (recipe.training.micro_batch_size, recipe.data.seq_length + 1)
    return [torch.randint(0, rows, shape, device=device()) for _ in range(count)]


if __name__ == "__main__":
    sys.exit(main())
