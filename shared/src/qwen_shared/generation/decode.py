r"""Batched decoding with transformers' forward and `DynamicCache`; finished answers leave the batch.

transformers' `generate` computes every row until the longest ends: twice the time if lengths differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from qwen_shared.backend import resolve_precision
from qwen_shared.generation import vllm_backend
from qwen_shared.generation.load import load_model
from qwen_shared.generation.sampling import Completion, Generate, Progress, Sampling
from qwen_shared.tokenizer import Tokenizer

# Prompts per batch. Larger ones bring no speed on CPU.
_ON_CPU, _ON_GPU = 128, 512
_CPU_CACHE_BYTES = 2 << 30


def load_generator(directory: Path, tokenizer: Tokenizer, batch_size: int | None = None) -> Generate:
    """The model in a Hugging Face directory, with vLLM if available, else `generate`. Raises UserError if there is
    none."""
    if vllm_backend.available():
        return vllm_backend.VllmGenerator(directory, tokenizer)
    return generator(load_decoder(directory), tokenizer, batch_size)


def load_decoder(directory: Path):
    """fp32 weights become bf16 if the hardware is faster in bf16. Raises UserError if there is no model."""
    model = load_model(directory)
    if model.dtype == torch.float32 and resolve_precision("auto") == "bf16":
        model = model.to(torch.bfloat16)
    return model


def generator(model, tokenizer: Tokenizer, batch_size: int | None = None) -> Generate:
    """`generate` with a loaded model."""

    def complete(prompts: list[list[int]], sampling: Sampling, progress: Progress | None = None) -> list[Completion]:
        return generate(model, tokenizer, prompts, _limited(model, sampling), batch_size, progress)

    return complete


@torch.inference_mode()
def stream(model, tokenizer: Tokenizer, prompt: list[int], sampling: Sampling) -> Iterator[int]:
    """The ids of one answer, without the stop id. Raises ValueError for an empty prompt."""
    if not prompt:
        raise ValueError("a prompt needs at least one token")
    answer = _Answer(0, prompt, _limited(model, sampling))
    if answer.room <= 0:
        return
    given = 0
    for _ in _decode(model, tokenizer, [answer], sampling):
        yield from answer.ids[given:]
        given = len(answer.ids)


def _limited(model, sampling: Sampling) -> Sampling:
    """`max_length` is at most the model's positions."""
    positions = getattr(model.config, "max_position_embeddings", None) or 2**62
    return replace(sampling, max_length=min(sampling.max_length or positions, positions))


