"""Exports a checkpoint as a Hugging Face directory.

`certificate.json` proves that every tensor, read back, is bit-equal to the checkpoint's, and that the logits of both
models agree in fp32.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor

from qwen_shared.convert.checkpoint import read_checkpoint
from qwen_shared.convert.families import hf_config
from qwen_shared.convert.import_hf import hf_tensors
from qwen_shared.convert.names import HF_EMBEDDING, HF_OUTPUT, megatron_names, to_hf, to_megatron
from qwen_shared.convert.proof import bit_equal, proof_tokens, prove_logits
from qwen_shared.files import replace_directory
from qwen_shared.recipe.schema import Model
from qwen_shared.tokenizer import Tokenizer

_SHARD_BYTES = 4 << 30


def export_checkpoint(
    checkpoint: Path,
    target: Path,
    model: Model,
    padded_vocab_size: int,
    seq_length: int,
    tokenizer: Tokenizer,
    step: int,
) -> dict:
    """Replaces `target` by the export of `checkpoint` and returns the certificate.

    Runs in one process with all parallel sizes 1. Raises RuntimeError if a proof fails; `target` is then unchanged.
    """
    whole = read_checkpoint(checkpoint, model)
    temporary = target.with_name(f".{target.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    _write_model(temporary, model, padded_vocab_size, seq_length, tokenizer, whole)
    tokenizer.save_hf(temporary)
    certificate = {
        "checkpoint": checkpoint.name,
        "step": step,
        "tensors": prove_tensors(temporary, model, whole),
        "logits": prove_logits(
            temporary,
            model,
            padded_vocab_size,
            lambda name, shape: whole[name],
            proof_tokens(tokenizer, padded_vocab_size),
        ),
    }
    (temporary / "certificate.json").write_text(json.dumps(certificate, indent=2) + "\n")
    replace_directory(temporary, target)
    return certificate


def _write_model(
    directory: Path,
    model: Model,
    padded_vocab_size: int,
    seq_length: int,
    tokenizer: Tokenizer,
    whole: dict[str, Tensor],
) -> None:
    from transformers import AutoModelForCausalLM, GenerationConfig

    config = hf_config(model, padded_vocab_size, seq_length, tokenizer, next(iter(whole.values())).dtype)
    with torch.device("meta"):
        hf_model = AutoModelForCausalLM.from_config(config)
    state = {k: v for name, tensor in whole.items() for k, v in to_hf(model, name, tensor).items()}
    if model.tied_embeddings:
        state[HF_OUTPUT] = state[HF_EMBEDDING]
    missing = set(hf_model.state_dict()) ^ set(state)
    if missing:
        raise RuntimeError(f"the Hugging Face model and the export differ in {sorted(missing)[:4]}")
    hf_model.load_state_dict(state, assign=True)
    hf_model.tie_weights()
    # No sampling settings: transformers would warn at every greedy generation.
    hf_model.generation_config = GenerationConfig(
        eos_token_id=list(tokenizer.stop_ids), pad_token_id=tokenizer.pad_id, max_new_tokens=min(512, seq_length)
    )
    hf_model.save_pretrained(directory, max_shard_size=_SHARD_BYTES)
    for path in directory.iterdir():
        path.chmod(0o644)  # safetensors writes with 0600


def prove_tensors(directory: Path, model: Model, whole: dict[str, Tensor]) -> dict:
    """Compares every tensor in `directory` with `whole`. Raises RuntimeError if one is not bit-equal."""
    read = hf_tensors(directory)
    for name in megatron_names(model):
        if not bit_equal(to_megatron(model, name, read), whole[name].cpu()):
            raise RuntimeError(f"export: {name} did not come back bit-equal from {directory}")
    return {"compared": len(whole), "bit_equal": True}
