"""Megatron on the CPU: every patch of the adaptation is still needed, and nobody else is misled by it."""

import os
import sys
import traceback

import pytest
import torch

from qwen_shared.backend.cpu import PATCHES

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the adaptation is for machines without CUDA")


def _smallest_run(directory: str) -> None:
    """One step, saved and loaded: everything on the suite's path through Megatron."""
    from pathlib import Path

    from qwen_shared.backend import seed_everything
    from qwen_shared.model.weights import random_source
    from qwen_shared.recipe import PretrainRecipe, check_layout
    from qwen_shared.training.checkpoint import load_checkpoint
    from qwen_shared.training.engine import Engine, MicroBatch
    from qwen_shared.training.saving import save_checkpoint

    recipe = PretrainRecipe.model_validate(
        {
            "name": "x",
            "model": {"num_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "ffn_hidden_size": 16},
            "data": {"sources": "stdlib", "seq_length": 8},
            "training": {"steps": 2, "global_batch_size": 2},
            "optimizer": {"lr": 1e-3},
            "checkpoint": {"interval": 1},
            "evaluation": {"interval": 1},
        }
    )
    from qwen_shared.backend import start_processes

    processes = start_processes()
    seed_everything(0)
    weights = random_source(0, 1, 0.02, torch.device("cpu"))
    engine = Engine(recipe, check_layout(recipe, 1), processes, "bf16", 128, weights)
    tokens = torch.arange(8)[None]
    batch = MicroBatch(tokens, tokens, torch.ones(1, 1, 8))
    engine.train_step(iter([batch, batch]), 1e-3)
    save_checkpoint(Path(directory), 1, engine, {"step": 1, "world_size": 1})
    load_checkpoint(Path(directory), 1, engine)


def _in_child(patch: str | None, directory: str) -> tuple[bool, str]:
    """Whether the run works with that patch left out, in a process of its own, and what it said if not."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        ok, said = True, ""
        try:
            from qwen_shared.backend import cpu

            torch.set_num_threads(1)
            cpu.install(leave_out=patch)
            _smallest_run(directory)
        except BaseException:
            ok, said = False, traceback.format_exc()
        os.write(write, said.encode()[-2000:])
        os._exit(0 if ok else 1)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, said


def test_each_piece_is_still_needed(tmp_path):
    """Where this fails, Megatron-core (or torch) has learnt to do without a patch: delete it from backend/cpu.py."""
    import subprocess

    script = (
        "import runpy, sys\n"
        "from qwen_shared.backend.quick_import import quick_import\n"
        "with quick_import():\n    import qwen_shared.training.engine, qwen_shared.training.checkpoint\n"
        f"tests = runpy.run_path({__file__!r})\n"
        f"for patch in [None, *{list(PATCHES)!r}]:\n"
        f"    ok, said = tests['_in_child'](patch, {str(tmp_path)!r} + '/' + str(patch))\n"
        "    print('RESULT', patch, ok, said.strip().splitlines()[-1:], sep='|')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200)
    lines = [line.split("|") for line in done.stdout.splitlines() if line.startswith("RESULT")]
    results = {patch: (ok == "True", said) for _, patch, ok, said in lines}
    assert results.keys() == {"None", *PATCHES}, done.stdout + done.stderr
    assert results["None"][0], results["None"][1]
    unneeded = [patch for patch in PATCHES if results[patch][0]]
    assert not unneeded, f"Megatron works without {unneeded}"


def test_only_megatron_sees_cuda_types(megatron):
    assert torch.zeros(1).type() == "torch.FloatTensor"
    assert torch.zeros(1).type(torch.int64).dtype == torch.int64
    with pytest.raises((RuntimeError, AssertionError)):
        torch.zeros(1, device="cuda")  # other libraries still learn that there is no GPU
    assert not torch.cuda.is_available()
