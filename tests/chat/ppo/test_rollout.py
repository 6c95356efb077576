"""Responses from both samplers."""

import torch

from qwen_chat.ppo import rollout
from qwen_shared.generation.sampling import Completion, Sampling
from qwen_shared.tokenizer import load_tokenizer

from .small import small_lm, some_queries


class StandInVllm:
    """Records its weights; ends the first answer and cuts the others off."""

    def __init__(self, directory, tokenizer, memory_share):
        self.asked, self.weights = (directory, memory_share), {}
        self._stop = tokenizer.stop_ids[0]

    def load_weights(self, weights):
        self.weights = {name: tensor.clone() for name, tensor in weights}

    def __call__(self, prompts, sampling):
        cut_off = Completion([5, 6], stopped=False)
        return [Completion([7], stopped=True, stop_id=self._stop), *[cut_off] * (len(prompts) - 1)]


def test_vllm_answers_with_the_weights_of_the_moment(monkeypatch, tmp_path):
    monkeypatch.setattr(rollout, "VllmGenerator", StandInVllm)
    tokenizer = load_tokenizer("default")
    lm = small_lm(tokenizer)
    sampler = rollout.VllmSampler(lm, tokenizer, tmp_path, 0.3)
    assert sampler._generate.asked == (tmp_path, 0.3)
    with torch.no_grad():
        lm.model.norm.weight.fill_(2.0)
    sampler.sync_weights()
    assert sampler._generate.weights["model.norm.weight"].eq(2.0).all()
    assert set(sampler._generate.weights) == {name for name, _ in lm.named_parameters()}
    queries = some_queries(tokenizer, 3)
    responses = sampler(queries, Sampling(2))
    # The end token is part of a response: that is where its reward lands.
    assert responses.ids == [[7, tokenizer.stop_ids[0]], [5, 6], [5, 6]]
    assert responses.ended == [True, False, False] and responses.queries == queries
    assert responses.texts[1] == tokenizer.decode([5, 6])
