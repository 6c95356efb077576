"""Quantised variants, by compressed-tensors, in files that transformers and vLLM read.

Weights of linear layers are rounded to the nearest of 2^bits steps, per row (int8) or per group of inputs in a row
(int4); embeddings, norms and the output layer stay. There is no calibration; the loss that it costs is measured.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from qwen_shared.backend import device
from qwen_shared.convert.hf_files import weight_files
from qwen_shared.errors import UserError
from qwen_shared.generation.load import load_model
from qwen_shared.log import say
from qwen_shared.publish.checkpoint import Checkpoint
from qwen_shared.publish.evaluation import Quantised, Variant
from qwen_shared.publish.held_out import Document, held_out_documents
from qwen_shared.publish.provenance import ParentRow
from qwen_shared.run.paths import cache_dir

_GROUPS = (128, 64, 32)  # group sizes that kernels support
_TOKENIZER_FILES = ("tokenizer", "special_tokens", "chat_template", "qwen.tiktoken", "vocab", "merges")  # beginnings
_BATCH_TOKENS = 4096


def quantise(
    checkpoint: Checkpoint, directory: Path, parents: Sequence[ParentRow], variants: dict[str, int]
) -> Quantised:
    """Write `directory`/NAME for each variant (name → bits), and measure all on the same held-out tokens.

    Raises UserError if there is no held-out text, or if a layer's inputs divide into no group size.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # saving imports DeepSpeed, which else looks for a GPU
    model = load_model(directory)
    documents = held_out_documents(checkpoint, parents, cache_dir(), model.config.max_position_embeddings)
    loss, tokens = mean_loss(model, documents)
    found = []
    for name, bits in variants.items():
        del model
        model = load_model(directory)
        say(f"making {name}")
        _write(model, directory, directory / name, bits)
        del model
        model = load_model(directory / name)
        found.append(Variant(name, _weight_bytes(directory / name), mean_loss(model, documents)[0]))
        say(f"{name}: loss {found[-1].loss:.4f}, without it {loss:.4f}")
    return Quantised(loss, tokens, _weight_bytes(directory), found)


def _write(model: PreTrainedModel, source: Path, target: Path, bits: int) -> None:
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        apply_quantization_config,
    )
    from compressed_tensors.quantization.utils import calculate_qparams

    head = [name for name, module in model.named_modules() if module is model.get_output_embeddings()]
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n not in head}
    group = None if bits == 8 else _group_size([layer.in_features for layer in layers.values()])
    steps = QuantizationArgs(
        num_bits=bits, type="int", strategy="group" if group else "channel", group_size=group, symmetric=True
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=steps)
    apply_quantization_config(model, QuantizationConfig(config_groups={"group_0": scheme}, ignore=head))
    for layer in layers.values():
        parts: Tensor = layer.weight.data.unflatten(1, (-1, group or layer.in_features))  # [F, groups, H / groups]
        layer.get_parameter("weight_scale").data.copy_(calculate_qparams(parts.amin(-1), parts.amax(-1), steps)[0])
    compressor = ModelCompressor.from_pretrained_model(model, "pack-quantized")
    compressor.compress_model(model)
    model.save_pretrained(target)
    compressor.update_config(target)
    for path in source.iterdir():
        if path.name.startswith(_TOKENIZER_FILES):
            shutil.copyfile(path, target / path.name)
    for path in target.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner can read


def _group_size(inputs: list[int]) -> int:
    for size in _GROUPS:
        if all(count % size == 0 for count in inputs):
            return size
    odd = next(count for count in inputs if count % _GROUPS[-1])
    raise UserError(
        f"--quantise int4: a layer of {odd} inputs does not divide into groups of {_GROUPS[-1]}; int8 works"
    )


def _weight_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in weight_files(directory))


# ---- loss


@torch.no_grad()
def mean_loss(model: torch.nn.Module, documents: Sequence[Document]) -> tuple[float, int]:
    """Mean loss in nats over the tokens of the masks, and their number."""
    total, count = 0.0, 0
    for batch in _batches(documents):
        width = max(len(document) for document, _ in batch)
        tokens, mask = np.zeros((len(batch), width), np.int64), np.zeros((len(batch), width), bool)
        for i, (document, document_mask) in enumerate(batch):
            tokens[i, : len(document)], mask[i, : len(document)] = document, document_mask
        # Padding is on the right and outside the masks, so it changes nothing.
        ids = torch.from_numpy(tokens).to(device())  # [B, S]
        in_loss = torch.from_numpy(mask[:, 1:]).to(device())
        logits = model(ids[:, :-1]).logits.float()  # [B, S - 1, V]
        losses = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")  # [B, S - 1]
        total += (losses * in_loss).sum(dtype=torch.float64).item()
        count += int(in_loss.sum())
    return total / max(1, count), count


def _batches(documents: Sequence[Document]) -> list[list[Document]]:
    batches: list[list[Document]] = []
    for document in sorted(documents, key=lambda document: -len(document[0])):
        if len(document[0]) < 2:
            continue
        if not batches or (len(batches[-1]) + 1) * len(batches[-1][0][0]) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(document)
    return batches
