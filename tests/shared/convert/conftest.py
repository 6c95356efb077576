"""Random Hugging Face models of every family, biases and norms random too, in directories."""

from pathlib import Path

import pytest

ROWS = 8192  # the embedded tokenizer's
SIZES = {
    "vocab_size": ROWS,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
FAMILIES = {
    "Qwen1.5": ("qwen2", {"num_key_value_heads": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "Qwen2": ("qwen2", {"rms_norm_eps": 1e-5}),
    "Qwen2.5, tied": ("qwen2", {"tie_word_embeddings": True}),
    "Qwen3, tied": ("qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "Qwen3": ("qwen3", {"head_dim": 12}),
    "Llama": ("llama", {"rms_norm_eps": 1e-5}),
    "Llama 3": ("llama", {"rope_parameters": LLAMA3}),
    "Llama 3, tied": ("llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True, "head_dim": 16}),
}


def _save_random(directory: Path, family: str, changes: dict, dtype) -> None:
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**SIZES | changes)).to(dtype)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            random = 0.1 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + random if "norm" in name else random)
    model.save_pretrained(directory)


@pytest.fixture(scope="session")
def hf_directory(tmp_path_factory, megatron):
    """hf_directory(name, "fp32" or "bf16"): one of FAMILIES in a directory of its own, made when first asked for."""
    import torch

    made: dict[tuple[str, str], Path] = {}

    def directory(name: str, precision: str = "fp32") -> Path:
        if (name, precision) not in made:
            made[name, precision] = tmp_path_factory.mktemp("hf") / name.replace(", ", "-").replace(" ", "-")
            _save_random(
                made[name, precision], *FAMILIES[name], torch.float32 if precision == "fp32" else torch.bfloat16
            )
        return made[name, precision]

    directory.names = list(FAMILIES)
    return directory
