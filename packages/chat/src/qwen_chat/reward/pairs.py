"""Pairs of ids from a recipe's sources: read, split by prompt, cut, balanced, rendered. No torch."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from qwen_chat.reward.preferences import Preference, preferences_of
from qwen_chat.reward.recipe import PAIRS, Pairs, PreferenceData, PreferenceSource
from qwen_shared.data.check import HF, source_files
from qwen_shared.data.conversations import Messages
from qwen_shared.data.rows import read_hf_rows, read_rows
from qwen_shared.errors import UserError
from qwen_shared.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """Two conversations as ids (int32) up to their end tokens; the first `shared` ids are equal."""

    chosen: np.ndarray
    rejected: np.ndarray
    shared: int
    tag: str | None
    reason: str | None

    @property
    def length(self) -> int:
        return max(len(self.chosen), len(self.rejected))


@dataclass
class Counts:
    pairs: int = 0  # read
    identical: int = 0  # dropped: equal answers
    cut: int = 0  # lost first turns
    too_long: int = 0  # dropped: too long with one question
    balanced: int = 0  # dropped: too many of their tag


@dataclass
class StagePairs:
    train: list[EncodedPair] = field(default_factory=list)
    held_out: list[EncodedPair] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    def digest(self) -> str:
        found = hashlib.sha256()
        for side in (self.train, self.held_out):
            for pair in side:
                for ids in (pair.chosen, pair.rejected):
                    found.update(len(ids).to_bytes(4, "little") + ids.astype("<i4").tobytes())
            found.update(b"side")
        return found.hexdigest()


def load_pairs(data: PreferenceData, made: Pairs, seed: int, tokenizer: Tokenizer, stage: str) -> StagePairs:
    """The pairs of `data.sources`, in a fixed order; `stage` is for messages. Raises UserError, naming
    file and line.
    """
    found = StagePairs()
    longest: list[int] = []
    for source in data.sources:
        train, held_out = list[EncodedPair](), list[EncodedPair]()
        for preference, held in _split(data, source, made, seed):
            found.counts.pairs += 1
            if preference.is_identical:
                found.counts.identical += 1
                continue
            pair, turns_left_out, needed = encode(preference, tokenizer, data.seq_length, data.system)
            found.counts.cut += turns_left_out and pair is not None
            longest.append(needed)
            if pair is None:
                found.counts.too_long += 1
            else:
                (held_out if held else train).append(pair)
        if not found.counts.pairs:
            raise UserError(f"data source {source.path}: no preference in it")
        found.train += train
        found.held_out += held_out
    _check_dropped(data, stage, found.counts, longest)
    kept = balanced([pair.tag for pair in found.train], data.max_tag_share, seed)
    found.counts.balanced = len(found.train) - len(kept)
    found.train = [found.train[i] for i in kept]
    if not found.train:
        raise UserError(f"stage {stage}: no pair to train on: data.validation_fraction={data.validation_fraction:g}")
    return found


def encode(
    preference: Preference, tokenizer: Tokenizer, seq_length: int, system: str | None
) -> tuple[EncodedPair | None, bool, int]:
    """The pair, or None if too long; whether it lost turns; the tokens it needs with one question.

    First questions and their answers are cut on both sides, never the system turn. Raises UserError for a template that
    leaves an answer open.
    """
    prompt = preference.prompt
    if system is not None and prompt[0]["role"] != "system":
        prompt = [{"role": "system", "content": system}, *prompt]
    shortened = False
    while True:
        chosen, rejected = (_render([*prompt, *end], tokenizer) for end in (preference.chosen, preference.rejected))
        needed = max(len(chosen), len(rejected))
        if needed <= seq_length:
            same = chosen[: min(len(chosen), len(rejected))] == rejected[: min(len(chosen), len(rejected))]
            differing = np.flatnonzero(~same)
            shared = int(differing[0]) if len(differing) else len(same)
            return EncodedPair(chosen, rejected, shared, preference.tag, preference.reason), shortened, needed
        rest = _without_first_question(prompt)
        if rest is None:
            return None, shortened, needed
        prompt, shortened = rest, True


def balanced(tags: list[str | None], max_share: float, seed: int) -> list[int]:
    """Indices to keep, in order, so that no tag has more than `max_share`; pairs without a tag, or of a single tag,
    stay.

    Raises UserError if there are too few tags.
    """
    counts = Counter(tag for tag in tags if tag is not None)
    without = len(tags) - sum(counts.values())
    if len(counts) + bool(without) < 2 or max(counts.values(), default=0) <= max_share * len(tags):
        return list(range(len(tags)))

    def total(most: int) -> int:
        return without + sum(min(count, most) for count in counts.values())

    most = next((most for most in range(max(counts.values()), 0, -1) if most <= max_share * total(most)), 0)
    if not most:
        raise UserError(
            f"data.max_tag_share={max_share:g}: there are {len(counts)} tags, so the largest has at least "
            f"{1 / len(counts):.3g}"
        )
    kept = {i for i, tag in enumerate(tags) if tag is None}
    for tag in counts:
        having = [i for i, other in enumerate(tags) if other == tag]
        kept.update(Random(f"{seed} {tag}").sample(having, most) if len(having) > most else having)
    return sorted(kept)


# ---- reading and dividing


def _split(data: PreferenceData, source: PreferenceSource, made: Pairs, seed: int) -> Iterator[tuple[Preference, bool]]:
    """(preference, held out?) by a hash of the prompt, up to `data.validation_max_bytes` of text; else the prompt with
    the lowest hash of at least two.
    """
    if source.path == PAIRS:
        yield from _embedded(made, seed)
        return
    read = [(preference, _hash(preference.prompt)) for preference in _read(data, source)]
    held: set[int] = set()
    held_bytes = 0
    for preference, hash64 in read:
        if hash64 < data.validation_fraction * 2**64 and (hash64 in held or held_bytes < data.validation_max_bytes):
            held.add(hash64)
            held_bytes += len(json.dumps([preference.prompt, preference.chosen, preference.rejected]).encode())
    prompts = {hash64 for _, hash64 in read}
    if not held and data.validation_fraction and len(prompts) > 1:
        held = {min(prompts)}
    for preference, hash64 in read:
        yield preference, hash64 in held


def _embedded(settings: Pairs, seed: int) -> Iterator[tuple[Preference, bool]]:
    from qwen_chat import dialogues

    languages = tuple(settings.languages)
    sides = (
        (False, dialogues.pairs(seed, settings.count, languages)),
        (True, dialogues.held_out_pairs(settings.held_out, languages)),
    )
    for held_out, some in sides:
        for pair in some:
            chosen, rejected = ([{"role": "assistant", "content": text}] for text in (pair.chosen, pair.rejected))
            yield Preference(dialogues.prompt(pair.dialogue), chosen, rejected, pair.tag, pair.reason), held_out


def _read(data: PreferenceData, source: PreferenceSource) -> Iterator[Preference]:
    if source.path.startswith(HF):
        rows = read_hf_rows(source.path, source.config, source.split)
    else:
        files: list[Path] = source_files(data, source.path)
        rows = ((row, name) for path in files for row, name, _ in read_rows(path))
    for number, (row, name) in enumerate(rows, start=1):
        yield from preferences_of(row, name, data.max_pairs_per_prompt)
        if number == data.documents:
            return


def _hash(prompt: Messages) -> int:
    text = json.dumps(prompt, ensure_ascii=False).encode("utf-8")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


# ---- rendering


def _render(messages: Messages, tokenizer: Tokenizer) -> np.ndarray:
    ids, mask = tokenizer.render(messages)
    last = max((at for at, inside in enumerate(mask) if inside), default=-1)
    if last < 0 or ids[last] not in tokenizer.stop_ids:
        raise UserError(
            "the tokenizer's chat template does not end an assistant's turn with a stop id, where a reward is read"
        )
    return np.array(ids[: last + 1], dtype=np.int32)


def _without_first_question(prompt: Messages) -> Messages | None:
    """None if it has only one."""
    system = prompt[:1] if prompt[0]["role"] == "system" else []
    questions = [i for i, turn in enumerate(prompt) if turn["role"] == "user"]
    return [*system, *prompt[questions[1] :]] if len(questions) > 1 else None


def _check_dropped(data: PreferenceData, stage: str, counts: Counts, longest: list[int]) -> None:
    different = counts.pairs - counts.identical
    if not different:
        raise UserError(f"stage {stage}: all {counts.pairs:,} pairs have equal answers")
    if counts.too_long > data.max_dropped_share * different:
        enough = np.sort(longest)[-(-99 * different // 100) - 1]
        raise UserError(
            f"stage {stage}: {counts.too_long:,} of {different:,} pairs are longer than data.seq_length="
            f"{data.seq_length} with one question; {enough} is enough for 99 % of them; "
            f"data.max_dropped_share={data.max_dropped_share:g} allows fewer"
        )
