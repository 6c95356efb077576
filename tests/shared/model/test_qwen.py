"""The Megatron model is Qwen: its parts equal their formulas, the whole equals transformers' Qwen2."""

import math

import pytest
import torch

from qwen_shared.recipe.schema import Model, Parallel, RopeScaling

MODEL = Model(num_layers=3, hidden_size=48, num_attention_heads=4, ffn_hidden_size=80, rope_base=5000.0)
ROWS = 8192


@pytest.fixture(scope="module")
def pair(megatron):
    """The same random weights, biases and norms included, in Megatron's form and in Hugging Face's."""
    from transformers import Qwen2ForCausalLM

    from qwen_shared.convert.families import hf_config
    from qwen_shared.convert.names import to_hf
    from qwen_shared.model.builder import build_model, unwrap
    from qwen_shared.model.weights import fill, global_parameters
    from qwen_shared.tokenizer import load_tokenizer

    generator = torch.Generator().manual_seed(3)
    (ours,) = chunks = build_model(MODEL, ROWS, Parallel(), "fp32")
    fill(chunks, lambda name, shape: torch.randn(shape, generator=generator) * 0.2)
    theirs = Qwen2ForCausalLM(hf_config(MODEL, ROWS, 64, load_tokenizer("default"), torch.float32)).eval()
    state = {}
    for spec in global_parameters(unwrap(ours)):
        state |= to_hf(MODEL, spec.name, spec.parameter.detach())
    theirs.load_state_dict(state)
    return ours.eval(), theirs


@torch.no_grad()
def test_logits_equal_transformers(pair):
    ours, theirs = pair
    tokens = torch.randint(0, 256, (2, 40), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)


def test_losses_and_gradients_equal_transformers(pair):
    ours, theirs = pair
    tokens = torch.randint(0, 256, (2, 41), generator=torch.Generator().manual_seed(1))
    loss = ours(tokens[:, :-1], tokens[:, 1:].contiguous()).mean()
    expected = theirs(tokens, labels=tokens).loss
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(
        ours.embedding.word_embeddings.weight.grad, theirs.model.embed_tokens.weight.grad, atol=1e-5, rtol=1e-4
    )


@torch.no_grad()
def test_no_position_sees_its_future(pair):
    ours, _ = pair
    tokens = torch.randint(0, 256, (1, 20), generator=torch.Generator().manual_seed(2))
    changed = tokens.clone()
    changed[0, 12:] = 7
    assert torch.equal(ours(tokens)[0, :12], ours(changed)[0, :12])
    assert not torch.equal(ours(tokens)[0, 12:], ours(changed)[0, 12:])


