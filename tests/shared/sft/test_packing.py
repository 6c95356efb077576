"""Packing loses nothing, doubles nothing and trains on nothing but what the mask says; every answer keeps its end."""

import bisect
from itertools import pairwise

import numpy as np
import pytest

from qwen_shared.sft.packing import PackedConversations, _best_fit, _exact_fit, pack


def documents_of(sample):
    """(tokens, labels, mask) of each document of a packed sample, the padding among them."""
    starts = np.flatnonzero(sample.document_starts).tolist()
    ends = [*starts[1:], len(sample.tokens)]
    return [
        (sample.tokens[a:b].tolist(), sample.labels[a:b].tolist(), sample.mask[a:b].tolist())
        for a, b in zip(starts, ends, strict=True)
    ]


def conversations_of(sample):
    """(ids, mask) of each conversation as it was before packing; the first token's mask cannot be known."""
    return [
        ([*tokens, labels[-1]], [0.0, *mask])
        for tokens, labels, mask in documents_of(sample)
        if any(mask)  # the padding has nothing in the loss
    ]


# ---- bins


def best_fit_decreasing(lengths, capacity):
    """How many bins it takes, by looking at all of them: free rooms in order, each item into the tightest that fits."""
    rooms, bins = [], 0
    for length in sorted((length for length in lengths if length), reverse=True):
        place = bisect.bisect_left(rooms, length)
        if place == len(rooms):
            bins += 1
            room = capacity
        else:
            room = rooms.pop(place)
        bisect.insort(rooms, room - length)
    return bins


@pytest.mark.parametrize("seed", range(30))
def test_bins_are_a_partition_of_no_more_bins_than_best_fit_takes(seed):
    draw = np.random.default_rng(seed)
    capacity = int(draw.integers(1, 400))
    high = int(draw.integers(1, capacity + 1))
    lengths = draw.integers(0, high + 1, int(draw.integers(0, 500)))
    members, ends = pack(lengths, capacity)
    assert sorted(members.tolist()) == np.flatnonzero(lengths).tolist()
    assert ends.tolist() == sorted(set(ends.tolist())) and (not len(ends) or ends[-1] == len(members))
    bins = np.split(members, ends[:-1]) if len(ends) else []
    sizes = [int(lengths[chosen].sum()) for chosen in bins]
    assert all(0 < size <= capacity for size in sizes)
    assert len(_best_fit(lengths, capacity)) == best_fit_decreasing(lengths.tolist(), capacity) >= len(bins)
    exact = _exact_fit(lengths, capacity)
    assert sorted(i for chosen in exact for i in chosen) == np.flatnonzero(lengths).tolist()
    assert all(0 < lengths[chosen].sum() <= capacity for chosen in exact) and len(exact) >= len(bins)
    again = pack(lengths, capacity)
    assert np.array_equal(members, again[0]) and np.array_equal(ends, again[1])


@pytest.mark.parametrize(
    ("lengths", "bins"),
    [([], []), ([0, 0], []), ([5], [[0]]), ([1, 4, 5, 2, 3, 0], [[2], [1, 0], [4, 3]]), ([3, 3, 3], [[0], [1], [2]])],
)
def test_bins_by_hand(lengths, bins):
    members, ends = pack(np.array(lengths, np.int64), 5)
    assert [members[a:b].tolist() for a, b in pairwise([0, *ends])] == bins


@pytest.mark.parametrize(("mean", "least"), [(170, 0.985), (260, 0.985)])
def test_short_conversations_fill_samples(mean, least):
    """Of lengths as those of worked problems, a fourth to a sixth of a sample, hardly a place is left over."""
    lengths = np.random.default_rng(0).gamma(7, (mean - 60) / 7, 8000).astype(int) + 60
    lengths = lengths[lengths <= 1024]
    _, ends = pack(lengths, 1024)
    assert lengths.sum() / (len(ends) * 1024) > least


# ---- samples


