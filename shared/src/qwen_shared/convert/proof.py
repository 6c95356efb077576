"""Proofs that a Hugging Face directory and a Megatron model are the same: bit-equal tensors, equal logits."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch
from torch import Tensor

from qwen_shared.backend import device
from qwen_shared.model.builder import build_model
from qwen_shared.model.sizes import parameter_count
from qwen_shared.model.weights import WeightSource, fill
from qwen_shared.recipe.schema import Model, Parallel
from qwen_shared.tokenizer import Tokenizer

LOGIT_TOLERANCE = 1e-4  # relative to the largest logit, at least 1


def bit_equal(a: Tensor, b: Tensor) -> bool:
    """Same dtype, shape and bits: NaN equals itself, and -0 is not 0."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a.contiguous().flatten().view(torch.uint8), b.contiguous().flatten().view(torch.uint8))


@torch.no_grad()
def prove_logits(
    directory: Path,
    model: Model,
    padded_vocab_size: int,
    source: WeightSource,
    tokens: Tensor,
) -> dict:
    """Compares Megatron's logits, with weights from `source`, and those of transformers' model in `directory`.

    In fp32, over as many of the first layers as fit into memory (`layers` of the result). Runs in one process with all
    parallel sizes 1. Raises RuntimeError if logits differ.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    layers = _layers_that_fit(model, padded_vocab_size)
    part = model.model_copy(update={"num_layers": layers})
    megatron = build_model(part, padded_vocab_size, Parallel(), "fp32")
    fill(megatron, source)
    ours = megatron[0].eval()(tokens.to(device())).float().cpu()
    del megatron
    config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    theirs = AutoModelForCausalLM.from_pretrained(
        directory,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    theirs = theirs.eval()(tokens).logits
    difference, largest = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    if not difference <= LOGIT_TOLERANCE * max(1.0, largest):
        raise RuntimeError(
            f"{directory}: logits differ by {difference:.2e} from transformers', the largest {largest:.2e}"
        )
    return {
        "precision": "fp32",
        "batch": list(tokens.shape),
        "layers": layers,
        "largest_logit": largest,
        "max_difference": difference,
    }


def proof_tokens(tokenizer: Tokenizer, padded_vocab_size: int) -> Tensor:
    """A fixed batch [2, 64] of ids from the whole vocabulary, with an end of document inside."""
    ids = min(tokenizer.vocab_size, padded_vocab_size)  # a tokenizer may have more ids than an import has rows
    tokens = torch.randint(0, ids, (2, 64), generator=torch.Generator().manual_seed(0))
    tokens[0, 30] = min(tokenizer.eod_id, ids - 1)
    return tokens


def _layers_that_fit(model: Model, padded_vocab_size: int) -> int:
    free = psutil.virtual_memory().available
    if torch.cuda.is_available():
        free = min(free, torch.cuda.mem_get_info()[0])
    none = parameter_count(model.model_copy(update={"num_layers": 0}), padded_vocab_size)
    each = (parameter_count(model, padded_vocab_size) - none) / model.num_layers
    spare = free / 5 - none  # 4 bytes a parameter, and some more
    return max(1, min(model.num_layers, int(spare / each)))
