"""Megatron ► Hugging Face ► Megatron gives back every bit, and the layout is the one each side means."""

import pytest
import torch

from qwen_shared.convert.names import hf_names, megatron_names, to_hf, to_megatron, weight_table
from qwen_shared.recipe.schema import Model

SIZES = {"num_layers": 2, "hidden_size": 12, "num_attention_heads": 6, "ffn_hidden_size": 10}
MODELS = {
    "all heads": Model(**SIZES),
    "grouped": Model(**SIZES, num_key_value_heads=2, tied_embeddings=True),
    "normed": Model(**SIZES, num_key_value_heads=3, head_dim=4, qkv_bias=False, qk_norm=True),
    "plain": Model(**SIZES, num_key_value_heads=1, qkv_bias=False),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_table_is_the_model_s(name, megatron):
    """Every parameter of ours is in it, and every tensor of theirs, with its shape."""
    from transformers import AutoModelForCausalLM

    from qwen_shared.convert.families import hf_config
    from qwen_shared.model.builder import build_model, unwrap
    from qwen_shared.model.weights import global_parameters
    from qwen_shared.recipe.schema import Parallel
    from qwen_shared.tokenizer import load_tokenizer

    model = MODELS[name]
    built = unwrap(build_model(model, 8192, Parallel(), "fp32")[0])
    assert {spec.name for spec in global_parameters(built)} == set(megatron_names(model))
    with torch.device("meta"):
        theirs = AutoModelForCausalLM.from_config(hf_config(model, 8192, 8, load_tokenizer("default"), torch.float32))
    table = {hf_name: shape for parts in weight_table(model, 8192).values() for hf_name, shape in parts.items()}
    assert table == {hf_name: tuple(p.shape) for hf_name, p in theirs.named_parameters()}
    assert sum(p.numel() for p in built.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_round_trip_is_exact(model, dtype):
    for name, parts in weight_table(model, 16).items():
        tensors = {hf_name: torch.randn(shape).to(dtype) for hf_name, shape in parts.items()}
        assert tuple(tensors) == hf_names(model, name)
        whole = to_megatron(model, name, tensors.__getitem__)
        assert sum(t.numel() for t in tensors.values()) == whole.numel()
        back = to_hf(model, name, whole)
        assert back.keys() == tensors.keys()
        assert all(torch.equal(back[hf_name], tensors[hf_name]) for hf_name in tensors)


def test_heads_lie_group_by_group():
    """Megatron's rows: the query heads of a group, its key, its value; each of head-size rows."""
    model = MODELS["grouped"]  # 6 query heads, 2 groups
    order = ["q0", "q1", "q2", "k0", "v0", "q3", "q4", "q5", "k1", "v1"]
    rows = [word for word in order for _ in range(model.head_size)]
    labels = torch.tensor([["qkv".index(word[0]) * 10 + int(word[1])] for word in rows], dtype=torch.float32)
    hf = to_hf(model, "decoder.layers.0.self_attention.linear_qkv.weight", labels.expand(-1, 12))
    for i, (kind, heads) in enumerate({"q": 6, "k": 2, "v": 2}.items()):
        expected = torch.tensor([i * 10 + head for head in range(heads) for _ in range(model.head_size)]).float()
        assert torch.equal(hf[f"model.layers.0.self_attn.{kind}_proj.weight"][:, 0], expected)
