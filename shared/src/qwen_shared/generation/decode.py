"""Batched decoding with a KV cache: prompts of one length go together, and who has answered leaves the batch.

transformers' own `generate` computes every row until the longest has ended; here a batch shrinks as it goes on, which
is half the time where answers differ in length. Nothing else is special: the model's forward and its `DynamicCache`.
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

# Prompts at once. On CPU more gain nothing: a step then takes as much longer.
_ON_CPU, _ON_GPU = 128, 512
_CPU_CACHE_BYTES = 2 << 30


def load_generator(directory: Path, tokenizer: Tokenizer, batch_size: int | None = None) -> Generate:
    """A function from prompts to completions by the model in a Hugging Face directory: vLLM where it is installed and
    there is a GPU, else `generate`. fp32 weights are rounded to bf16 where the hardware multiplies that faster.

    Raises UserError where there is no model.
    """
    if vllm_backend.available():
        return vllm_backend.VllmGenerator(directory, tokenizer)
    return generator(load_decoder(directory), tokenizer, batch_size)


def load_decoder(directory: Path):
    """The model itself, in the precision in which it decodes fastest. Raises UserError where there is none."""
    model = load_model(directory)
    if model.dtype == torch.float32 and resolve_precision("auto") == "bf16":
        model = model.to(torch.bfloat16)
    return model


def generator(model, tokenizer: Tokenizer, batch_size: int | None = None) -> Generate:
    """The same from a model that is loaded already; an answer ends where the model's positions do."""

    def complete(prompts: list[list[int]], sampling: Sampling, progress: Progress | None = None) -> list[Completion]:
        return generate(model, tokenizer, prompts, _within(model, sampling), batch_size, progress)

    return complete


@torch.inference_mode()
def stream(model, tokenizer: Tokenizer, prompt: list[int], sampling: Sampling) -> Iterator[int]:
    """The ids that `generator` would add to one prompt, each as soon as it is there, without the stop id.

    Raises ValueError for an empty prompt.
    """
    if not prompt:
        raise ValueError("a prompt needs at least one token")
    answer = _Answer(0, prompt, _within(model, sampling))
    if answer.room <= 0:
        return
    given = 0
    for _ in _decode(model, tokenizer, [answer], sampling):
        yield from answer.ids[given:]
        given = len(answer.ids)


def _within(model, sampling: Sampling) -> Sampling:
    """The same with answers that end where the model's positions do."""
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
    """What the model adds to each prompt, in the order of the prompts. Raises ValueError for an empty prompt.

    At most `batch_size` prompts (default: 128, on a GPU 512) go through the model at once, fewer where their keys and
    values would not fit. Ids past the tokenizer's (padded vocabulary rows) are never drawn. A prompt that leaves no
    room gets nothing.
    """
    if not all(prompts):
        raise ValueError("a prompt needs at least one token")
    answers = [_Answer(i, prompt, sampling) for i, prompt in enumerate(prompts)]
    # The longest first, so that what does not fit in memory shows at once; equal prompts side by side.
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
    """One prompt and what has been added to it."""

    def __init__(self, index: int, prompt: list[int], sampling: Sampling):
        self.prompt, self.room = prompt, sampling.room(prompt)
        self.ids: list[int] = []
        self.stopped = False
        self.stop_id: int | None = None
        self._tail = b""  # the end of the text, long enough for any stop text
        if sampling.temperature:
            stream = np.random.Philox(key=np.array([sampling.seed, sampling.first + index], dtype=np.uint64))
            self.draws = np.random.Generator(stream).random(max(0, self.room))  # [0, 1)

    def add(self, token: int, tokenizer: Tokenizer, stops: list[bytes]) -> bool:
        """Takes the next token; whether the answer goes on."""
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
    """Answers a batch; yields after every step how many have ended."""
    from transformers import DynamicCache

    stops = [text.encode() for text in sampling.stop_texts]
    unique: dict[tuple[int, ...], int] = {}  # prompts asked for several times are read once
    which = [unique.setdefault(tuple(row.prompt), len(unique)) for row in rows]
    longest = max(map(len, unique))
    # Filled up on the left: the ends of the prompts stand in one column.
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
            logits, mask, positions = _rows_of(cache, which, logits, mask, positions)
        chosen = _choose(logits.float(), rows, sampling)
        taken = zip(rows, chosen.tolist(), strict=True)
        keep = [i for i, (row, token) in enumerate(taken) if row.add(token, tokenizer, stops)]
        yield len(rows) - len(keep)
        if len(keep) < len(rows):
            rows = [rows[i] for i in keep]
            if rows:
                chosen, mask, positions = _rows_of(cache, keep, chosen, mask, positions)
        tokens = chosen[:, None]
        mask = torch.cat((mask, mask.new_ones(len(mask), 1)), dim=1)
        positions = positions[:, -1:] + 1


def _rows_of(cache, rows: list[int], *tensors: torch.Tensor) -> list[torch.Tensor]:
    """Only these rows of the batch, in the cache (changed in place) and in the tensors."""
    index = torch.tensor(rows, device=tensors[0].device)
    cache.batch_select_indices(index)
    return [tensor[index] for tensor in tensors]


def _choose(logits: torch.Tensor, rows: list[_Answer], sampling: Sampling) -> torch.Tensor:
    """The next ids [B] from fp32 logits [B, V]."""
    if not sampling.temperature:
        return logits.argmax(dim=-1)
    step = len(rows[0].ids)
    draws = torch.tensor([row.draws[step] for row in rows], dtype=torch.float32, device=logits.device)[:, None]
    # At less than this it is greedy all the same, and a quotient would be no number.
    shares = (logits / max(sampling.temperature, 1e-6)).softmax(dim=-1)
    ids = None
    if sampling.top_p < 1:
        shares, ids = shares.sort(dim=-1, descending=True)
        shares = shares.where(shares.cumsum(dim=-1) - shares < sampling.top_p, 0.0)
    reached = shares.cumsum(dim=-1)
    total = reached[:, -1:]
    # The first id whose cumulated share lies above the draw has a share of its own, also after rounding.
    at = torch.searchsorted(reached, (draws * total).clamp(max=total.nextafter(torch.zeros_like(total))), right=True)
    return (at if ids is None else ids.gather(1, at))[:, 0]


def _cache_tokens(model) -> int:
    """How many tokens' keys and values may be held: half of the free GPU memory, or 2 GiB on CPU."""
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    available = torch.cuda.mem_get_info(model.device)[0] // 2 if model.device.type == "cuda" else _CPU_CACHE_BYTES
    return available // per_token
