"""Exports a model in Hugging Face form, with proof."""

from __future__ import annotations

import json
import shutil
from os import PathLike
from pathlib import Path
from typing import Protocol

import torch
from transformers import PreTrainedModel

from qwen_shared.backend import device
from qwen_shared.files import replace_directory
from qwen_shared.log import say

_SHARD_BYTES = 4 << 30


class SavedTokenizer(Protocol):
    @property
    def vocab_size(self) -> int: ...

    def save_hf(self, directory: str | PathLike[str]) -> None: ...


def export_hf(model: PreTrainedModel, tokenizer: SavedTokenizer, run_dir: Path, step: int) -> None:
    """Writes RUN/export and proves it: every tensor reads back bit-equal, with the same outputs. Rank 0 only.

    Raises RuntimeError if the proof fails; the last export then stays.
    """
    target = run_dir / "export"
    temporary = target.with_name(".export.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    say(f"exporting to {target}, and proving it")
    model.save_pretrained(temporary, max_shard_size=_SHARD_BYTES)
    tokenizer.save_hf(temporary)
    for path in temporary.iterdir():
        path.chmod(0o644)  # safetensors makes files private
    certificate = {"checkpoint": f"step-{step:08d}", "step": step} | _prove(model, temporary, tokenizer)
    (temporary / "certificate.json").write_text(json.dumps(certificate, indent=2) + "\n")
    replace_directory(temporary, target)


@torch.no_grad()
def _prove(model: PreTrainedModel, directory: Path, tokenizer: SavedTokenizer) -> dict:
    kind: type[PreTrainedModel] = type(model)
    read = kind.from_pretrained(directory, dtype=model.dtype, use_safetensors=True, local_files_only=True)
    read = torch.nn.Module.to(read, device()).eval()
    ours, theirs = model.state_dict(), read.state_dict()
    for name, tensor in ours.items():
        if not torch.equal(theirs[name], tensor.to(device())):
            raise RuntimeError(f"export: {name} did not come back bit-equal from {directory}")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(tokenizer.vocab_size, (2, 32), generator=generator).to(device())
    was_training = model.training
    difference = (model.eval()(ids).logits - read(ids).logits).abs().max().item()
    model.train(was_training)
    if difference > 1e-3:
        raise RuntimeError(f"export: outputs of the model read from {directory} differ by {difference:.1e}")
    return {"tensors": {"compared": len(ours), "bit_equal": True}, "logits": {"max_difference": difference}}
