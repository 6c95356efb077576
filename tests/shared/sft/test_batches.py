"""Packed conversations are trained on as if each were alone, and a step's loss is the mean over all its answers."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from qwen_shared.sft.packing import PackedConversations

SEQ_LENGTH, ROWS, END, PAD = 64, 64, 1, 0
MODEL = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 48, "num_key_value_heads": 2}


def conversation(seed: int, length: int, answer: int) -> list[int]:
    """`length` stored tokens, the last `answer` of them in the loss."""
    ids = [*np.random.default_rng(seed).integers(2, ROWS, length - 1).tolist(), END]
    return [*ids[:-answer], *(~id for id in ids[-answer:])]


# Lengths and answers of all kinds; samples have padding, too.
STORED = [conversation(i, 3 + 7 * i % 43, 1 + i % 3 * (i % 5)) for i in range(14)]


def recipe_of(micro=1, global_batch=2, seq_length=SEQ_LENGTH, parallel=None):
    from qwen_shared.recipe import SftRecipe

    return SftRecipe.model_validate(
        {
            "name": "x",
            "model": MODEL,
            "data": {"sources": "nowhere.jsonl", "seq_length": seq_length},
            "training": {"steps": 9, "global_batch_size": global_batch, "micro_batch_size": micro},
            "optimizer": {"lr": 1e-2},
            "parallel": parallel or {},
            "checkpoint": {"interval": 1},
            "evaluation": {"interval": 1},
        }
    )


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices this small are no work for two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_engine(megatron):
    """make_engine(micro=…, global_batch=…, seq_length=…): always with the same weights."""
    from qwen_shared.model.weights import random_source
    from qwen_shared.recipe import check_layout
    from qwen_shared.training.engine import Engine

    def make(**settings):
        recipe = recipe_of(**settings)
        weights = random_source(5, 2, 0.3, torch.device("cpu"))
        return Engine(recipe, check_layout(recipe, 1), megatron, "fp32", ROWS, weights)

    return make


@pytest.fixture
def stream(token_file):
    """stream([stored], seq_length) → PackedConversations"""
    return lambda stored, seq_length=SEQ_LENGTH: PackedConversations(token_file(stored), seq_length, [END], PAD, 0)


def batch(samples, size):
    from qwen_shared.sft.batches import conversation_batch

    return [conversation_batch(samples[i : i + size]) for i in range(0, len(samples), size)]


def all_of(packed):
    return [packed.epoch_sample(j) for j in range(packed.num_samples)]


def alone(stored, token_file):
    """Each conversation in a row of its own, as long as itself."""
    return [PackedConversations(token_file([one]), len(one) - 1, [END], PAD, 0).epoch_sample(0) for one in stored]


# ---- the same loss


def test_packed_loss_is_the_sum_of_each_alone(make_engine, stream, token_file):
    packed = stream(STORED)
    samples = all_of(packed)
    assert len(samples) < len(STORED) / 2 and packed.num_conversations == len(STORED)
    engine = make_engine(micro=len(samples), global_batch=len(samples))
    loss, tokens = engine.loss_sums(iter(batch(samples, len(samples))), 1)[:, 0].tolist()

    rows = alone(STORED, token_file)
    each = [engine.loss_sums(iter(batch([row], 1)), 1)[:, 0].tolist() for row in rows]
    assert tokens == sum(count for _, count in each) == sum(id < 0 for one in STORED for id in one[1:])
    assert loss == pytest.approx(sum(one for one, _ in each), rel=1e-5)

    # And with nothing of ours but the plain model: its logits of the conversation, torch's loss.
    expected = 0.0
    for one in STORED:
        ids = torch.tensor([id if id >= 0 else ~id for id in one])
        losses = F.cross_entropy(engine.logits(ids[None, :-1])[0].double(), ids[1:], reduction="none")
        expected += losses[torch.tensor(one[1:]) < 0].sum().item()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_step_on_packed_samples_is_the_step_on_each_alone(make_engine, stream):
    """Loss, gradient and new weights: rows of one conversation and padding give what packed samples give."""
    packed = stream(STORED)
    # Longest first, as `pack` takes them; each in a sample of its own.
    rows = [sample for one in STORED for sample in all_of(stream([one]))]
    results = []
    for samples in (all_of(packed), rows):
        engine = make_engine(micro=1, global_batch=len(samples))
        step = engine.train_step(iter(batch(samples, 1)), 1e-2)
        results.append((step, [p.detach().clone() for chunk in engine.model_chunks for p in chunk.parameters()]))
    (ours, weights), (theirs, other_weights) = results
    assert ours.tokens == theirs.tokens
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
    assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-5)
    # Adam's first step is the sign of the gradient: where that is all but 0, it may differ.
    different = sum(((a - b).abs() > 1e-4).sum().item() for a, b in zip(weights, other_weights, strict=True))
    assert different <= 1e-3 * sum(a.numel() for a in weights)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_change_in_one_document_leaves_the_others_bit_equal(precision, megatron, stream):
    """Other words, another length, and what lies behind in the padding."""
    from qwen_shared.model.builder import build_model
    from qwen_shared.model.weights import fill, random_source
    from qwen_shared.recipe.schema import Model, Parallel
    from qwen_shared.sft.batches import conversation_batch

    model = build_model(Model(**MODEL), ROWS, Parallel(), precision)
    fill(model, random_source(1, 2, 0.3, torch.device("cpu")))

    @torch.no_grad()
    def logits(stored):
        """Logits of each conversation of one sample, by its number."""
        packed = stream(stored, 96)
        assert packed.num_samples == 1
        micro = conversation_batch([packed.epoch_sample(0)])
        out = model[0].eval()(micro.tokens, documents=micro.documents)[0]
        found, at = {}, 0
        for number in packed.conversations_of(0):
            found[number] = out[at : at + len(stored[number]) - 1]
            at += len(found[number])
        assert at < 96
        return found

    base = [conversation(i, length, 2) for i, length in enumerate((30, 20, 14, 9))]
    before = logits(base)
    for changed in range(4):
        for length in (len(base[changed]), 5):
            after = logits([*base[:changed], conversation(99, length, 2), *base[changed + 1 :]])
            assert not torch.equal(before[changed][:5], after[changed][:5])
            for other in set(range(4)) - {changed}:
                assert torch.equal(before[other], after[other])


def test_logits_that_nobody_asked_for_change_nothing(make_engine, stream):
    """Loss, gradient and validation with the logits of loss positions only are those with all."""
    batches = batch(all_of(stream(STORED)), 1)
    everything = [replace(one, loss_positions=None) for one in batches]
    for one in batches:
        positions = one.loss_positions.tolist()
        assert set(one.masks[0].flatten().nonzero().flatten().tolist()) <= set(positions)
        assert len(set(positions)) == len(positions)
    ours, theirs = (make_engine(global_batch=len(batches)) for _ in range(2))
    sums = [engine.loss_sums(iter(some), len(some)) for engine, some in ((ours, batches), (theirs, everything))]
    torch.testing.assert_close(sums[0], sums[1], rtol=1e-6, atol=0)
    steps = [engine.train_step(iter(some), 1e-2) for engine, some in ((ours, batches), (theirs, everything))]
    assert (steps[0].tokens, steps[0].loss) == (steps[1].tokens, pytest.approx(steps[1].loss, rel=1e-6))
    assert steps[0].grad_norm == pytest.approx(steps[1].grad_norm, rel=1e-5)


def test_a_batch_of_padding_has_a_loss_of_nothing(make_engine, stream):
    """A rank whose held-out samples have run out."""
    from qwen_shared.sft.batches import conversation_batch

    (sample, *_) = all_of(stream(STORED))
    loss, tokens = make_engine().loss_sums(iter([conversation_batch([sample], [False])]), 1)[:, 0].tolist()
    assert (loss, tokens) == (0, 0)


# ---- the mean over tokens in the loss


def test_the_global_batch_is_normalised_as_a_whole(make_engine, stream):
    """Samples with 1 and with 40 tokens in the loss: two micro-batches give what one gives, not the mean of means."""
    few, many = (all_of(stream([conversation(i, 45, answer)]))[0] for i, answer in ((0, 1), (1, 40)))
    assert (few.mask.sum(), many.mask.sum()) == (1, 40)
    engine = make_engine(micro=1)
    (few_loss, _), (many_loss, _) = (
        engine.loss_sums(iter(batch([sample], 1)), 1)[:, 0].tolist() for sample in (few, many)
    )
    assert abs(few_loss - many_loss / 40) > 0.1  # else it proves nothing
    steps = [make_engine(micro=size).train_step(iter(batch([few, many], size)), 1e-2) for size in (1, 2)]
    for step in steps:
        assert step.tokens == 41
        assert step.loss == pytest.approx((few_loss + many_loss) / 41, rel=1e-5)
    assert steps[0].grad_norm == pytest.approx(steps[1].grad_norm, rel=1e-5)


def test_micro_batches_of_all_ranks_are_the_global_batch(megatron, stream):
    """However the work is divided, each sample of a step is read once."""
    from qwen_shared.data import BlendedDataset
    from qwen_shared.recipe import check_layout
    from qwen_shared.sft.batches import ConversationBatches

    blend = BlendedDataset([stream([conversation(i, 40, 5) for i in range(30)])], [1.0], 0)
    expected = {step: sorted(tuple(blend.sample(8 * (step - 1) + k).tokens) for k in range(8)) for step in (1, 2, 5)}
    digests = set()
    for micro, ranks in ((1, 1), (2, 1), (8, 1), (1, 2), (2, 2), (1, 8)):
        layout = check_layout(recipe_of(micro, 8), ranks)
        readers = [ConversationBatches(blend, layout, rank, 8, micro) for rank in range(ranks)]
        for step, samples in expected.items():
            found = [micro_batch for reader in readers for micro_batch in reader.micro_batches(step)]
            assert all(tuple(one.tokens.shape) == (micro, SEQ_LENGTH) for one in found)
            assert sorted(tuple(row) for one in found for row in one.tokens.tolist()) == samples
        digests.add(tuple(readers[-1].digest(step) for step in expected))
    assert len(digests) == 1 and len(set(*digests)) == 3


# ---- held out


@pytest.mark.parametrize("micro", [1, 4])
def test_held_out_loss(micro, make_engine, stream):
    """Of all conversations of all sources, each once, whatever is left over in the last micro-batch; where only so many
    tokens are asked for, of samples spread over all."""
    from qwen_shared.sft.batches import held_out_loss

    sources = [stream(STORED[:8]), stream(STORED[8:])]
    samples = [sample for source in sources for sample in all_of(source)]
    assert len(samples) == 6
    engine = make_engine(micro=micro, global_batch=4)
    sums = [engine.loss_sums(iter(batch([sample] * micro, micro)), 1)[:, 0] / micro for sample in samples]
    for taken, samples_asked in (([0, 1, 2, 3, 4, 5], None), ([0, 2, 4], 3.9), ([0, 3], 2.1), ([0], 0.1)):
        limit = samples_asked and int(samples_asked * SEQ_LENGTH)
        loss, tokens = sum(sums[i] for i in taken).tolist()
        found = held_out_loss(engine, sources, limit)
        assert found["val/loss"] == pytest.approx(loss / tokens, rel=1e-5)
        assert found["val/perplexity"] == pytest.approx(math.exp(loss / tokens), rel=1e-4)


def test_sources_are_blended_by_their_samples(stream):
    """Without weights every sample is seen equally often; with weights their share is what they say."""
    from qwen_shared.sft.data import Conversations

    big, small = (stream([conversation(i, 40, 5) for i in range(count)]) for count in (30, 10))
    for weights, share in (((None, None), 30 / 40), ((1.0, 1.0), 1 / 2)):
        sources = [SimpleNamespace(weight=weight) for weight in weights]
        recipe = SimpleNamespace(data=SimpleNamespace(sources=sources), seed=0, stages=[])
        conversations = Conversations([], [big, small], [])
        places = [conversations.blend(recipe).locate(k)[0] for k in range(4096)]
        assert 1 - np.mean(places) == pytest.approx(share, abs=0.002)
        assert conversations.real_share == 39 / SEQ_LENGTH
