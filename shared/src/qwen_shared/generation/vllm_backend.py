"""The same answers from vLLM, where it is installed and there is a GPU: token ids in, token ids out."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qwen_shared.generation.sampling import Completion, Progress, Sampling
from qwen_shared.tokenizer import Tokenizer

_AT_ONCE = 4096  # prompts per call, so that progress can be shown; vLLM batches them itself


def available() -> bool:
    return torch.cuda.is_available() and importlib.util.find_spec("vllm") is not None


class VllmGenerator:
    """A `Generate`. The weights stay on the GPU as long as this object lives.

    Greedy answers equal those of `decode.generate` but for ties in floating point; sampled ones are as reproducible
    (a seed for each prompt) but others, since vLLM draws in its own way.
    """

    def __init__(self, directory: Path, tokenizer: Tokenizer, memory_share: float | None = None):
        """`memory_share`: the share of the GPU to take beside a model in training, which then updates the weights by
        `load_weights`; vLLM runs in this process, on this rank's GPU. By default vLLM takes the whole GPU."""
        beside: dict[str, Any] = {}
        if memory_share is not None:
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # read when the engine is made
            beside["gpu_memory_utilization"] = memory_share
            if torch.distributed.is_initialized():
                beside["distributed_executor_backend"] = "external_launcher"  # the ranks are there already
        # By name, since nothing here may need it: it is a user's own, like Transformer Engine.
        self._vllm = importlib.import_module("vllm")
        self._tokenizer = tokenizer
        # `generation_config="vllm"`: no sampling defaults from the model's directory. Code beside it is never run.
        self._llm = self._vllm.LLM(model=str(directory), trust_remote_code=False, generation_config="vllm", **beside)
        config = self._llm.llm_engine.model_config
        self._positions = config.max_model_len
        # Padded vocabulary rows are no ids of the tokenizer and must not be drawn.
        self._bias = dict.fromkeys(range(tokenizer.vocab_size, config.get_vocab_size()), -100.0) or None

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Takes these weights, by their Hugging Face names; what it kept of prompts was computed with the old ones."""
        weights = list(weights)
        self._llm.apply_model(lambda model: model.load_weights(weights))
        self._llm.reset_prefix_cache()

    def __call__(
        self, prompts: list[list[int]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        longest = min(sampling.max_length or self._positions, self._positions)
        within = replace(sampling, max_length=longest)
        completions: list[Completion] = []
        for first in range(0, len(prompts), _AT_ONCE):
            some = prompts[first : first + _AT_ONCE]
            completions += self._some(some, sampling.first + first, within)
            if progress:
                progress(len(completions), len(prompts))
        return completions

    def _some(self, prompts: list[list[int]], first: int, sampling: Sampling) -> list[Completion]:
        asked = [i for i, prompt in enumerate(prompts) if sampling.room(prompt) > 0]
        outputs = self._llm.generate(
            [{"prompt_token_ids": prompts[i]} for i in asked],
            [self._parameters(sampling, sampling.room(prompts[i]), first + i) for i in asked],
            use_tqdm=False,
        )
        completions = [Completion([], stopped=False)] * len(prompts)
        for i, output in zip(asked, outputs, strict=True):
            answer = output.outputs[0]
            ids = list(answer.token_ids)
            stop_id = ids.pop() if ids and ids[-1] in self._tokenizer.stop_ids else None
            completions[i] = Completion(ids, answer.finish_reason == "stop", stop_id)
        return completions

    def _parameters(self, sampling: Sampling, room: int, index: int):
        return self._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=_seed(sampling.seed, index) if sampling.temperature else None,
            max_tokens=room,
            stop=list(sampling.stop_texts) or None,
            stop_token_ids=list(self._tokenizer.stop_ids),
            ignore_eos=True,  # ours alone decide
            logit_bias=self._bias,
            detokenize=bool(sampling.stop_texts),
        )


def _seed(seed: int, index: int) -> int:
    """A seed for each prompt, in vLLM's range."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))
