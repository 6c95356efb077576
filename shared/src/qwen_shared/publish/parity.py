"""The proof that published files are the run's own checkpoint, as plain transformers reads them from the disk.

Three things are compared: every tensor, bit for bit; outputs in fp32 on a fixed batch; and the ids of texts and of a
conversation by the run's tokenizer and by the published one.
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
from qwen_shared.publish.subject import Subject
from qwen_shared.tokenizer import Tokenizer

# Compares the files in a directory with a checkpoint: the certificate's `tensors` and `logits`. Raises RuntimeError
# where they differ.
Parity = Callable[[Subject, Path, Tokenizer], dict[str, Any]]

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
# Of the largest output, or of 1 where all are smaller: fp32 keeps 7 digits, and rounding adds up over the layers.
_TOLERANCE = 1e-4
_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "megatron-core", "huggingface-hub")


def certify(subject: Subject, directory: Path, tokenizer: Tokenizer, compare: Parity) -> dict[str, Any]:
    """The certificate's `parity` and `versions`. Raises RuntimeError where anything differs."""
    found = compare(subject, directory, tokenizer)
    found["logits"]["tolerance"] = _TOLERANCE
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "parity": found | {"tokenizer": same_ids(directory, tokenizer)},
        "versions": {"python": platform.python_version(), **versions},
    }


@torch.no_grad()
def module_parity(
    own: nn.Module,
    directory: Path,
    inputs: Mapping[str, Tensor],
    read: Callable[..., nn.Module],
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """Of a model in transformers' own form: `own` has the checkpoint's weights, `read` is the `from_pretrained` that
    others will use. A checkpoint may hold finer numbers than were published: rounded, they are to be equal. `tolerance`
    is for weights that were computed when they were published, and is a share of a tensor's largest."""
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
    """Ids from the whole vocabulary, with the end of a document inside, and a row of text: [3, 64]."""
    ids = min(tokenizer.vocab_size, rows)  # a tokenizer may have grown beyond the rows of an import
    drawn = torch.randint(0, ids, (2, 64), generator=torch.Generator().manual_seed(0))
    drawn[0, 30] = min(tokenizer.eod_id, ids - 1)
    text = [id for text in _TEXTS for id in tokenizer.encode(text)]
    return torch.cat((drawn, torch.tensor([text[:64]]).clamp(max=ids - 1)))


def same_ids(directory: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """Compare transformers' tokenizer of `directory` with the run's. Raises RuntimeError where ids differ."""
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
    except UserError:  # a template that knows no such roles, or none
        return {"texts": len(_TEXTS), "ids": count, "chat_template": None}
    theirs = published.apply_chat_template(_CONVERSATION, add_generation_prompt=True, return_dict=False)
    if ours != theirs:
        raise RuntimeError(f"{directory}: the chat template gives other ids than the run's")
    return {"texts": len(_TEXTS) + 1, "ids": count + len(ours), "chat_template": True}
