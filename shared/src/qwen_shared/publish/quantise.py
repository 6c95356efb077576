"""Variants with smaller weights, by compressed-tensors, whose files transformers and vLLM read.

The weights of the linear layers are rounded to the nearest of 2^bits steps, per row (int8) or per group of inputs in a
row (int4); embeddings, norms and the output layer stay. Nothing is calibrated: what that costs is measured.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from qwen_shared.convert.hf_files import weight_files
from qwen_shared.errors import UserError
from qwen_shared.generation.load import load_model
from qwen_shared.log import say
from qwen_shared.publish.evaluation import Quantised, Variant
from qwen_shared.publish.held_out import held_out_documents
from qwen_shared.publish.lineage import Forebear
from qwen_shared.publish.loss import mean_loss
from qwen_shared.publish.subject import Subject
from qwen_shared.run.paths import cache_dir

_GROUPS = (128, 64, 32)  # what kernels are made for
_BESIDES = ("tokenizer", "special_tokens", "chat_template", "qwen.tiktoken", "vocab", "merges")


def quantise(subject: Subject, directory: Path, forebears: Sequence[Forebear], variants: dict[str, int]) -> Quantised:
    """Write `directory`/NAME for each variant of so many bits, and measure them all on the same held-out tokens.

    Raises UserError where there is nothing to measure on, and for layers that fall into no groups.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed, which saving asks for, looks for a GPU otherwise
    model = load_model(directory)
    documents = held_out_documents(subject, forebears, cache_dir(), model.config.max_position_embeddings)
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


def _write(model: nn.Module, source: Path, target: Path, bits: int) -> None:
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
        layer.weight_scale.data.copy_(calculate_qparams(parts.amin(-1), parts.amax(-1), steps)[0])
    compressor = ModelCompressor.from_pretrained_model(model, "pack-quantized")
    compressor.compress_model(model)
    model.save_pretrained(target)
    compressor.update_config(target)
    for path in source.iterdir():
        if path.name.startswith(_BESIDES):
            shutil.copyfile(path, target / path.name)
    for path in target.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner reads


def _group_size(inputs: list[int]) -> int:
    for size in _GROUPS:
        if all(count % size == 0 for count in inputs):
            return size
    odd = next(count for count in inputs if count % _GROUPS[-1])
    raise UserError(f"--quantise int4: a layer of {odd} inputs does not fall into groups of {_GROUPS[-1]}; int8 works")


def _weight_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in weight_files(directory))
