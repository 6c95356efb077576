"""Every pair once an epoch, reproducibly, with little padding."""

import numpy as np

from qwen_chat.reward.stages import training_order

LENGTHS = np.random.default_rng(0).integers(10, 400, 1000)


def test_every_pair_comes_once():
    order = training_order(LENGTHS, 8, 1, 1.0, None)
    assert sorted(order) == list(range(1000))
    assert np.array_equal(order, training_order(LENGTHS, 8, 1, 1.0, None))
    assert not np.array_equal(order, training_order(LENGTHS, 8, 2, 1.0, None))


def test_epochs_and_steps_say_how_many():
    assert len(training_order(LENGTHS, 16, 1, 1.0, None)) == 62 * 16
    twice = training_order(LENGTHS, 8, 1, 2.0, None)
    assert set(np.bincount(twice, minlength=1000)) == {2}
    assert len(training_order(LENGTHS, 8, 1, 1.0, 3)) == 24
    assert len(training_order(LENGTHS[:5], 8, 1, 1.0, None)) == 8
    assert len(training_order(LENGTHS[:5], 8, 1, 1.0, 4)) == 32


def test_batches_are_of_similar_length_and_in_no_order():
    batches = LENGTHS[training_order(LENGTHS, 8, 1, 1.0, None)].reshape(-1, 8)
    padding = 1 - batches.mean() / batches.max(1).mean()
    assert padding < 0.08
    rise = np.corrcoef(np.arange(32), batches[:32].mean(1))[0, 1]
    assert abs(rise) < 0.5