@pytest.mark.parametrize("mask", ["assistant", "qwen"])
def test_unpacked_again_they_are_the_conversations(mask, packed, conversations, tokenizer):
    given = conversations(150)
    stream = packed(given, 200, mask)
    assert (stream.num_conversations, stream.num_cut, stream.num_left_out) == (150, 0, 0)
    found = []
    for j in range(stream.num_samples):
        numbers, back = stream.conversations_of(j), conversations_of(stream.epoch_sample(j))
        assert len(numbers) == len(back)
        found += zip(numbers, back, strict=True)
    assert sorted(number for number, _ in found) == list(range(150))
    for number, (ids, inside) in found:
        rendered, in_loss = tokenizer.render(given[number])
        if mask == "assistant":
            last = len(rendered) - 1  # the line end behind the last answer is not kept
            assert ids == rendered[:last] and inside == in_loss[:last]
        else:
            assert ids == rendered and sum(inside) > sum(in_loss)
    tokens = sum(len(ids) - 1 for _, (ids, _) in found)
    assert stream.num_tokens == tokens


def test_shapes_labels_and_padding(packed, conversations, tokenizer):
    stream = packed(conversations(40), 200)
    padding = 0
    for j in range(stream.num_samples):
        sample = stream.epoch_sample(j)
        assert [getattr(sample, name).dtype for name in ("tokens", "labels", "mask", "document_starts")] == [
            np.int64, np.int64, np.float32, bool
        ]  # fmt: skip
        assert {getattr(sample, name).shape for name in ("tokens", "labels", "mask", "document_starts")} == {(200,)}
        assert sample.document_starts[0] and set(sample.mask.tolist()) <= {0.0, 1.0}
        documents = documents_of(sample)
        for tokens, labels, mask in documents:
            assert labels[:-1] == tokens[1:]
            if any(mask):
                assert tokens[0] == tokenizer.special_tokens["<|im_start|>"]
                assert labels[-1] == tokenizer.special_tokens["<|im_end|>"] and mask[-1] == 1
            else:
                assert set(tokens) | set(labels) == {tokenizer.pad_id} and documents[-1] == (tokens, labels, mask)
                padding += len(tokens)
    assert padding == stream.num_samples * 200 - stream.num_tokens > 0


def test_a_full_sample_has_no_padding(packed, conversations):
    longest = packed(conversations(1), 512).num_tokens
    stream = packed(conversations(1), longest)
    assert (stream.num_samples, stream.num_cut, stream.num_tokens) == (1, 0, longest)
    assert stream.epoch_sample(0).document_starts.sum() == 1


# ---- too long

# A conversation by hand: 1 asks, 2 answers, 9 ends turns; ~ is in the loss.
ASK, END = [1, 1, 9], 9
ANSWER = [~2, ~2, ~END]


def cut(stored, seq_length, token_file, **settings):
    stream = PackedConversations(token_file([stored]), seq_length, [END], 0, 0, **settings)
    found = [ids for j in range(stream.num_samples) for ids, _ in conversations_of(stream.epoch_sample(j))]
    return found[0] if found else [], stream


def test_a_long_conversation_ends_with_the_last_answer_that_fits(token_file):
    stored = [*ASK, *ANSWER, *ASK, *ANSWER, *ASK, *ANSWER]
    ids = [~id if id < 0 else id for id in stored]
    kept = {length: len(cut(stored, length, token_file)[0]) for length in range(1, 20)}
    # One place less than tokens: the last is only a label.
    expected = {length: 18 if length >= 17 else 12 if length >= 11 else 6 if length >= 5 else 0 for length in kept}
    assert kept == expected
    for length in range(1, 20):
        found, stream = cut(stored, length, token_file)
        assert found == ids[: kept[length]]
        assert (stream.num_cut, stream.num_left_out) == (int(5 <= length < 17), int(length < 5))
        assert stream.num_conversations == stream.num_samples == int(length >= 5)


