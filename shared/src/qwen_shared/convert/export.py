"""A checkpoint as a Hugging Face directory that proves it is the same model.

Two proofs go into `certificate.json`: every tensor, read back from the written files and turned into Megatron's form,
is bit-equal to the checkpoint's; and the logits of the Megatron model and of the loaded Hugging Face model agree in
fp32 on a fixed batch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from qwen_shared.backend import device
from qwen_shared.convert.checkpoint_tensors import read_checkpoint
from qwen_shared.convert.names import megatron_names, to_hf, to_megatron
from qwen_shared.model.builder import build_model, unwrap
from qwen_shared.model.weights import fill
from qwen_shared.recipe.schema import Model, Parallel
from qwen_shared.tokenizer import Tokenizer

LOGIT_TOLERANCE = 1e-4
_SHARD_BYTES = 4 << 30


def export_checkpoint(
    checkpoint: Path, target: Path, model: Model, vocab_rows: int, seq_length: int, tokenizer: Tokenizer, step: int
) -> dict:
    """Write `target` (replacing it) from `checkpoint`; returns the certificate.

    Runs in one process with tensor and pipeline parallel 1. Raises RuntimeError where a proof fails, and then
    `target` keeps what it held.
    """
    from transformers import GenerationConfig, Qwen2ForCausalLM

    whole = read_checkpoint(checkpoint, model)
    temporary = target.with_name(f".{target.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    config = hf_config(model, vocab_rows, seq_length, tokenizer, next(iter(whole.values())).dtype)
    with torch.device("meta"):
        hf_model = Qwen2ForCausalLM(config)
    state = {k: v for name, tensor in whole.items() for k, v in to_hf(model, name, tensor).items()}
    missing = set(hf_model.state_dict()) ^ set(state)
    if missing:
        raise RuntimeError(f"the Hugging Face model and the export differ in {sorted(missing)[:4]}")
    hf_model.load_state_dict(state, assign=True)
    # No sampling settings: they would only warn whoever generates greedily.
    hf_model.generation_config = GenerationConfig(
        eos_token_id=list(tokenizer.stop_ids), pad_token_id=tokenizer.pad_id, max_new_tokens=min(512, seq_length)
    )
    hf_model.save_pretrained(temporary, max_shard_size=_SHARD_BYTES)
    for path in temporary.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner reads
    tokenizer.save_hf(temporary)

    certificate = {
        "checkpoint": checkpoint.name,
        "step": step,
        "tensors": _prove_tensors(temporary, model, whole),
        "logits": _prove_logits(temporary, model, vocab_rows, whole, tokenizer),
    }
    (temporary / "certificate.json").write_text(json.dumps(certificate, indent=2) + "\n")
    _replace_directory(temporary, target)
    return certificate


def hf_config(model: Model, vocab_rows: int, seq_length: int, tokenizer: Tokenizer, dtype: torch.dtype):
    """Qwen is Qwen2 with as many key-value heads as heads and untied embeddings."""
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=vocab_rows,
        hidden_size=model.hidden_size,
        intermediate_size=model.ffn_hidden_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_attention_heads,
        num_key_value_heads=model.num_attention_heads,
        max_position_embeddings=seq_length,
        rms_norm_eps=model.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_base},
        tie_word_embeddings=False,
        initializer_range=model.init_std,
        use_sliding_window=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eod_id,
        pad_token_id=tokenizer.pad_id,
        dtype=dtype,
    )


def hf_tensors(directory: Path) -> Callable[[str], Tensor]:
    """Look-up of a tensor by name in a directory's safetensors files."""
    files = {}
    for path in sorted(directory.glob("*.safetensors")):
        handle = safe_open(path, framework="pt")
        files.update(dict.fromkeys(handle.keys(), handle))
    return lambda name: files[name].get_tensor(name)


def _prove_tensors(directory: Path, model: Model, whole: dict[str, Tensor]) -> dict:
    read = hf_tensors(directory)
    for name in megatron_names(model.num_layers):
        back = to_megatron(model, name, read)
        if back.dtype != whole[name].dtype or not torch.equal(back, whole[name].cpu()):
            raise RuntimeError(f"export: {name} did not come back bit-equal from {directory}")
    return {"compared": len(whole), "bit_equal": True}


@torch.no_grad()
def _prove_logits(
    directory: Path, model: Model, vocab_rows: int, whole: dict[str, Tensor], tokenizer: Tokenizer
) -> dict:
    from transformers import AutoModelForCausalLM

    tokens = proof_tokens(tokenizer)
    megatron = build_model(model, vocab_rows, Parallel(), "fp32")
    fill(unwrap(megatron), lambda name, shape: whole[name])
    ours = megatron.eval()(tokens.to(device())).float().cpu()
    del megatron
    theirs = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()(tokens).logits
    difference = (ours - theirs).abs().max().item()
    if not difference <= LOGIT_TOLERANCE:
        raise RuntimeError(f"export: logits differ by {difference:.2e}, more than {LOGIT_TOLERANCE:.0e}")
    return {"precision": "fp32", "batch": list(tokens.shape), "max_difference": difference}


def proof_tokens(tokenizer: Tokenizer) -> Tensor:
    """A fixed batch [2, 64]: every part of the vocabulary once, and the end of a document inside."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, tokenizer.vocab_size, (2, 64), generator=generator)
    tokens[0, 30] = tokenizer.eod_id
    return tokens


def _replace_directory(new: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.replace(old)
    new.replace(target)
    shutil.rmtree(old, ignore_errors=True)
