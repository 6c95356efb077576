"""The parity of a Megatron checkpoint and the files that are published of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qwen_shared.model.sizes import padded_vocab_rows
from qwen_shared.publish.parity import proof_batch
from qwen_shared.publish.subject import Subject
from qwen_shared.recipe import TrainedModel
from qwen_shared.run.manifest import read_recipe
from qwen_shared.tokenizer import Tokenizer


def megatron_parity(subject: Subject, directory: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """See `parity.Parity`. The Megatron model is built anew, in fp32, from the checkpoint itself."""
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import start_processes, stop_processes
        from qwen_shared.convert.checkpoint_tensors import read_checkpoint
        from qwen_shared.convert.export import prove_tensors
        from qwen_shared.convert.proof import prove_logits

    model = read_recipe(subject.run_dir, TrainedModel).model
    rows = padded_vocab_rows(model, tokenizer.vocab_size, tensor_parallel=1)
    start_processes()
    try:
        whole = read_checkpoint(subject.checkpoint, model)
        tensors = prove_tensors(directory, model, whole)
        logits = prove_logits(directory, model, rows, lambda name, _: whole[name], proof_batch(tokenizer, rows))
    finally:
        stop_processes()
    return {"tensors": tensors, "logits": logits}
