"""Shows that a Hugging Face model is the same model here: every tensor, the logits, and its loss on a text.

uv run python scripts/prove_import.py HF_DIRECTORY TEXT_FILE [--windows 8] [--length 256]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from qwen_shared.backend.quick_import import quick_import

with quick_import():
    import torch
    import torch.nn.functional as F
    from transformers import AutoModelForCausalLM

    from qwen_shared.backend import device, start_processes, stop_processes
    from qwen_shared.convert.families import read_model
    from qwen_shared.convert.import_hf import hf_source, prove_import
    from qwen_shared.model.builder import build_model
    from qwen_shared.model.weights import fill
    from qwen_shared.recipe.schema import Parallel
    from qwen_shared.tokenizer import load_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="Hugging Face model with its tokenizer")
    parser.add_argument("text", type=Path, help="UTF-8 text")
    parser.add_argument("--windows", type=int, default=8, metavar="N", help="how many are compared (default: 8)")
    parser.add_argument("--length", type=int, default=256, metavar="S", help="tokens a window (default: 256)")
    args = parser.parse_args()
    start_processes()
    tokenizer = load_tokenizer(str(args.directory))
    certificate = prove_import(args.directory, tokenizer)
    logits = certificate["logits"]
    print(f"tensors  {certificate['tensors']['compared']} bit-equal there and back ({certificate['family']})")
    print(f"logits   largest {logits['largest_logit']:.4f}, difference {logits['max_difference']:.2e} at most")
    windows = text_windows(args.text, tokenizer, args.windows, args.length)
    ours, theirs = megatron_losses(args.directory, windows), transformers_losses(args.directory, windows)
    print(f"losses   of {len(windows)} windows of {args.length} tokens of {args.text}, fp32")
    for i, (a, b) in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True)):
        print(f"  window {i}: Megatron {a:.7f}  transformers {b:.7f}")
    print(f"mean     Megatron {ours.mean():.7f}  transformers {theirs.mean():.7f}")
    print(f"largest difference of a window's loss: {(ours - theirs).abs().max():.2e}")
    stop_processes()


def text_windows(path: Path, tokenizer, count: int, length: int) -> torch.Tensor:
    """The first tokens of the text: int64 [count, length + 1], fewer windows where it is shorter."""
    ids = tokenizer.encode(path.read_text(encoding="utf-8")[: 16 * count * (length + 1)])
    count = min(count, len(ids) // (length + 1))
    if not count:
        raise SystemExit(f"{path}: shorter than one window of {length + 1} tokens")
    return torch.tensor(ids[: count * (length + 1)]).view(count, length + 1)


@torch.no_grad()
def megatron_losses(directory: Path, windows: torch.Tensor) -> torch.Tensor:
    """Mean loss of each window, fp32 [windows]."""
    model = read_model(directory)
    chunks = build_model(model, model.padded_vocab_size, Parallel(), "fp32")
    fill(chunks, hf_source(directory))
    windows = windows.to(device())
    losses = [chunks[0].eval()(row[None, :-1], row[None, 1:].contiguous()).mean() for row in windows]
    return torch.stack(losses).cpu()


@torch.no_grad()
def transformers_losses(directory: Path, windows: torch.Tensor) -> torch.Tensor:
    """The same from the other library. Its logits are fp32; over so many of them torch's cross entropy needs fp64."""
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    ).eval()
    return torch.stack([F.cross_entropy(model(row[None, :-1]).logits[0].double(), row[1:]) for row in windows])


if __name__ == "__main__":
    main()