def test_a_cut_is_never_within_an_answer_or_at_a_question(token_file):
    long_answer = [*ASK, ~2, ~END, *ASK, *[~2] * 50, ~END]
    assert cut(long_answer, 40, token_file)[0] == [1, 1, 9, 2, 9]
    first_too_long = [*ASK, *[~2] * 50, ~END, *ASK, ~2, ~END]
    assert cut(first_too_long, 40, token_file)[0] == []
    # The released recipe's mask also has the ends of questions in the loss.
    qwen = [~8, 7, 1, ~END, ~6, ~8, 7, ~2, ~END, ~6, ~8, 7, 1, 1, ~END, ~6, ~8, 7, ~2, ~2, ~2, ~END, ~6]
    assert cut(qwen, 15, token_file)[0] == [8, 7, 1, 9, 6, 8, 7, 2, 9]


@pytest.mark.parametrize("mask", ["assistant", "qwen"])
def test_every_conversation_keeps_the_end_of_its_last_answer(mask, packed, conversations, tokenizer):
    end = tokenizer.special_tokens["<|im_end|>"]
    stream = packed(conversations(200), 40, mask)
    assert stream.num_cut > 10 and stream.num_left_out > 10
    assert stream.num_conversations + stream.num_left_out == 200
    for j in range(stream.num_samples):
        for ids, inside in conversations_of(stream.epoch_sample(j)):
            assert len(ids) - 1 <= 40
            if mask == "assistant" or ids[-1] == end:
                assert ids[-1] == end and inside[-2:] == [1, 1]
            else:
                assert ids[-2] == end and inside[-3:] == [1, 1, 1]


def test_a_model_s_positions_cut_a_conversation_but_not_a_sample(packed, conversations):
    given = conversations(100)
    longest = max(stream.num_tokens for stream in [packed([one], 4096) for one in given])
    free, bound = packed(given, 4 * longest), packed(given, 4 * longest, max_positions=longest // 2)
    assert free.num_cut == free.num_left_out == 0 and free.max_length == 4 * longest
    assert bound.num_cut + bound.num_left_out > 0 and bound.max_length == longest // 2
    lengths = [len(ids) - 1 for j in range(bound.num_samples) for ids, _ in conversations_of(bound.epoch_sample(j))]
    assert max(lengths) <= longest // 2
    assert bound.num_tokens > 0.8 * bound.num_samples * bound.seq_length  # several to a sample
    assert packed(given, 64, max_positions=4096).max_length == 64


def test_nothing_to_pack(token_file):
    stream = PackedConversations(token_file([[], []]), 16, [END], 0, 0)
    assert (stream.num_samples, stream.num_conversations, stream.num_left_out) == (0, 0, 2)
    assert stream.num_tokens == 0


# ---- the stream


def test_every_epoch_sees_every_conversation_once(packed, conversations):
    stream = packed(conversations(120), 150)
    n = stream.num_samples
    orders = []
    for epoch in range(3):
        samples = [stream.sample(i) for i in range(epoch * n, (epoch + 1) * n)]
        starts = [ids for sample in samples for ids, _ in conversations_of(sample)]
        assert len(starts) == 120 == len({tuple(ids) for ids in starts})
        orders.append([tuple(sample.tokens) for sample in samples])
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert orders[0] != orders[1] != orders[2]


def test_a_sample_is_a_function_of_seed_and_number(packed, conversations):
    def same(a, b):
        names = ("tokens", "labels", "mask", "document_starts")
        return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)

    given = conversations(60)
    one, two = packed(given, 150, seed=3), packed(given, 150, seed=3)
    numbers = list(range(3 * one.num_samples))
    forward = {i: one.sample(i) for i in numbers}
    assert all(same(forward[i], two.sample(i)) for i in np.random.default_rng(0).permutation(numbers).tolist())
    other = packed(given, 150, seed=4)
    assert not all(same(forward[i], other.sample(i)) for i in numbers)
