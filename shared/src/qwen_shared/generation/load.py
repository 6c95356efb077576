"""Loads a model in Hugging Face form."""

from __future__ import annotations

from pathlib import Path

from qwen_shared.backend import device
from qwen_shared.errors import UserError


def load_model(directory: Path):
    r"""The causal language model in `directory` (safetensors only), on this process's device, in its stored dtype.

    Never runs code from the directory. Raises UserError if there is no model or it needs such code.
    """
    from transformers import AutoModelForCausalLM

    if not (directory / "config.json").is_file():
        raise UserError(f"{directory}: not a Hugging Face model directory, it has no config.json")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            directory, dtype="auto", use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{directory}: cannot be loaded: {error}") from None
    return model.eval().to(device())
