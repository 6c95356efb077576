"""Model families: `Model` from and to Hugging Face's config.json. Reading needs neither torch nor transformers.

A `Model`'s switches decide its family:

    qwen2   bias on query, key and value    Qwen, Qwen1.5, Qwen2, Qwen2.5
    qwen3   norms on query and key          Qwen3 (dense)
    llama   neither                         Llama and relatives
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import UserError
from qwen_shared.recipe import nearest, validate
from qwen_shared.recipe.schema import Model, RopeScaling

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from qwen_shared.tokenizer import Tokenizer

# transformers' defaults for keys that a config.json leaves out.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "qwen2": {"max_position_embeddings": 32768, "num_key_value_heads": 32},
    "qwen3": {"max_position_embeddings": 32768, "num_key_value_heads": 32, "head_dim": 128},
    "llama": {"max_position_embeddings": 2048},
}
_COMMON_DEFAULTS = {"rms_norm_eps": 1e-6, "initializer_range": 0.02, "hidden_act": "silu", "sliding_window": 4096}
_REQUIRED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)


def family(model: Model) -> str:
    """The `model_type` of the model's exports."""
    if model.qkv_bias:
        return "qwen2"
    return "qwen3" if model.qk_norm else "llama"


def hf_config(model: Model, padded_vocab_size: int, seq_length: int, tokenizer: Tokenizer, dtype: torch.dtype):
    """The family's transformers config. `seq_length` is the context if the model has no `max_positions`."""
    from transformers import CONFIG_MAPPING

    name = family(model)
    config: Callable[..., PreTrainedConfig] = CONFIG_MAPPING[name]
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": model.rope_base}
    if scaling := model.rope_scaling:
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_positions,
        }
    own: dict[str, Any] = {} if name == "llama" else {"use_sliding_window": False}
    if name != "qwen2" or model.num_attention_heads * model.head_size != model.hidden_size:
        own["head_dim"] = model.head_size  # not a field of Qwen2's config, but read by the model
    return config(
        vocab_size=padded_vocab_size,
        hidden_size=model.hidden_size,
        intermediate_size=model.ffn_hidden_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_attention_heads,
        num_key_value_heads=model.kv_heads,
        max_position_embeddings=model.max_positions or seq_length,
        rms_norm_eps=model.norm_eps,
        rope_parameters=rope,
        tie_word_embeddings=model.tied_embeddings,
        initializer_range=model.init_std,
        bos_token_id=None,
        eos_token_id=tokenizer.eod_id,
        pad_token_id=tokenizer.pad_id,
        dtype=dtype,
        **own,
    )


def read_model(directory: Path) -> Model:
    """The model that config.json describes. Raises UserError if there is none, or this suite cannot train it."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{directory}: not a Hugging Face model directory, it has no config.json") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # not JSON, not UTF-8
        raise UserError(f"{path}: damaged: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: damaged: not a JSON object")
    return model_from_config(config, str(path))


def model_from_config(config: dict[str, Any], where: str) -> Model:
    """The `Model` of a config.json's content; `where` is for messages. Raises UserError for what this suite cannot
    train."""
    name = config.get("model_type")
    if name not in _DEFAULTS:
        near = nearest(str(name), _DEFAULTS)
        raise UserError(
            f"{where}: model_type={name}: this suite trains {', '.join(_DEFAULTS)}"
            + (f"; nearest: {near}" if near else "")
        )
    config = _COMMON_DEFAULTS | _DEFAULTS[name] | config
    missing = [key for key in _REQUIRED if config.get(key) is None]
    if missing:
        raise UserError(f"{where}: {missing[0]} is missing")
    _check_supported(config, name, where)
    heads = config["num_attention_heads"]
    base, scaling = _rope(config, where)
    tree = {
        "num_layers": config["num_hidden_layers"],
        "hidden_size": config["hidden_size"],
        "num_attention_heads": heads,
        "num_key_value_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim"),
        "ffn_hidden_size": config["intermediate_size"],
        "qkv_bias": name == "qwen2",
        "qk_norm": name == "qwen3",
        "tied_embeddings": bool(config.get("tie_word_embeddings")),
        "padded_vocab_size": config["vocab_size"],
        "rope_base": base,
        "rope_scaling": scaling,
        "max_positions": config["max_position_embeddings"],
        "norm_eps": config["rms_norm_eps"],
        "init_std": config["initializer_range"],
    }
    model = validate(Model, tree, where)
    return model.model_copy(update={"head_dim": model.head_size})


def _check_supported(config: dict[str, Any], name: str, where: str) -> None:
    if config.get("quantization_config"):
        method = (config["quantization_config"] or {}).get("quant_method", "some method")
        raise UserError(f"{where}: weights quantized by {method} cannot be trained; take the unquantized checkpoint")
    for key in ("num_experts", "num_local_experts", "n_routed_experts"):
        if config.get(key):
            raise UserError(f"{where}: {key}={config[key]}: this suite does not train mixtures of experts")
    for key in ("attention_bias", "mlp_bias"):
        if config.get(key):
            raise UserError(f"{where}: {key}=true: this suite trains no biases except Qwen2's on query, key and value")
    if config["hidden_act"] != "silu":
        raise UserError(f"{where}: hidden_act={config['hidden_act']}: only silu (SwiGLU) is trained")
    if config.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise UserError(
            f"{where}: partial_rotary_factor={config['partial_rotary_factor']}: this suite rotates whole heads only"
        )
    if name == "llama":
        return
    window = config["sliding_window"] if config.get("use_sliding_window") else None
    windowed = config["num_hidden_layers"] > config.get("max_window_layers", 28)
    if (layers := config.get("layer_types")) is not None:
        windowed = any(kind != "full_attention" for kind in layers)
    if window is not None and windowed:
        raise UserError(f"{where}: sliding_window={window} is in use, but this suite trains full attention only")


def _rope(config: dict[str, Any], where: str) -> tuple[float, RopeScaling | None]:
    """Base and scaling, from `rope_parameters` or from the older `rope_theta` and `rope_scaling`."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise UserError(f"{where}: rope_parameters={rope}: expected an object")
    rope = rope.get("full_attention") or rope  # some configs have an entry per kind of layer
    kind = rope.get("rope_type") or rope.get("type") or "default"
    base = rope.get("rope_theta") or config.get("rope_theta") or 10_000.0
    if rope.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise UserError(
            f"{where}: partial_rotary_factor={rope['partial_rotary_factor']}: this suite rotates whole heads only"
        )
    if kind == "default":
        return base, None
    if kind != "llama3":
        near = nearest(str(kind), ("default", "llama3"))
        raise UserError(
            f"{where}: rope_type={kind}: default and llama3 are trained" + (f"; nearest: {near}" if near else "")
        )
    original = rope.get("original_max_position_embeddings") or config["max_position_embeddings"]
    tree = {key: rope[key] for key in ("factor", "low_freq_factor", "high_freq_factor") if key in rope}
    return base, validate(RopeScaling, tree | {"original_positions": original}, f"{where}: rope scaling")
