"""Invariants of a whole step."""

import itertools

import pytest
import torch

from qwen_chat.ppo.math.batch import join, pad
from qwen_chat.ppo.math.probabilities import log_probabilities
from qwen_chat.ppo.models import PolicyModel
from qwen_shared.tokenizer import load_tokenizer

from .small import changed, make_trainer, small_lm, weights


@pytest.mark.parametrize("share_trunk", [False, True])
def test_the_first_minibatch_finds_the_policy_where_it_was(share_trunk):
    metrics = make_trainer(value__share_trunk=share_trunk).step(1)
    assert metrics["ppo/ratio_mean"] == pytest.approx(1.0, abs=1e-6)
    assert metrics["ppo/approximate_kl"] == pytest.approx(0.0, abs=1e-10)
    assert metrics["ppo/clip_share"] == 0.0
    assert metrics["ppo/kl"] == pytest.approx(0.0, abs=1e-6)  # the reference is the start


def test_updates_after_the_first_have_moved_it():
    metrics = make_trainer(training__epochs=2).step(1)
    assert metrics["ppo/approximate_kl"] > 0.0


def test_a_rate_of_zero_changes_nothing():
    tiny = 1e-300  # a rate must be positive; this one is zero in fp32
    trainer = make_trainer(training__epochs=2, policy__lr=tiny, value__lr=tiny)
    policy, value = weights(trainer.models.policy), weights(trainer.models.value)
    for step in (1, 2):
        trainer.step(step)
    assert changed(trainer.models.policy, policy) == changed(trainer.models.value, value) == []


def test_value_warm_up_leaves_the_policy_bit_equal():
    trainer = make_trainer(training__value_warmup_steps=2)
    policy, value = weights(trainer.models.policy), weights(trainer.models.value)
    for step in (1, 2):
        trainer.step(step)
    assert changed(trainer.models.policy, policy) == []
    assert changed(trainer.models.value, value)
    trainer.step(3)
    assert changed(trainer.models.policy, policy)


def test_value_warm_up_on_a_shared_trunk_teaches_the_head_alone():
    trainer = make_trainer(training__value_warmup_steps=2, value__share_trunk=True)
    before = weights(trainer.models.policy)
    for step in (1, 2):
        trainer.step(step)
    assert set(changed(trainer.models.policy, before)) == {"head.weight", "head.bias"}
    trainer.step(3)
    assert len(changed(trainer.models.policy, before)) > 2


@pytest.mark.heavy
def test_a_rewarded_token_grows_likelier_at_every_step():
    token = 300

    def share(rows):
        return [row.count(token) / len(row) for row in rows]

    trainer = make_trainer(
        share,
        training__global_batch_size=64,
        training__micro_batch_size=64,
        generation__top_p=1.0,
        generation__max_new_tokens=4,
        reward__truncated="keep",
        reward__kl_coefficient=0.0,
        policy__lr=3e-4,
    )
    _tilt(trainer, token)
    chances = [_chance(trainer, token)]
    for step in range(1, 31):
        trainer.step(step)
        chances.append(_chance(trainer, token))
    assert all(later > earlier for earlier, later in itertools.pairwise(chances)), chances
    assert chances[-1] > 1.3 * chances[0]


def _tilt(trainer, token):
    """A random model samples a token once in thousands: make it frequent enough to be seen in every step."""
    lm = trainer.models.policy.module.lm
    with torch.no_grad():
        lm.get_output_embeddings().weight *= 0.05
        states = lm.model(torch.tensor([trainer._queries[0].ids])).last_hidden_state[0, -1]
        lm.get_output_embeddings().weight[token] += 7.0 * states / states.square().sum()


@torch.no_grad()
def _chance(trainer, token) -> float:
    lm = trainer.models.policy.module.lm
    logits = [lm(torch.tensor([query.ids])).logits[0, -1] for query in trainer._queries]
    return torch.stack(logits).softmax(-1)[:, token].mean().item()


def test_the_same_seed_gives_the_same_run():
    def timeless(metrics):
        return {name: value for name, value in metrics.items() if not name.startswith("time/")}

    one, other = make_trainer(training__epochs=2), make_trainer(training__epochs=2)
    for step in (1, 2):
        assert timeless(one.step(step)) == timeless(other.step(step))
    assert changed(one.models.policy, weights(other.models.policy)) == []
    another = make_trainer(training__epochs=2, training__minibatches=2)
    assert timeless(another.step(1)) != timeless(make_trainer(training__epochs=2).step(1))


def test_micro_batches_change_nothing():
    whole, parts = make_trainer(training__micro_batch_size=8), make_trainer(training__micro_batch_size=3)
    for step in (1, 2):
        a, b = whole.step(step), parts.step(step)
        for name in ("ppo/policy_loss", "ppo/value_loss", "ppo/kl", "ppo/explained_variance"):
            assert a[name] == pytest.approx(b[name], abs=1e-5), name


def test_responses_that_were_cut_teach_nothing_where_they_are_masked():
    trainer = make_trainer(reward__truncated="mask", generation__max_new_tokens=1)  # a random model ends none of them
    before = weights(trainer.models.policy)
    metrics = trainer.step(1)
    assert metrics["ppo/ended"] == 0.0
    assert changed(trainer.models.policy, before) == []


def test_updates_end_where_the_policy_has_moved_far_enough():
    far = make_trainer(training__epochs=4, losses__kl_limit=1e-12)
    free = make_trainer(training__epochs=4)
    assert far.step(1)["ppo/approximate_kl"] < free.step(1)["ppo/approximate_kl"]


@pytest.mark.parametrize(("side", "extra"), [("left", 0), ("right", 3), ("left", 3)])
def test_padding_changes_no_probability(side, extra):
    tokenizer = load_tokenizer("default")
    model = PolicyModel(small_lm(tokenizer)).eval()
    prompts, answers = [[5, 6, 7], [8], [9, 10, 11, 12, 13]], [[20, 21], [22, 23, 24, 25], [26]]

    def logprobs(prompt_side, answer_side, extra):
        ids, mask = pad(prompts, prompt_side)
        responses, response_mask = (torch.nn.functional.pad(x, (extra, extra)) for x in pad(answers, answer_side))
        rows = join(ids, mask, responses, response_mask)
        found = log_probabilities(model(rows.input_ids, rows.attention_mask, rows.columns), responses)
        return found[response_mask]

    with torch.no_grad():
        assert torch.allclose(logprobs("left", side, extra), logprobs("right", "right", 0), atol=1e-5)
