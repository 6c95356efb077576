"""A config.json is read without torch; what cannot be trained is refused in one line that names it."""

import json
import subprocess
import sys

import pytest

from qwen_shared.convert.families import model_from_config, read_model
from qwen_shared.errors import UserError

# As the hub has them: the older form of Qwen2 and Llama 3.1, the newer one of Qwen3.
QWEN2 = {
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
LLAMA = {
    "model_type": "llama",
    "attention_bias": False,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "vocab_size": 128256,
}
QWEN3 = {
    "model_type": "qwen3",
    "attention_bias": False,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "layer_types": ["full_attention"] * 28,
    "max_position_embeddings": 40960,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def test_published_configs():
    qwen2, llama, qwen3 = (model_from_config(config, "config.json") for config in (QWEN2, LLAMA, QWEN3))
    assert (qwen2.qkv_bias, qwen2.qk_norm, qwen2.tied_embeddings) == (True, False, True)
    assert (qwen2.kv_heads, qwen2.head_size, qwen2.rope_base, qwen2.padded_vocab_size) == (2, 64, 1e6, 151936)
    assert (llama.qkv_bias, llama.qk_norm, llama.tied_embeddings) == (False, False, False)
    assert (llama.rope_base, llama.rope_scaling.factor, llama.rope_scaling.original_positions) == (500_000.0, 8.0, 8192)
    assert (llama.norm_eps, llama.max_positions) == (1e-5, 131072)
    assert (qwen3.qkv_bias, qwen3.qk_norm, qwen3.tied_embeddings) == (False, True, True)
    assert (qwen3.head_size, qwen3.rope_base, qwen3.rope_scaling) == (128, 1e6, None)


def test_what_a_config_leaves_out_is_what_transformers_takes():
    old_llama = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    model = model_from_config(old_llama | {"num_attention_heads": 4, "vocab_size": 256}, "config.json")
    assert (model.kv_heads, model.head_size, model.rope_base, model.max_positions) == (4, 16, 10_000.0, 2048)
    assert not model.tied_embeddings


REFUSED = {
    "unknown": (QWEN2 | {"model_type": "qwen"}, ["model_type=qwen", "qwen2, qwen3, llama", "nearest: qwen"]),
    "no type": ({"hidden_size": 3}, ["model_type=None", "qwen2, qwen3, llama"]),
    "mixture": (QWEN3 | {"model_type": "qwen3_moe"}, ["model_type=qwen3_moe", "nearest: qwen3"]),
    "experts": (LLAMA | {"num_local_experts": 8}, ["num_local_experts=8"]),
    "biases": (LLAMA | {"attention_bias": True}, ["attention_bias=true"]),
    "MLP biases": (LLAMA | {"mlp_bias": True}, ["mlp_bias=true"]),
    "Qwen3 biases": (QWEN3 | {"attention_bias": True}, ["attention_bias=true"]),
    "activation": (LLAMA | {"hidden_act": "gelu"}, ["hidden_act=gelu", "silu"]),
    "window": (QWEN2 | {"use_sliding_window": True}, ["sliding_window=32768"]),
    "window by layer": (
        QWEN2 | {"use_sliding_window": True, "layer_types": ["full_attention"] * 23 + ["sliding_attention"]},
        ["sliding_window=32768"],
    ),
    "old rope": (LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.0}}, ["rope_type=linear", "llama3"]),
    "new rope": (QWEN3 | {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, ["rope_type=yarn", "llama3"]),
    "part of a head": (QWEN3 | {"partial_rotary_factor": 0.5}, ["partial_rotary_factor=0.5"]),
    "quantized": (LLAMA | {"quantization_config": {"quant_method": "gptq"}}, ["quantized by gptq"]),
    "missing": ({k: v for k, v in LLAMA.items() if k != "hidden_size"}, ["hidden_size is missing"]),
    "text": (LLAMA | {"hidden_size": "wide"}, ["hidden_size=wide", "number"]),
    "odd heads": (LLAMA | {"num_key_value_heads": 5}, ["num_attention_heads=32", "num_key_value_heads=5"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_named(name):
    config, said = REFUSED[name]
    with pytest.raises(UserError) as error:
        model_from_config(config, "there/config.json")
    for word in ["there/config.json", *said]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_window_that_no_layer_uses_is_none():
    config = QWEN2 | {"use_sliding_window": True, "max_window_layers": 24}
    assert model_from_config(config, "x") == model_from_config(QWEN2, "x")


def test_reading_needs_no_torch(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    code = (
        "import sys; from pathlib import Path\n"
        "from qwen_shared.job.parent import read_model\n"
        f"assert read_model(Path({str(tmp_path)!r})).qk_norm\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'datasets', 'wandb'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_broken_directories(tmp_path):
    with pytest.raises(UserError, match=r"has no config\.json"):
        read_model(tmp_path)
    for text, said in (("{", "damaged"), ("[]", "not a JSON object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=said):
            read_model(tmp_path)
