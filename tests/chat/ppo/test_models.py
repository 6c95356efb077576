"""Adapters on the policy; the frozen weights are the reference."""

import importlib.util

import pytest
import torch

from qwen_chat.ppo.models import PolicyModel, load_policy, without_adapters
from qwen_chat.ppo.recipe import Lora
from qwen_shared.errors import UserError
from qwen_shared.tokenizer import load_tokenizer

from .small import small_lm


@pytest.fixture
def saved(tmp_path):
    lm = small_lm(load_tokenizer("default")).eval()
    lm.save_pretrained(tmp_path)
    return tmp_path, lm


def inputs():
    ids = torch.arange(12).view(2, 6)
    return ids, torch.ones_like(ids, dtype=torch.bool), torch.tensor([[3, 4], [2, 3]])


def test_without_adapters_it_is_the_parent_to_the_bit(saved):
    directory, lm = saved
    policy = PolicyModel(load_policy(directory, torch.float32, Lora(rank=4, alpha=8))).eval()
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
        assert not torch.equal(policy(*inputs()), PolicyModel(lm)(*inputs()))
        with without_adapters(policy.lm):
            assert torch.equal(policy(*inputs()), PolicyModel(lm)(*inputs()))


def test_only_adapters_learn_and_are_merged_into_a_plain_model(saved):
    directory, lm = saved
    policy = PolicyModel(load_policy(directory, torch.float32, Lora(rank=4, alpha=8)))
    learning = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert learning
    assert all("lora_" in name for name in learning)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        before = policy.eval()(*inputs())
        merged = policy.lm.merge_and_unload()
        assert set(merged.state_dict()) == set(lm.state_dict())
        assert torch.allclose(PolicyModel(merged)(*inputs()), before, atol=1e-4)


def test_quantised_weights_need_their_library(saved):
    if importlib.util.find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed here")
    with pytest.raises(UserError, match="needs bitsandbytes"):
        load_policy(saved[0], torch.float32, Lora(bits=4))


def test_a_reward_model_is_no_policy(saved, tmp_path):
    from transformers import AutoModelForSequenceClassification

    reward = AutoModelForSequenceClassification.from_pretrained(saved[0], num_labels=1)
    reward.save_pretrained(tmp_path / "reward")
    with pytest.raises(UserError, match=r"no language model, lm_head.weight is missing"):
        load_policy(tmp_path / "reward", torch.float32)
