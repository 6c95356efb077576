"""Weights from a Hugging Face directory, read one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from qwen_shared.convert.families import family, read_model
from qwen_shared.convert.hf_files import check_weights, stored_tensors
from qwen_shared.convert.names import EMBEDDING, HF_EMBEDDING, HF_OUTPUT, OUTPUT, megatron_names, to_hf, to_megatron
from qwen_shared.convert.proof import bit_equal, proof_tokens, prove_logits
from qwen_shared.errors import UserError
from qwen_shared.model.weights import WeightSource
from qwen_shared.tokenizer import Tokenizer


def hf_source(directory: Path) -> WeightSource:
    """The weights in their stored dtype. Added rows of embedding and output layer are the mean of the stored rows.

    Raises UserError if `directory` is not a whole model of a known family.
    """
    model = read_model(directory)
    check_weights(directory, model)
    read = hf_tensors(directory)

    def source(name: str, shape: tuple[int, ...]) -> Tensor:
        whole = to_megatron(model, name, read)
        if name in (EMBEDDING, OUTPUT) and shape[0] > whole.shape[0]:
            mean = whole.float().mean(dim=0, keepdim=True).to(whole.dtype)
            whole = torch.cat((whole, mean.expand(shape[0] - whole.shape[0], -1)))
        if tuple(whole.shape) != tuple(shape):
            raise RuntimeError(f"{directory}: {name} is {tuple(whole.shape)}, the model to be built wants {shape}")
        return whole

    return source


def hf_tensors(directory: Path) -> Callable[[str], Tensor]:
    """A function that reads a tensor by name from a directory's safetensors files."""
    stored = stored_tensors(directory)
    files = {path: safe_open(path, framework="pt") for path in {tensor.file for tensor in stored.values()}}
    return lambda name: files[stored[name].file].get_tensor(name)


def prove_import(directory: Path, tokenizer: Tokenizer) -> dict:
    """The certificate of an import: every tensor comes back bit-equal from Megatron's form, and the logits agree.

    Runs in one process with all parallel sizes 1. Raises UserError for weights that cannot be trained (not finite,
    untied), and RuntimeError if a proof fails.
    """
    model = read_model(directory)
    stored = check_weights(directory, model)
    read = hf_tensors(directory)
    compared = 0
    for name in megatron_names(model):
        for hf_name, back in to_hf(model, name, to_megatron(model, name, read)).items():
            original = read(hf_name)
            if not original.isfinite().all():
                raise UserError(f"{directory}: {hf_name} holds values that are not finite")
            if not bit_equal(back, original):
                raise RuntimeError(f"{directory}: {hf_name} did not come back bit-equal")
            compared += 1
    if model.tied_embeddings and HF_OUTPUT in stored and not bit_equal(read(HF_OUTPUT), read(HF_EMBEDDING)):
        raise UserError(
            f"{directory}: config.json says tie_word_embeddings=true, but {HF_OUTPUT} is not {HF_EMBEDDING}"
        )
    rows = model.padded_vocab_size
    assert rows is not None
    return {
        "family": family(model),
        "stored": sorted({tensor.dtype for tensor in stored.values()}),
        "tensors": {"compared": compared, "bit_equal": True},
        "logits": prove_logits(directory, model, rows, hf_source(directory), proof_tokens(tokenizer, rows)),
    }
