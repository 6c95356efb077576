"""Weight files are checked by their headers; a mistake is refused in one line that names it."""

import json
import struct

import pytest

from qwen_shared.convert.families import model_from_config
from qwen_shared.convert.hf_files import check_weights, weight_files, weights_hash
from qwen_shared.errors import UserError


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
