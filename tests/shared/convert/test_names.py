"""Megatron ► Hugging Face ► Megatron gives back every bit, and the layout is the one each side means."""

import torch

from qwen_shared.convert.names import hf_names, megatron_names, to_hf, to_megatron
from qwen_shared.recipe.schema import Model

MODEL = Model(num_layers=2, hidden_size=12, num_attention_heads=3, ffn_hidden_size=10)


def test_every_parameter_of_the_model_is_named(megatron):
    from qwen_shared.model.builder import build_model, unwrap
    from qwen_shared.model.weights import global_parameters
    from qwen_shared.recipe.schema import Parallel

    model = unwrap(build_model(MODEL, 16, Parallel(), "fp32"))
    assert {spec.name for spec in global_parameters(model)} == set(megatron_names(2))


def test_round_trip_is_exact_in_both_dtypes():
    H, F = 12, 10
    shapes = {"linear_qkv.weight": (3 * H, H), "linear_qkv.bias": (3 * H,), "linear_fc1.weight": (2 * F, H)}
    for suffix, shape in shapes.items():
        part = "mlp" if "fc1" in suffix else "self_attention"
        for dtype in (torch.float32, torch.bfloat16):
            name = f"decoder.layers.1.{part}.{suffix}"
            whole = torch.randn(shape).to(dtype)
            hf = to_hf(MODEL, name, whole)
            assert tuple(hf) == hf_names(name)
            assert torch.equal(to_megatron(MODEL, name, hf.__getitem__), whole)


def test_query_key_and_value_of_each_head_go_to_their_own():
    """Megatron's rows are head by head: q0 k0 v0 q1 k1 v1 …, each of head-size rows."""
    D = MODEL.head_dim
    rows = [f"{kind}{head}" for head in range(3) for kind in "qkv" for _ in range(D)]
    labels = torch.tensor([["qkv".index(r[0]) * 10 + int(r[1])] for r in rows], dtype=torch.float32)
    hf = to_hf(MODEL, "decoder.layers.0.self_attention.linear_qkv.weight", labels.expand(-1, 12))
    for i, kind in enumerate("qkv"):
        expected = torch.tensor([i * 10 + head for head in range(3) for _ in range(D)], dtype=torch.float32)
        assert torch.equal(hf[f"model.layers.0.self_attn.{kind}_proj.weight"][:, 0], expected)
