"""Parameter counts: exact, by arithmetic and by the model's own tensors, without allocating."""

from pathlib import Path

import pytest

from qwen_shared.errors import UserError
from qwen_shared.model.sizes import flops_per_token, pad_vocab_size, parameter_count
from qwen_shared.recipe import PretrainRecipe, load_recipe
from qwen_shared.recipe.schema import Model

RECIPES = Path(__file__).parents[3] / "packages/base/recipes"

# Report, section 3 of the fact sheet.
PUBLISHED = {"1.8b": 1_836_828_672, "7b": 7_721_324_544, "14b": 14_167_290_880, "72b": 72_287_920_128}


def _model(name: str):
    return load_recipe(PretrainRecipe, name, ["data.sources=stdlib"], RECIPES).model


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    model = _model(name)
    assert parameter_count(model, model.padded_vocab_size) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["tiny", *PUBLISHED])
def test_megatron_model_has_as_many(name, megatron):
    from qwen_shared.model.builder import build_model
    from qwen_shared.recipe.schema import Parallel

    model = _model(name)
    rows = model.padded_vocab_size or 8192
    (built,) = build_model(model, rows, Parallel(), "bf16", materialize=False)
    assert all(p.device.type == "meta" for p in built.parameters())
    assert sum(p.numel() for p in built.parameters()) == parameter_count(model, rows)


# Parameters as the models' own cards and configs give them: hidden, layers, heads, key-value heads, FFN, rows.
RELATIVES = {
    "Qwen2-0.5B": (494_032_768, (896, 24, 14, 2, 4864, 151_936), {"tied_embeddings": True}),
    "Qwen2.5-7B": (7_615_616_512, (3584, 28, 28, 4, 18_944, 152_064), {}),
    "Qwen3-0.6B": (
        596_049_920,
        (1024, 28, 16, 8, 3072, 151_936),
        {"head_dim": 128, "qkv_bias": False, "qk_norm": True, "tied_embeddings": True},
    ),
    "Llama-3.1-8B": (8_030_261_248, (4096, 32, 32, 8, 14_336, 128_256), {"qkv_bias": False}),
    "SmolLM2-135M": (134_515_008, (576, 30, 9, 3, 1536, 49_152), {"qkv_bias": False, "tied_embeddings": True}),
}


@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_have_their_published_counts(name, megatron):
    from qwen_shared.model.builder import build_model
    from qwen_shared.recipe.schema import Parallel

    count, (H, L, N, G, F, rows), switches = RELATIVES[name]
    model = Model(
        hidden_size=H, num_layers=L, num_attention_heads=N, num_key_value_heads=G, ffn_hidden_size=F, **switches
    )
    assert parameter_count(model, rows) == count
    (built,) = build_model(model, rows, Parallel(), "bf16", materialize=False)
    assert sum(p.numel() for p in built.parameters()) == count


def test_flops_are_six_per_multiplied_parameter_and_attention():
    model = _model("7b")
    rows, S = model.padded_vocab_size, 2048
    biases_and_norms = 32 * (3 * 4096 + 2 * 4096) + 4096
    multiplied = PUBLISHED["7b"] - rows * 4096 - biases_and_norms  # the input embedding is a look-up
    attention = 32 * 2 * 2 * 4096 * S / 2 * 3  # scores and values, causal half, forward and twice that backward
    assert flops_per_token(model, rows, S) == 6 * multiplied + attention


def test_rows_are_padded_or_refused():
    model = _model("tiny")
    assert pad_vocab_size(model, 8192, 1) == 8192
    assert pad_vocab_size(model, 8193, 2) == 8320
    with pytest.raises(UserError, match=r"by parallel.tensor_parallel=3; nearest: model.padded_vocab_size=8448"):
        pad_vocab_size(model, 8192, 3)
    with pytest.raises(UserError, match=r"model.padded_vocab_size=100 is less than .* 8192 ids; nearest: 8192"):
        pad_vocab_size(model.model_copy(update={"padded_vocab_size": 100}), 8192, 1)
