"""The proof that published files are the run's checkpoint, as plain transformers reads them from the disk.

Compared are every tensor, bit for bit; logits in fp32 on a fixed batch; and the ids that the run's tokenizer and the
published one give texts and a conversation.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from qwen_shared.convert.hf_files import weight_files
from qwen_shared.errors import UserError
from qwen_shared.model.sizes import pad_vocab_size
from qwen_shared.publish.checkpoint import Checkpoint
from qwen_shared.recipe import TrainedModel
from qwen_shared.run.manifest import read_recipe
from qwen_shared.tokenizer import Tokenizer

# Returns the certificate's `tensors` and `logits`. Raises RuntimeError if the files differ from the checkpoint.
Parity = Callable[[Checkpoint, Path, Tokenizer], dict[str, Any]]

_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "  Two spaces, a tab\tand three line ends\n\n\n",
    "def add(a: int, b: int) -> int:\n    return a + b  # 12345678901234567890\n",
    "Prime factors of 2^64 - 1: 3 × 5 × 17 × 257 × 641 × 65537 × 6700417; π ≈ 3.14159…",
    "通义千问是一个语言模型。你好，世界！",
    "Größe, naïve, Ελλάδα, Россия, עברית, हिन्दी, 한국어, 日本語",
    "e\u0301 and \u00e9; \u1100\u1161 and \uac00; 🙂👩‍👩‍👧‍👦",
    "<tag attr='x'> & {json: [1, 2, 3]} \\boxed{42} ```py``` |",
    "",
)
_CONVERSATION = [
    {"role": "system", "content": "You are a test."},
    {"role": "user", "content": "What is 6 × 7?"},
    {"role": "assistant", "content": "It is 42."},
    {"role": "user", "content": "再说一遍。"},
]
# Relative to the largest logit, or to 1 if all are smaller: fp32 keeps 7 digits, and rounding adds up over layers.
_TOLERANCE = 1e-4
_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "megatron-core", "huggingface-hub")


def certify(checkpoint: Checkpoint, directory: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """The certificate's `parity` and `versions`. Raises RuntimeError if anything differs."""
    found = (checkpoint.kind.parity or megatron_parity)(checkpoint, directory, tokenizer)
    found["logits"]["tolerance"] = _TOLERANCE
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "parity": found | {"tokenizer": same_ids(directory, tokenizer)},
        "versions": {"python": platform.python_version(), **versions},
    }


def megatron_parity(checkpoint: Checkpoint, directory: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """A `Parity`: Megatron's model is built in fp32 from the checkpoint."""
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import start_processes, stop_processes
        from qwen_shared.convert.checkpoint import read_checkpoint
        from qwen_shared.convert.export import prove_tensors
        from qwen_shared.convert.proof import prove_logits

    model = read_recipe(checkpoint.run_dir, TrainedModel).model
    rows = pad_vocab_size(model, tokenizer.vocab_size, tensor_parallel=1)
    start_processes()
    try:
        whole = read_checkpoint(checkpoint.path, model)
        tensors = prove_tensors(directory, model, whole)
        logits = prove_logits(directory, model, rows, lambda name, _: whole[name], proof_batch(tokenizer, rows))
    finally:
        stop_processes()
    return {"tensors": tensors, "logits": logits}


@torch.no_grad()
def module_parity(
    own: nn.Module,
    directory: Path,
    inputs: Mapping[str, Tensor],
    read: Callable[..., nn.Module],
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """Of a transformers model: `own` has the checkpoint's weights, `read` is the `from_pretrained` that users call.

    Weights are compared in the published dtype, which may be coarser than the checkpoint's. `tolerance`, relative to a
    tensor's largest value, is for weights computed at export.
    """
    state, rounded, furthest = own.state_dict(), {}, 0.0
    for path in weight_files(directory):
        for name, tensor in load_file(path).items():
            if name not in state:
                raise RuntimeError(f"{directory}: the run's checkpoint has no {name}")
            mine = state[name].cpu().to(tensor.dtype)
            if not torch.equal(mine, tensor):
                away = ((mine - tensor).abs().max() / tensor.abs().max()).item()
                if not away <= tolerance:
                    raise RuntimeError(f"{directory}: {name} is not the checkpoint's")
                furthest = max(furthest, away)
            rounded[name] = mine.float()
    own = own.float().eval()
    own.load_state_dict(rounded, strict=False)
    ours = own(**inputs).logits.float()
    loaded = read(directory, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False)
    theirs = loaded.eval()(**inputs).logits
    difference, largest = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    if not difference <= _TOLERANCE * max(1.0, largest):
        raise RuntimeError(f"{directory}: outputs differ by {difference:.2e}, the largest {largest:.2e}")
    return {
        "tensors": {"compared": len(rounded), "bit_equal": not furthest, "max_difference": furthest},
        "logits": {
            "precision": "fp32",
            "batch": list(inputs["input_ids"].shape),
            "largest_logit": largest,
            "max_difference": difference,
        },
    }


def proof_batch(tokenizer: Tokenizer, rows: int) -> Tensor:
    """Two rows of random ids, one with an end of document, and a row of text: [3, 64]."""
    ids = min(tokenizer.vocab_size, rows)  # an imported model may have fewer rows than its tokenizer has ids
    drawn = torch.randint(0, ids, (2, 64), generator=torch.Generator().manual_seed(0))
    drawn[0, 30] = min(tokenizer.eod_id, ids - 1)
    text = [id for text in _TEXTS for id in tokenizer.encode(text)]
    return torch.cat((drawn, torch.tensor([text[:64]]).clamp(max=ids - 1)))


def same_ids(directory: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """Compare the tokenizer in `directory` with the run's. Raises RuntimeError if ids differ."""
    from transformers import AutoTokenizer

    published = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    count = 0
    for text in _TEXTS:
        ours = tokenizer.encode(text)
        theirs = published(text, add_special_tokens=False)["input_ids"]
        if ours != theirs:
            raise RuntimeError(f"{directory}: the tokenizer gives other ids than the run's for {text!r}")
        count += len(ours)
    try:
        ours, _ = tokenizer.render(_CONVERSATION, add_generation_prompt=True)
    except UserError:  # no template, or one without these roles
        return {"texts": len(_TEXTS), "ids": count, "chat_template": None}
    theirs = published.apply_chat_template(_CONVERSATION, add_generation_prompt=True, return_dict=False)
    if ours != theirs:
        raise RuntimeError(f"{directory}: the chat template gives other ids than the run's")
    return {"texts": len(_TEXTS) + 1, "ids": count + len(ours), "chat_template": True}