def test_rotation_is_in_fp32_and_by_the_formula():
    from qwen_shared.model.rope import RotaryTable, apply_rotary

    D, S, base = 8, 4096, 10_000.0
    table = RotaryTable(Model(num_layers=1, hidden_size=D, num_attention_heads=1, ffn_hidden_size=1, rope_base=base))
    cos, sin = table(S, torch.device("cpu"))
    assert cos.dtype == sin.dtype == torch.float32
    x = torch.randn(S, 1, 1, D, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    turned = apply_rotary(x, cos, sin)
    assert turned.dtype == torch.bfloat16
    position = 4000
    for i in range(D // 2):
        angle = position / base ** (2 * i / D)
        a, b = x[position, 0, 0, i].item(), x[position, 0, 0, i + D // 2].item()
        expected = torch.tensor([a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle)])
        got = turned[position, 0, 0, [i, i + D // 2]].float()
        # bf16 keeps 8 bits: rotating in bf16 would be wrong by far more at this position.
        torch.testing.assert_close(got, expected, atol=0.02, rtol=0.01)


@torch.no_grad()
def test_logits_at_8192_positions_equal_transformers(pair):
    """A model of short texts goes on with longer ones (report, section 8): nothing in it knows the old length."""
    ours, theirs = pair
    tokens = torch.randint(0, 256, (1, 8192), generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(ours(tokens)[0, -64:], theirs(tokens, logits_to_keep=64).logits[0], atol=1e-4, rtol=0)


def test_8192_positions_are_relative():
    """What a query makes of a key r places before it is the same wherever in the text the two stand."""
    from qwen_shared.model.rope import RotaryTable, apply_rotary

    table = RotaryTable(Model(num_layers=1, hidden_size=64, num_attention_heads=1, ffn_hidden_size=1))
    query, key = torch.randn(2, 64, generator=torch.Generator().manual_seed(5))
    cos, sin = table(8192, torch.device("cpu"))
    queries, keys = (apply_rotary(x.expand(8192, 1, 1, 64), cos, sin)[:, 0, 0].double() for x in (query, key))
    for r in (0, 1, 255, 256, 2048, 8000):
        products = (queries[r:] * keys[: 8192 - r]).sum(-1)
        assert (products - products[0]).abs().max() < 1e-2 * query.norm() * key.norm() / 64
    far = (queries[8191] * keys).sum(-1)
    assert far.unique().numel() > 8000  # and no two distances look alike


def test_a_stretched_rope_has_transformers_frequencies():
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    from qwen_shared.model.rope import inverse_frequencies

    scaling = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_positions=8192)
    rope = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    config = LlamaConfig(head_dim=128, max_position_embeddings=131_072, rope_parameters=rope)
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    ours = inverse_frequencies(128, 500_000.0, scaling)
    torch.testing.assert_close(ours, theirs, atol=0, rtol=1e-6)
    plain = inverse_frequencies(128, 500_000.0)
    assert torch.equal(ours[:10], plain[:10])  # fast ones stay
    torch.testing.assert_close(ours[-1], plain[-1] / 8, atol=0, rtol=1e-6)


def test_frequencies_stay_fp32_in_a_bf16_model(megatron):
    from qwen_shared.model.builder import build_model, unwrap

    model = unwrap(build_model(MODEL, 256, Parallel(), "bf16")[0])
    rotary = model.decoder.layers[0].self_attention.core_attention.rotary
    assert all(layer.self_attention.core_attention.rotary is rotary for layer in model.decoder.layers)
    model(torch.zeros(1, 5, dtype=torch.int64))
    assert rotary.cos.dtype == torch.float32
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_initial_weights_follow_name_and_seed(megatron):
    from qwen_shared.model.weights import random_source

    draw = random_source(1, num_layers=8, init_std=0.02, device=torch.device("cpu"))
    name = "decoder.layers.3.mlp.linear_fc1.weight"
    weight = draw(name, (400, 300))
    assert torch.equal(weight, draw(name, (400, 300)))
    assert not torch.equal(weight, draw(name.replace("3", "4"), (400, 300)))
    assert not torch.equal(weight, random_source(2, 8, 0.02, torch.device("cpu"))(name, (400, 300)))
    assert abs(weight.std().item() - 0.02) < 2e-4
    assert abs(draw("decoder.layers.0.mlp.linear_fc2.weight", (400, 300)).std().item() - 0.02 / 4) < 1e-4
    assert torch.equal(draw("decoder.final_layernorm.weight", (9,)), torch.ones(9))
    assert torch.equal(draw("decoder.layers.0.self_attention.linear_qkv.bias", (9,)), torch.zeros(9))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7, 11), (1030, 4096)])  # one chunk; several, the last one short
def test_chunked_cross_entropy_is_torchs(shape, dtype):
    from qwen_shared.model.loss import cross_entropy

    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(shape, generator=generator)).to(dtype).requires_grad_()
    labels = torch.randint(0, shape[1], (shape[0],), generator=generator)
    weights = torch.rand(shape[0], generator=generator)
    expected = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")
    (gradient,) = torch.autograd.grad((expected * weights).sum(), logits)
    losses = cross_entropy(logits, labels)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)
    (ours,) = torch.autograd.grad((losses * weights).sum(), logits)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, gradient, atol=1e-6, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5)
