"""Every token of an epoch is seen once, every source in its order, and nothing depends on who asks when."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from qwen_shared.data import BlendedDataset, PackedDataset, TokenFile, TokenFileWriter, collate, samples_digest
from qwen_shared.errors import UserError

EOD = 0


def token_file(prefix, lengths):
    """Documents 1, 1, …, 0; 2, 2, …, 0; so that each token tells its document."""
    with TokenFileWriter(prefix, np.uint16) as writer:
        for i, length in enumerate(lengths, start=1):
            writer.add(np.array([i] * (length - 1) + [EOD]))
    return TokenFile(prefix)


LENGTHS = [3, 1, 17, 40, 2, 8, 9, 120, 5]


@pytest.mark.parametrize("seq_length", [1, 7, 64, 205, 1000])
def test_epochs_hold_every_document_once_and_whole(tmp_path, seq_length):
    file = token_file(tmp_path / "a", LENGTHS)
    packed = PackedDataset(file, seq_length, seed=3)
    total = sum(LENGTHS)
    samples = [packed.sample(i) for i in range(4 * total // seq_length + 2)]
    for sample, following in itertools.pairwise(samples):
        assert sample.dtype == np.int64 and sample.shape == (seq_length + 1,)
        assert sample[-1] == following[0]
    stream = np.concatenate([sample[:-1] for sample in samples])
    orders = []
    for epoch in range(4):
        text = stream[epoch * total : (epoch + 1) * total]
        documents = np.split(text, np.flatnonzero(text == EOD) + 1)[:-1]
        assert sorted(d.tolist() for d in documents) == sorted(file[i].tolist() for i in range(len(file)))
        orders.append([int(d[0]) for d in documents])
    assert len(set(map(tuple, orders))) > 1


def test_packed_samples_do_not_depend_on_what_was_asked_before(tmp_path):
    file = token_file(tmp_path / "a", LENGTHS)
    wanted = [PackedDataset(file, 16, seed=3).sample(i) for i in range(200)]
    packed = PackedDataset(file, 16, seed=3)
    for i in random.Random(0).sample(range(200), 200):
        assert np.array_equal(packed.sample(i), wanted[i])
    other = PackedDataset(file, 16, seed=4)
    assert any(not np.array_equal(other.sample(i), wanted[i]) for i in range(200))
    far = 10**12
    assert packed.sample(far)[-1] == packed.sample(far + 1)[0]


def test_order_is_the_same_on_every_machine_and_release(tmp_path):
    # Drawn once and written down: if these change, runs that were stopped no longer go on as they were.
    packed = PackedDataset(token_file(tmp_path / "a", [2] * 8), 16, seed=1234)
    assert packed.sample(0)[::2].tolist() == [6, 7, 4, 8, 5, 2, 3, 1, 8]
    assert packed.sample(1)[::2].tolist() == [8, 4, 1, 3, 5, 7, 6, 2, 8]


def test_no_tokens_are_refused(tmp_path):
    with pytest.raises(UserError, match="no tokens"):
        PackedDataset(token_file(tmp_path / "a", []), 4, 0)


def blend(weights, seed=1, streams=None):
    return BlendedDataset(streams or [None] * len(weights), weights, seed)


WEIGHTS = [[1.0], [3.0, 1.0], [0.7, 0.2, 0.1], [1e6, 1.0, 1.0, 1.0], [1, 1e-9], [1 / 3] * 3]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_source_is_read_once_and_in_order_at_its_share(weights):
    mixed = blend(weights)
    count = 20_000
    pairs = [mixed.locate(k) for k in range(count)]
    seen = Counter()
    for source, index in pairs:
        assert index == seen[source]  # the next one of that source: none twice, none left out
        seen[source] += 1
    for source, weight in enumerate(weights):
        # Exact at a block's border, to a sample; within a block at most the block's own part.
        share = weight / sum(weights)
        assert abs(seen[source] - share * count) <= 2 + 1024 * share * (1 - share)
    if len(weights) == 1:
        assert pairs == [(0, k) for k in range(count)]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_blocks_join_without_gap_far_from_the_start(weights):
    for first in (10**6 - 3000, 10**12 + 7):
        pairs = [blend(weights).locate(k) for k in range(first, first + 3000)]
        for source in range(len(weights)):
            indices = [index for s, index in pairs if s == source]
            assert indices == list(range(indices[0], indices[0] + len(indices))) if indices else True


def test_located_alike_whatever_is_asked_first():
    weights = [0.7, 0.2, 0.1]
    wanted = [blend(weights).locate(k) for k in range(5000)]
    mixed = blend(weights)
    for k in random.Random(0).sample(range(5000), 5000):
        assert mixed.locate(k) == wanted[k]
    assert [blend(weights, seed=2).locate(k) for k in range(5000)] != wanted
    assert all(w > 0 for w in mixed._weights) and sum(mixed._weights) == 1 << 32


def test_sample_comes_from_the_located_place(tmp_path):
    streams = [PackedDataset(token_file(tmp_path / name, LENGTHS), 8, seed=5) for name in "ab"]
    mixed = blend([2.0, 1.0], streams=streams)
    for k in range(50):
        source, index = mixed.locate(k)
        assert np.array_equal(mixed.sample(k), streams[source].sample(index))


def test_digest_is_of_the_set_of_samples():
    mixed = blend([2.0, 1.0])
    digests = [samples_digest(mixed, 64 * step, 64) for step in range(100)]
    assert len(set(digests)) == 100 and all(len(d) == 16 and int(d, 16) >= 0 for d in digests)
    assert digests == [samples_digest(blend([2.0, 1.0]), 64 * step, 64) for step in range(100)]


def test_weights_must_be_positive():
    with pytest.raises(UserError, match="positive"):
        blend([1.0, 0.0])


def test_loss_mask_is_zero_only_where_the_input_ends_a_document():
    got = collate([np.array([5, EOD, 7, 8]), np.array([EOD, EOD, 3, EOD])], EOD)
    assert got["tokens"].tolist() == [[5, EOD, 7], [EOD, EOD, 3]]
    assert got["labels"].tolist() == [[EOD, 7, 8], [EOD, 3, EOD]]
    assert got["loss_mask"].tolist() == [[1, 0, 1], [0, 0, 1]]
    assert (got["tokens"].dtype, got["labels"].dtype, got["loss_mask"].dtype) == (np.int64, np.int64, np.float32)
