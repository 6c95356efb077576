"""The weight files of a Hugging Face directory: headers only, without torch. Pickled weights can run code and are
refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from qwen_shared.convert.names import HF_OUTPUT, Shape, weight_table
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Model

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_DTYPES = ("F32", "BF16", "F16")


@dataclass(frozen=True)
class StoredTensor:
    file: Path
    shape: Shape
    dtype: str  # as safetensors calls it: F32, BF16, F16, …


def weight_files(directory: Path) -> list[Path]:
    """The model's safetensors files. Raises UserError if one is missing or there is none."""
    single, index = directory / _SINGLE, directory / _INDEX
    if single.is_file():
        return [single]
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{index}: damaged: {error}") from None
        if any(Path(name).name != name for name in names):
            raise UserError(f"{index}: damaged: it names files outside its directory")
        missing = [name for name in names if not (directory / name).is_file()]
        if missing:
            raise UserError(f"{directory}: {len(missing)} of {len(names)} weight files are missing ({missing[0]})")
        return [directory / name for name in names]
    pickled = next(iter(sorted(directory.glob("*.bin"))), None)
    if pickled:
        raise UserError(
            f"{directory}: only pickled weights ({pickled.name}), which could run code when opened; load them where "
            "you trust them and write safetensors with transformers' save_pretrained"
        )
    raise UserError(f"{directory}: no weights, neither {_SINGLE} nor {_INDEX}")


def stored_tensors(directory: Path) -> dict[str, StoredTensor]:
    """Every tensor by name. Raises UserError if a file is missing, cut short or not safetensors."""
    tensors = {}
    for path in weight_files(directory):
        try:
            with safe_open(path, framework="np") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    part = file.get_slice(name)
                    tensors[name] = StoredTensor(path, tuple(part.get_shape()), part.get_dtype())
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: damaged or cut short: {error}") from None
    return tensors


def check_weights(directory: Path, model: Model) -> dict[str, StoredTensor]:
    """The stored tensors, compared with `model`, which is that of the directory's config.json.

    Raises UserError for a tensor that is missing, is not part of the model, or has another shape or dtype.
    """
    assert model.padded_vocab_size is not None
    stored = stored_tensors(directory)
    expected = {
        k: shape for parts in weight_table(model, model.padded_vocab_size).values() for k, shape in parts.items()
    }
    missing = [name for name in expected if name not in stored]
    if missing:
        raise UserError(f"{directory}: {len(missing)} tensors of its config.json's model are missing ({missing[0]})")
    for name, shape in expected.items():
        if stored[name].shape != shape:
            raise UserError(f"{directory}: {name} is {list(stored[name].shape)}, by config.json {list(shape)}")
        if stored[name].dtype not in _DTYPES:
            raise UserError(f"{directory}: {name} is stored as {stored[name].dtype}; {', '.join(_DTYPES)} are trained")
    strange = [name for name in stored if name not in expected and not _is_redundant(name, model)]
    if strange:
        raise UserError(f"{directory}: {len(strange)} tensors are no part of its config.json's model ({strange[0]})")
    return stored


def _is_redundant(name: str, model: Model) -> bool:
    """Some checkpoints also hold RoPE's table, or a second copy of a tied embedding."""
    return name.endswith("rotary_emb.inv_freq") or (model.tied_embeddings and name == HF_OUTPUT)


def weights_hash(directory: Path) -> str:
    """sha256 over config.json and the weight files: the identity of the model."""
    digest = hashlib.sha256()
    for path in [directory / "config.json", *weight_files(directory)]:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
