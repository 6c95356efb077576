"""The parity of published reward models and policies with their checkpoints (see `qwen_shared.publish.parity`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from qwen_shared.publish.checkpoint import Checkpoint
    from qwen_shared.tokenizer import Tokenizer


def reward_parity(checkpoint: Checkpoint, directory: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """The run reads a reward at the end of the attention mask, plain transformers before the padding; rows of several
    lengths show that these are one position."""
    from transformers import AutoModelForSequenceClassification

    from qwen_chat.reward.model import load_module, padded, read_at_end
    from qwen_shared.publish.parity import module_parity, proof_batch

    own = load_module(checkpoint.path, None)
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


def policy_parity(checkpoint: Checkpoint, directory: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    from qwen_chat.ppo.models import load_policy
    from qwen_chat.ppo.recipe import PpoRecipe
    from qwen_shared.publish.parity import module_parity, proof_batch
    from qwen_shared.run.integrity import data_alone
    from qwen_shared.run.manifest import read_recipe

    with data_alone(checkpoint.path):
        weights = _policy_weights(checkpoint.path)
    lora = read_recipe(checkpoint.run_dir, PpoRecipe).policy.lora
    if lora:
        adapted = load_policy(_parent_model(checkpoint), torch.float32, lora)
        assert isinstance(adapted, PeftModel)
        adapted.load_state_dict(weights, strict=False)
        own = adapted.merge_and_unload()
    else:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        own = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        own.load_state_dict(weights, strict=False)  # tied weights are stored once
    inputs = {"input_ids": proof_batch(tokenizer, own.config.get_text_config().vocab_size)}
    # Adapters were merged when the run ended, perhaps on a GPU, whose sums may differ in the last digit.
    tolerance = 1e-5 if lora else 0.0
    return module_parity(own, directory, inputs, AutoModelForCausalLM.from_pretrained, tolerance)


def _policy_weights(directory: Path) -> dict[str, Tensor]:
    """The policy's trained weights, all or the adapters', by transformers' names."""
    import torch

    if (directory / "policy.pt").is_file():
        weights = torch.load(directory / "policy.pt", map_location="cpu", weights_only=True)["weights"]
    elif (whole := directory / "policy" / "mp_rank_00_model_states.pt").is_file():
        weights = torch.load(whole, map_location="cpu", weights_only=True)["module"]
    else:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        from qwen_chat.deepspeed_config import know_states

        know_states()
        weights = get_fp32_state_dict_from_zero_checkpoint(str(directory), tag="policy")
    prefix = "lm."
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _parent_model(checkpoint: Checkpoint) -> Path:
    """The model that adapters were trained on. Raises RuntimeError if it has changed."""
    from qwen_shared.convert.hf_files import weights_hash
    from qwen_shared.errors import UserError
    from qwen_shared.job.parent import resolve_parent
    from qwen_shared.run.manifest import MANIFEST

    parent = checkpoint.manifest.parent
    if parent is None:
        raise UserError(f"{checkpoint.run_dir / MANIFEST}: its adapters need a `parent`, and it names none")
    directory = resolve_parent(f"{parent.run}@{parent.step}" if parent.step else parent.run).fetch()
    if parent.hash not in (None, weights_hash(directory)):
        raise RuntimeError(f"{directory} is not the model that the adapters of {checkpoint.run_dir} were trained on")
    return directory
