"""The policy and the value model, which read only response tokens."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qwen_chat.ppo.math.batch import Rows
from qwen_chat.ppo.recipe import Lora
from qwen_shared.backend import device
from qwen_shared.errors import UserError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class PolicyModel(nn.Module):
    """A causal language model; with `value_head` also the value model."""

    def __init__(self, lm: PreTrainedModel | PeftModel, value_head: bool = False):
        super().__init__()
        self.lm = lm
        self.head = _zero_head(lm.config.hidden_size) if value_head else None

    def forward(self, input_ids: Tensor, attention_mask: Tensor, columns: Tensor, learns: bool = True):
        """Logits [B, R, V] before each response token; with a value head also values [B, R], fp32.

        `learns` false: only the value head gets gradients. Logits of the prompts would be most of the memory.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            hidden = _hidden(self.lm, input_ids, attention_mask, columns)
            output: Any = self.lm.get_output_embeddings()
            with torch.autocast(
                hidden.device.type, enabled=False
            ):  # logits rounded to bf16 would be noise in the ratios
                logits = output(hidden.to(output.weight.dtype))
        return logits if self.head is None else (logits, self.head(hidden)[..., 0].float())


class ValueModel(nn.Module):
    def __init__(self, trunk: PreTrainedModel):
        super().__init__()
        self.trunk, self.head = trunk, _zero_head(trunk.config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, columns: Tensor) -> Tensor:
        """Values [B, R], fp32, of the states before response tokens."""
        return self.head(_hidden(self.trunk, input_ids, attention_mask, columns))[..., 0].float()


def _hidden(lm: PreTrainedModel | PeftModel, input_ids: Tensor, attention_mask: Tensor, columns: Tensor) -> Tensor:
    """[B, R, H]: last hidden states at `columns`."""
    model: Any = lm
    if hasattr(model, "get_base_model"):  # adapters are inside its layers
        model = model.get_base_model()
    trunk = getattr(model, model.base_model_prefix, model)
    states = trunk(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
    return Rows(input_ids, attention_mask, columns).of_responses(states)


def _zero_head(hidden_size: int) -> nn.Linear:
    """Values start at 0: the first advantages are the rewards."""
    head = nn.Linear(hidden_size, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def value_of(reward: PreTrainedModel) -> ValueModel:
    """A value model on a copy of a reward model's trunk, in fp32. Its head is not taken: raw scores differ by their
    mean.
    """
    trunk: Any = copy.deepcopy(reward.base_model)
    return ValueModel(trunk).float().requires_grad_(True)


def load_policy(directory: Path, dtype: torch.dtype, lora: Lora | None = None) -> PreTrainedModel | PeftModel:
    """The causal model with all weights in `dtype`, or frozen under new fp32 adapters. Raises UserError if weights or
    the library for quantisation are missing.
    """
    from transformers import AutoModelForCausalLM

    arguments: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
    }
    if lora and lora.bits:
        arguments["quantization_config"] = _quantised(lora.bits)
    loaded: Any = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True, **arguments)
    lm, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"{directory}: no language model, {missing[0]} is missing; is it a reward model?")
    if not (lora and lora.bits):
        lm = lm.to(device())
    if lora is None:
        return lm
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(lm, config)


def _quantised(bits: int):
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"policy.lora.bits={bits} needs bitsandbytes: `uv pip install bitsandbytes`")
    from transformers import BitsAndBytesConfig

    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


@contextlib.contextmanager
def without_adapters(lm: PeftModel) -> Iterator[None]:
    """Inside, `lm` is the reference."""
    with lm.disable_adapter():
        yield
