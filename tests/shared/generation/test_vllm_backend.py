"""What vLLM is asked, and how its answers are read; a stand-in answers, since it needs a GPU."""

import importlib.util
import os
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from qwen_shared.generation.sampling import Completion, Sampling

STOP = 9


class StandInLLM:
    """Repeats the last id of a prompt; ends an answer to an odd id with the stop id."""

    def __init__(self, model, trust_remote_code, generation_config, **beside):
        assert not trust_remote_code and generation_config == "vllm"
        self.beside, self.loaded, self.caches_dropped = beside, {}, 0
        config = SimpleNamespace(max_model_len=12, get_vocab_size=lambda: 16)
        self.llm_engine = SimpleNamespace(model_config=config)
        self.calls = []

    def generate(self, prompts, parameters, use_tqdm):
        assert not use_tqdm and len(prompts) == len(parameters)
        self.calls += zip(prompts, parameters, strict=True)
        return [self._answer(p["prompt_token_ids"][-1], asked) for p, asked in zip(prompts, parameters, strict=True)]

    def apply_model(self, function):
        return [function(SimpleNamespace(load_weights=self.loaded.update))]

    def reset_prefix_cache(self):
        self.caches_dropped += 1

    def _answer(self, id, asked):
        ids = [id] * asked.max_tokens
        if id % 2:
            ids = [*ids[:-1], STOP]
        return SimpleNamespace(
            outputs=[SimpleNamespace(token_ids=tuple(ids), finish_reason="stop" if id % 2 else "length")]
        )


@pytest.fixture
def backend(monkeypatch):
    from qwen_shared.generation import vllm_backend

    module = ModuleType("vllm")
    module.LLM = StandInLLM
    module.SamplingParams = lambda **words: SimpleNamespace(**words)
    monkeypatch.setitem(sys.modules, "vllm", module)
    return vllm_backend


TOKENIZER = SimpleNamespace(vocab_size=14, stop_ids=(STOP,))


def test_answers_come_in_order_without_the_stop_id(backend):
    seen = []
    ask = backend.VllmGenerator("somewhere", TOKENIZER)
    answers = ask([[1, 2], [1, 3], [4] * 12, [4] * 11], Sampling(3), lambda *at: seen.append(at))
    assert answers == [
        Completion([2, 2, 2], stopped=False),
        Completion([3, 3], stopped=True, stop_id=9),
        Completion([], stopped=False),  # the prompt fills the positions
        Completion([4], stopped=False),  # one is left
    ]
    assert seen == [(4, 4)]


def test_what_is_asked(backend, monkeypatch):
    ask = backend.VllmGenerator("somewhere", TOKENIZER)
    ask([[1], [2]], Sampling(5, temperature=0.7, top_p=0.9, seed=3, stop_texts=("\n\n",)), None)
    (_, first), (_, second) = ask._llm.calls
    assert (first.temperature, first.top_p, first.max_tokens) == (0.7, 0.9, 5)
    assert first.stop == ["\n\n"] and first.detokenize and first.stop_token_ids == [STOP] and first.ignore_eos
    assert first.seed != second.seed
    assert first.logit_bias == {14: -100.0, 15: -100.0}  # padded rows
    monkeypatch.setattr(backend, "_PROMPTS_PER_CALL", 1)  # parts of a call draw as the whole would
    ask([[1], [2]], Sampling(5, temperature=0.7, seed=3), None)
    assert [asked.seed for _, asked in ask._llm.calls[2:]] == [first.seed, second.seed]


def test_it_follows_a_model_that_learns(backend, monkeypatch):
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING", raising=False)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    assert backend.VllmGenerator("somewhere", TOKENIZER)._llm.beside == {}
    beside = backend.VllmGenerator("somewhere", TOKENIZER, memory_share=0.25)
    assert beside._llm.beside == {"gpu_memory_utilization": 0.25}
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"  # weights are handed over inside the process
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert backend.VllmGenerator("somewhere", TOKENIZER, 0.25)._llm.beside["distributed_executor_backend"]
    model = torch.nn.Linear(2, 1)
    beside.load_weights(model.named_parameters())
    assert beside._llm.loaded["weight"] is model.weight and set(beside._llm.loaded) == {"weight", "bias"}
    assert beside._llm.caches_dropped == 1


def test_it_is_taken_with_a_gpu_only(backend, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not backend.available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not backend.available()
