"""`qwen-chat publish`: also of the runs that do not train on Megatron, a reward model's and PPO's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_chat.recipe import DIALOGUES
from qwen_chat.reward.recipe import PAIRS
from qwen_shared.publish import command
from qwen_shared.publish.command import Kind

if TYPE_CHECKING:
    from torch import Tensor

    from qwen_shared.publish.subject import Subject
    from qwen_shared.tokenizer import Tokenizer


def main(args: argparse.Namespace) -> int:
    kinds = {"chat-reward": Kind(_reward_parity, (PAIRS,)), "chat-ppo": Kind(_policy_parity, (DIALOGUES,))}
    return command.main(args, kinds)


def _reward_parity(subject: Subject, directory: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """The run reads a reward where the attention mask ends, plain transformers where the padding begins: both are asked
    rows of several lengths."""
    from transformers import AutoModelForSequenceClassification

    from qwen_chat.reward.model import load_module, padded, read_at_end
    from qwen_shared.publish.parity import module_parity, proof_batch

    own = load_module(subject.checkpoint, None)
    rows = proof_batch(tokenizer, own.config.get_text_config().vocab_size).tolist()
    pad_id = _published_pad_id(directory)
    whole = [[id for id in row if id != pad_id] for row in rows]
    ends = [[*row[: len(row) - 20 * i], tokenizer.stop_ids[0]] for i, row in enumerate(whole)]
    ids, mask = padded(ends, pad_id)
    inputs = {"input_ids": ids, "attention_mask": mask}
    return module_parity(read_at_end(own), directory, inputs, AutoModelForSequenceClassification.from_pretrained)


def _published_pad_id(directory: Path) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    return config.get_text_config().pad_token_id


def _policy_parity(subject: Subject, directory: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from qwen_chat.ppo.models import load_policy
    from qwen_chat.ppo.recipe import PpoRecipe
    from qwen_shared.publish.parity import module_parity, proof_batch
    from qwen_shared.run.integrity import data_alone
    from qwen_shared.run.manifest import read_recipe

    with data_alone(subject.checkpoint):
        weights = _policy_weights(subject.checkpoint)
    lora = read_recipe(subject.run_dir, PpoRecipe).policy.lora
    if lora:
        own = load_policy(_start(subject), torch.float32, lora)
        own.load_state_dict(weights, strict=False)
        own = own.merge_and_unload()
    else:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        own = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        own.load_state_dict(weights, strict=False)  # tied weights stand there once
    inputs = {"input_ids": proof_batch(tokenizer, own.config.get_text_config().vocab_size)}
    # Adapters were merged when the run ended, perhaps on a GPU, whose sums have another last digit.
    tolerance = 1e-5 if lora else 0.0
    return module_parity(own, directory, inputs, AutoModelForCausalLM.from_pretrained, tolerance)


def _policy_weights(checkpoint: Path) -> dict[str, Tensor]:
    """What the policy learned, by the names of transformers' model: all weights, or those of the adapters."""
    import torch

    if (checkpoint / "policy.pt").is_file():
        weights = torch.load(checkpoint / "policy.pt", map_location="cpu", weights_only=True)["weights"]
    elif (whole := checkpoint / "policy" / "mp_rank_00_model_states.pt").is_file():
        weights = torch.load(whole, map_location="cpu", weights_only=True)["module"]
    else:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        from qwen_chat.deepspeed_config import know_states

        know_states()
        weights = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), tag="policy")
    prefix = "lm."
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _start(subject: Subject) -> Path:
    """What adapters lie on. Raises RuntimeError where it is not what it was."""
    from qwen_shared.convert.hf_files import weights_hash
    from qwen_shared.job.parent import resolve_parent

    parent = subject.manifest.parent
    directory = resolve_parent(f"{parent.run}@{parent.step}" if parent.step else parent.run).fetch()
    if parent.hash not in (None, weights_hash(directory)):
        raise RuntimeError(f"{directory} is not the model that the adapters of {subject.run_dir} lie on")
    return directory
