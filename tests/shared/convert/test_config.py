"""A config.json is read without torch; what cannot be trained is refused in one line that names it."""

import json
import struct
import subprocess
import sys

import pytest

from qwen_shared.convert.families import model_from_config, read_model
from qwen_shared.convert.hf_files import check_weights, weight_files, weights_hash
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


# ---- weight files, by their headers


def _write(path, tensors: dict[str, tuple[int, ...]], dtype="F32", cut=0) -> None:
    """A safetensors file of zeros."""
    header, end = {}, 0
    for name, shape in tensors.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes((struct.pack("<Q", len(text)) + text + bytes(end))[: -cut or None])


TINY = {"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1}
TINY |= {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True}
TENSORS = {
    "model.embed_tokens.weight": (8, 4),
    "model.norm.weight": (4,),
    "model.layers.0.input_layernorm.weight": (4,),
    "model.layers.0.post_attention_layernorm.weight": (4,),
    "model.layers.0.self_attn.q_proj.weight": (4, 4),
    "model.layers.0.self_attn.k_proj.weight": (2, 4),
    "model.layers.0.self_attn.v_proj.weight": (2, 4),
    "model.layers.0.self_attn.o_proj.weight": (4, 4),
    "model.layers.0.mlp.gate_proj.weight": (6, 4),
    "model.layers.0.mlp.up_proj.weight": (6, 4),
    "model.layers.0.mlp.down_proj.weight": (4, 6),
}


def _check(directory):
    return check_weights(directory, model_from_config(TINY, "config.json"))


def _without(name):
    return {key: shape for key, shape in TENSORS.items() if key != name}


def test_whole_weights(tmp_path):
    extra = {"lm_head.weight": (8, 4), "model.layers.0.self_attn.rotary_emb.inv_freq": (1,)}  # harmless, both
    _write(tmp_path / "model.safetensors", TENSORS | extra)
    assert _check(tmp_path).keys() == (TENSORS | extra).keys()


WRONG = {
    "missing": (_without("model.norm.weight"), "1 tensors .* missing .model.norm.weight"),
    "shape": (TENSORS | {"model.norm.weight": (5,)}, r"model.norm.weight is \[5\], by config.json \[4\]"),
    "strange": (TENSORS | {"model.layers.0.self_attn.q_proj.bias": (4,)}, "no part of .*q_proj.bias"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_weights(name, tmp_path):
    tensors, said = WRONG[name]
    _write(tmp_path / "model.safetensors", tensors)
    with pytest.raises(UserError, match=said):
        _check(tmp_path)


def test_integers_are_no_weights(tmp_path):
    _write(tmp_path / "model.safetensors", TENSORS, dtype="I32")
    with pytest.raises(UserError, match="stored as I32; F32, BF16, F16"):
        _check(tmp_path)


def test_shards(tmp_path):
    names = list(TENSORS)
    for i, part in enumerate((names[:5], names[5:])):
        _write(tmp_path / f"model-{i}.safetensors", {name: TENSORS[name] for name in part})
    index = {"weight_map": {name: f"model-{names.index(name) // 5 and 1}.safetensors" for name in names}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert _check(tmp_path).keys() == TENSORS.keys()
    (tmp_path / "config.json").write_text("{}")
    before = weights_hash(tmp_path)
    assert before == weights_hash(tmp_path)
    _write(tmp_path / "model-1.safetensors", {name: TENSORS[name] for name in names[5:]}, cut=4)
    with pytest.raises(UserError, match=r"model-1.safetensors: damaged or cut short"):
        _check(tmp_path)
    assert weights_hash(tmp_path) != before
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(UserError, match=r"1 of 2 weight files are missing \(model-1.safetensors\)"):
        _check(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../elsewhere.safetensors"}}')
    with pytest.raises(UserError, match="outside its directory"):
        weight_files(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        weight_files(tmp_path)


def test_pickles_are_refused(tmp_path):
    with pytest.raises(UserError, match="no weights"):
        weight_files(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match=r"only pickled weights \(pytorch_model.bin\).*save_pretrained"):
        weight_files(tmp_path)


# ---- what is found only when the values are read


def test_values_that_no_training_could_start_from(hf_directory, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    from qwen_shared.convert.import_hf import prove_import
    from qwen_shared.tokenizer import load_tokenizer

    original, tokenizer = hf_directory("Qwen2.5, tied"), load_tokenizer("default")
    (tmp_path / "config.json").write_text((original / "config.json").read_text())
    weights = load_file(original / "model.safetensors")
    save_file(weights | {"lm_head.weight": torch.zeros(8192, 48)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"tie_word_embeddings=true, but lm_head\.weight is not"):
        prove_import(tmp_path, tokenizer)
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"model.norm.weight holds values that are not finite"):
        prove_import(tmp_path, tokenizer)


def test_rows_grow_by_the_mean(hf_directory):
    import torch

    from qwen_shared.convert.import_hf import hf_source
    from qwen_shared.convert.names import EMBEDDING, OUTPUT

    source = hf_source(hf_directory("Qwen2"))
    for name in (EMBEDDING, OUTPUT):
        stored, grown = source(name, (8192, 48)), source(name, (8320, 48))
        assert torch.equal(grown[:8192], stored)
        torch.testing.assert_close(grown[8192:], stored.mean(dim=0).expand(128, -1))
