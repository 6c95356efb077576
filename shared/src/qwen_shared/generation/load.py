"""A model in Hugging Face form, ready to run on this process's device."""

from __future__ import annotations

from pathlib import Path

from qwen_shared.backend import device
from qwen_shared.errors import UserError


def load_model(directory: Path):
    """The causal language model in `directory` (safetensors only), for inference, in the dtype it is stored in.

    Code that lies beside it is never run, and nobody is asked whether it should be. Raises UserError where there is no
    model, or none without such code.
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