@torch.inference_mode()
def generate(
    model,
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> list[Completion]:
    r"""Completions in the order of the prompts. Raises ValueError for an empty prompt.

    A batch has at most `batch_size` prompts (default 128, GPU 512), fewer if keys and values would not fit. Padded
    vocabulary rows are never drawn. A prompt that leaves no room gets an empty completion.
    """
    if not all(prompts):
        raise ValueError("a prompt needs at least one token")
    answers = [_Answer(i, prompt, sampling) for i, prompt in enumerate(prompts)]
    # Longest first, so that memory runs out early if at all; equal prompts become neighbours.
    waiting = sorted((a for a in answers if a.room > 0), key=lambda a: (-len(a.prompt), a.prompt))
    cache_tokens = _cache_tokens(model)
    size = batch_size or (_ON_GPU if model.device.type == "cuda" else _ON_CPU)
    done = len(answers) - len(waiting)
    while waiting:
        rows = max(1, cache_tokens // (len(waiting[0].prompt) + sampling.max_new_tokens))
        rows = min(rows, size)
        batch, waiting = waiting[:rows], waiting[rows:]
        for finished in _decode(model, tokenizer, batch, sampling):
            done += finished
            if finished and progress:
                progress(done, len(answers))
    return [Completion(answer.ids, answer.stopped, answer.stop_id) for answer in answers]


class _Answer:
    def __init__(self, index: int, prompt: list[int], sampling: Sampling):
        self.prompt, self.room = prompt, sampling.room(prompt)
        self.ids: list[int] = []
        self.stopped = False
        self.stop_id: int | None = None
        self._tail = b""  # end of the text, long enough for any stop text
        if sampling.temperature:
            stream = np.random.Philox(key=np.array([sampling.seed, sampling.first + index], dtype=np.uint64))
            self.draws = np.random.Generator(stream).random(max(0, self.room))  # [0, 1)

    def add(self, token: int, tokenizer: Tokenizer, stops: list[bytes]) -> bool:
        """Returns whether the answer continues."""
        if token in tokenizer.stop_ids:
            self.stopped, self.stop_id = True, token
            return False
        self.ids.append(token)
        if stops:
            text = self._tail + tokenizer.token_bytes(token)
            self.stopped = any(stop in text for stop in stops)
            self._tail = text[-max(map(len, stops)) :]
        return not self.stopped and len(self.ids) < self.room


def _decode(model, tokenizer: Tokenizer, rows: list[_Answer], sampling: Sampling):
    """After each step, yields the number of answers that ended."""
    from transformers import DynamicCache

    stops = [text.encode() for text in sampling.stop_texts]
    unique: dict[tuple[int, ...], int] = {}  # equal prompts are computed once
    which = [unique.setdefault(tuple(row.prompt), len(unique)) for row in rows]
    longest = max(map(len, unique))
    # Left padding: all prompts end in one column.
    tokens = torch.tensor([[tokenizer.pad_id] * (longest - len(p)) + list(p) for p in unique], device=model.device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in unique], device=model.device)  # [B, S]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    while rows:
        logits = model(
            tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1, : tokenizer.vocab_size]  # [B, V]
        if len(logits) < len(rows):
            logits, mask, positions = _select_rows(cache, which, logits, mask, positions)
        chosen = _choose(logits.float(), rows, sampling)
        taken = zip(rows, chosen.tolist(), strict=True)
        keep = [i for i, (row, token) in enumerate(taken) if row.add(token, tokenizer, stops)]
        yield len(rows) - len(keep)
        if len(keep) < len(rows):
            rows = [rows[i] for i in keep]
            if rows:
                chosen, mask, positions = _select_rows(cache, keep, chosen, mask, positions)
        tokens = chosen[:, None]
        mask = torch.cat((mask, mask.new_ones(len(mask), 1)), dim=1)
        positions = positions[:, -1:] + 1


def _select_rows(cache, rows: list[int], *tensors: torch.Tensor) -> list[torch.Tensor]:
    """Keeps these rows of the cache (in place) and tensors."""
    index = torch.tensor(rows, device=tensors[0].device)
    cache.batch_select_indices(index)
    return [tensor[index] for tensor in tensors]


def _choose(logits: torch.Tensor, rows: list[_Answer], sampling: Sampling) -> torch.Tensor:
    """Next ids [B] from fp32 logits [B, V]."""
    if not sampling.temperature:
        return logits.argmax(dim=-1)
    step = len(rows[0].ids)
    draws = torch.tensor([row.draws[step] for row in rows], dtype=torch.float32, device=logits.device)[:, None]
    # Smaller temperatures are greedy anyway, and the quotient would overflow.
    probabilities = (logits / max(sampling.temperature, 1e-6)).softmax(dim=-1)
    ids = None
    if sampling.top_p < 1:
        probabilities, ids = probabilities.sort(dim=-1, descending=True)
        probabilities = probabilities.where(probabilities.cumsum(dim=-1) - probabilities < sampling.top_p, 0.0)
    cumulative = probabilities.cumsum(dim=-1)
    total = cumulative[:, -1:]
    # The clamp and `right=True` never choose an id of probability 0, despite rounding.
    at = torch.searchsorted(cumulative, (draws * total).clamp(max=total.nextafter(torch.zeros_like(total))), right=True)
    return (at if ids is None else ids.gather(1, at))[:, 0]


def _cache_tokens(model) -> int:
    """Tokens whose keys and values fit half of the free GPU memory, or 2 GiB on CPU."""
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    available = torch.cuda.mem_get_info(model.device)[0] // 2 if model.device.type == "cuda" else _CPU_CACHE_BYTES
    return available // per_token
