r"""Conversations packed into samples of one length, padded at the end; no conversation sees another.

A conversation of n tokens takes n - 1 positions (inputs and shifted labels). If too long, it is cut after the last
answer that fits, or left out if none fits. A sample's members depend on lengths alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qwen_shared.data.samples import permutation
from qwen_shared.data.token_file import TokenFile, in_loss, token_ids

_SAMPLES = 2  # random stream; `data.samples` has others


@dataclass(frozen=True)
class PackedSample:
    """Padding at the end is a document without loss."""

    tokens: np.ndarray  # int64 [S]
    labels: np.ndarray  # int64 [S]
    mask: np.ndarray  # float32 [S]
    document_starts: np.ndarray  # bool [S]: first tokens of documents


class PackedConversations:
    """Endless: each epoch shuffles the samples."""

    def __init__(
        self,
        file: TokenFile,
        seq_length: int,
        stop_ids: Sequence[int],
        pad_id: int,
        seed: int,
        max_positions: int | None = None,
    ):
        """A conversation takes at most min(`seq_length`, `max_positions`)."""
        self._file, self.seq_length, self._pad_id, self._seed = file, seq_length, pad_id, seed
        self.max_length = min(seq_length, max_positions or seq_length)
        lengths = np.asarray(file.lengths).astype(np.int64)
        self.num_cut = 0
        for i in np.flatnonzero(lengths > self.max_length + 1):
            lengths[i] = _answers_that_fit(file[int(i)], self.max_length + 1, stop_ids)
            self.num_cut += bool(lengths[i])
        self._lengths = lengths
        self.num_conversations = int((lengths > 1).sum())
        self.num_left_out = len(lengths) - self.num_conversations
        self.num_tokens = int((lengths[lengths > 1] - 1).sum())
        self._members, self._ends = pack(np.maximum(lengths - 1, 0), seq_length)
        self._order = lru_cache(maxsize=2)(self._draw_order)

    @property
    def num_samples(self) -> int:
        """Per epoch."""
        return len(self._ends)

    def sample(self, i: int) -> PackedSample:
        epoch, at = divmod(i, self.num_samples)
        return self.epoch_sample(int(self._order(epoch)[at]))

    def shuffled(self, seed: int) -> PackedConversations:
        other = copy.copy(self)
        other._seed = seed
        other._order = lru_cache(maxsize=2)(other._draw_order)
        return other

    def epoch_sample(self, j: int) -> PackedSample:
        """Sample j of an epoch, before shuffling."""
        S = self.seq_length
        tokens, labels = np.full(S, self._pad_id, np.int64), np.full(S, self._pad_id, np.int64)
        mask, begins = np.zeros(S, np.float32), np.zeros(S, bool)
        at = 0
        for i in self.conversations_of(j):
            stored = np.asarray(self._file[i])[: self._lengths[i]]
            ids, end = token_ids(stored), at + len(stored) - 1
            tokens[at:end], labels[at:end] = ids[:-1], ids[1:]
            mask[at:end] = in_loss(stored)[1:]
            begins[at] = True
            at = end
        if at < S:
            begins[at] = True
        return PackedSample(tokens, labels, mask, begins)

    def conversations_of(self, j: int) -> list[int]:
        """From left to right."""
        return self._members[self._ends[j - 1] if j else 0 : self._ends[j]].tolist()

    def _draw_order(self, epoch: int) -> np.ndarray:
        return permutation(self.num_samples, self._seed, _SAMPLES, epoch)


def _answers_that_fit(stored: np.ndarray, limit: int, stop_ids: Sequence[int]) -> int:
    """The most tokens, up to `limit`, that end with an answer's end; 0 if no answer fits."""
    head = np.asarray(stored)[:limit]
    ends = np.flatnonzero(in_loss(head) & np.isin(token_ids(head), stop_ids))
    # Some masks include the ends of questions; only an answer's end follows another loss token.
    answers = [at for at in ends if at and in_loss(head)[at - 1]]
    return int(answers[-1]) + 1 if answers else 0


def pack(lengths: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """(members, ends): bin j holds items members[ends[j-1]:ends[j]], at most `capacity` in total. Leaves out items
    of length 0. Takes the better of two linear methods."""
    bins = min(_best_fit(lengths, capacity), _exact_fit(lengths, capacity), key=len)
    members = np.array([i for members in bins for i in members], np.int64)
    return members, np.cumsum([len(members) for members in bins], dtype=np.int64)


def _best_fit(lengths: np.ndarray, capacity: int) -> list[list[int]]:
    """Best fit decreasing: each item, longest first, goes into the fullest bin with room."""
    waiting: list[list[int]] = [[] for _ in range(capacity + 1)]  # bins by free space
    rooms = 0  # bit r: a bin with r free positions
    bins: list[list[int]] = []
    for i in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[i])
        if not length:
            break
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            chosen = waiting[room].pop()
            if not waiting[room]:
                rooms &= ~(1 << room)
            bins[chosen].append(i)
        else:
            room, chosen = capacity, len(bins)
            bins.append([i])
        left = room - length
        if left:
            waiting[left].append(chosen)
            rooms |= 1 << left
    return bins


def _exact_fit(lengths: np.ndarray, capacity: int) -> list[list[int]]:
    """Fills bins in turn: with one or two items that fill it exactly, else with the longest item that fits."""
    waiting: list[list[int]] = [[] for _ in range(capacity + 1)]
    for i in np.flatnonzero(lengths)[::-1].tolist():
        waiting[int(lengths[i])].append(i)
    there = left_by = 0  # bit l and bit capacity - l: an item of length l waits
    for length, items in enumerate(waiting):
        if items:
            there |= 1 << length
            left_by |= 1 << capacity - length
    bins: list[list[int]] = []
    while there:
        bins.append([])
        room = capacity
        while fitting := there & (2 << room) - 1:
            length = fitting.bit_length() - 1
            if length < room and bins[-1]:
                pairs = fitting & left_by >> capacity - room  # bit l: lengths l and room - l both wait
                if room % 2 == 0 and len(waiting[room // 2]) == 1:
                    pairs &= ~(1 << room // 2)
                length = pairs.bit_length() - 1 if pairs else length
            bins[-1].append(waiting[length].pop())
            if not waiting[length]:
                there &= ~(1 << length)
                left_by &= ~(1 << capacity - length)
            room -= length
    return bins
