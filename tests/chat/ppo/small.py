"""A trainer of a random model that takes a tenth of a second per step."""

import copy

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Model

from qwen_chat import dialogues
from qwen_chat.ppo.engine import frozen, make_engine
from qwen_chat.ppo.models import PolicyModel, ValueModel
from qwen_chat.ppo.prompts import Query
from qwen_chat.ppo.recipe import PpoRecipe
from qwen_chat.ppo.rollout import Sampler
from qwen_chat.ppo.scorer import Scorer
from qwen_chat.ppo.trainer import Models, Trainer
from qwen_shared.recipe import validate
from qwen_shared.tokenizer import load_tokenizer

BASE = {
    "name": "small",
    "data": {"sources": ["dialogues"], "seq_length": 128},
    "training": {"steps": 4, "value_warmup_steps": 0, "global_batch_size": 8, "micro_batch_size": 4},
    "generation": {"max_new_tokens": 6},
    "reward": {"functions": ["checked"]},
    "policy": {"lr": 1e-3},
    "value": {"lr": 1e-3},
    "evaluation": {"interval": 2},
    "checkpoint": {"interval": 2},
}


def recipe_of(**changes) -> PpoRecipe:
    """`training__epochs=2` is training.epochs=2."""
    tree = copy.deepcopy(BASE)
    for key, value in changes.items():
        section, _, name = key.partition("__")
        tree.setdefault(section, {})[name] = value
    return validate(PpoRecipe, tree, "recipe")


def some_queries(tokenizer, count: int = 16) -> list[Query]:
    return [
        Query(prompt := dialogues.prompt(d), tokenizer.render(prompt, add_generation_prompt=True)[0], {})
        for d in dialogues.prompts(1, count)
    ]


def small_lm(tokenizer, seed: int = 0) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(_config(tokenizer))


def _config(tokenizer) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )


def make_trainer(function=None, config=None, rank=0, world_size=1, **changes) -> Trainer:
    """`function(responses' ids) -> scores`; default: by their length."""
    recipe, tokenizer = recipe_of(**changes), load_tokenizer("default")
    lm = small_lm(tokenizer)
    reference = frozen(PolicyModel(copy.deepcopy(lm)), config)
    policy = PolicyModel(lm, value_head=recipe.value.share_trunk)
    groups = [{"params": list(lm.parameters()), "lr": 0.0}]
    value = None
    if recipe.value.share_trunk:
        groups.append({"params": list(policy.head.parameters()), "lr": 0.0})
    else:
        torch.manual_seed(1)
        module = ValueModel(Qwen2Model(_config(tokenizer)))
        value = make_engine(module, [{"params": list(module.parameters())}], recipe.value, "fp32", config, "value")
    scorer = ById(function or (lambda rows: [float(len(row)) for row in rows]))
    engine = make_engine(policy, groups, recipe.policy, "fp32", config, "policy")
    models = Models(engine, value, reference, scorer, Sampler(lm, tokenizer, rounded=False))
    return Trainer(recipe, models, some_queries(tokenizer), rank, world_size, "fp32")


class ById(Scorer):
    """Scores by the responses' ids."""

    def __init__(self, function):
        super().__init__(None)
        object.__setattr__(self, "_function", function)

    def __call__(self, responses):
        return self._function(responses.ids)


def weights(engine) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in engine.module.state_dict().items()}


def changed(engine, before: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, tensor in engine.module.state_dict().items() if not torch.equal(tensor, before[name])]
