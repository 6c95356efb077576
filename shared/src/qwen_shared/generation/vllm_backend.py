"""Generation with vLLM (optional), on token ids."""

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

_PROMPTS_PER_CALL = 4096  # several calls, so that progress is shown


def available() -> bool:
    return torch.cuda.is_available() and importlib.util.find_spec("vllm") is not None


class VllmGenerator:
    r"""A `Generate`. Its weights stay on the GPU while this object lives.

    Greedy answers equal those of `decode.generate` except for floating-point ties. Sampled answers differ but are
    reproducible: each prompt has its own seed.
    """

    def __init__(self, directory: Path, tokenizer: Tokenizer, memory_share: float | None = None):
        """`memory_share`: share of the GPU beside a model in training, which updates the weights by `load_weights`;
        vLLM then runs in this process, on this rank's GPU. Default: vLLM takes the whole GPU."""
        beside: dict[str, Any] = {}
        if memory_share is not None:
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # read when the engine is made
            beside["gpu_memory_utilization"] = memory_share
            if torch.distributed.is_initialized():
                beside["distributed_executor_backend"] = "external_launcher"  # the ranks exist already
        self._vllm = importlib.import_module("vllm")  # not a declared dependency
        self._tokenizer = tokenizer
        # "vllm": no sampling defaults from the directory.
        self._llm = self._vllm.LLM(model=str(directory), trust_remote_code=False, generation_config="vllm", **beside)
        config = self._llm.llm_engine.model_config
        self._positions = config.max_model_len
        # Never draw padded vocabulary rows.
        self._bias = dict.fromkeys(range(tokenizer.vocab_size, config.get_vocab_size()), -100.0) or None

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Loads weights by Hugging Face names; drops the prefix cache of the old ones."""
        weights = list(weights)
        self._llm.apply_model(lambda model: model.load_weights(weights))
        self._llm.reset_prefix_cache()

    def __call__(
        self, prompts: list[list[int]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        longest = min(sampling.max_length or self._positions, self._positions)
        within = replace(sampling, max_length=longest)
        completions: list[Completion] = []
        for first in range(0, len(prompts), _PROMPTS_PER_CALL):
            some = prompts[first : first + _PROMPTS_PER_CALL]
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
            ignore_eos=True,  # stop only at `stop_token_ids`
            logit_bias=self._bias,
            detokenize=bool(sampling.stop_texts),
        )


def _seed(seed: int, index: int) -> int:
    """In vLLM's range."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))
