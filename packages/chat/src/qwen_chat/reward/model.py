"""A reward model: a language model's trunk, and one number from its last hidden state at the end token.

transformers takes the rightmost id that is not padding, which is wrong if a turn ends with the padding id. Here the
attention mask tells the position.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

from qwen_shared.backend import device
from qwen_shared.convert.hf_files import stored_tensors
from qwen_shared.errors import UserError
from qwen_shared.run.paths import export_directory

HEAD = "score.weight"


@dataclass(frozen=True)
class RewardModel:
    """`module` takes input_ids and attention_mask [B, S]; its `logits` [B, 1] are fp32 rewards."""

    module: PreTrainedModel
    pad_id: int = 0  # masked everywhere

    @torch.no_grad()
    def score(self, rows: Sequence[Sequence[int]], batch_tokens: int = 8192) -> list[float]:
        """The reward at the last id of each row, in batches of at most `batch_tokens` padded tokens.

        Raises ValueError for an empty row.
        """
        self.module.eval()
        rewards = [0.0] * len(rows)
        at = next(self.module.parameters()).device
        for batch in length_batches([len(row) for row in rows], batch_tokens):
            ids, mask = padded([rows[i] for i in batch], self.pad_id)
            found = self.module(ids.to(at), attention_mask=mask.to(at)).logits[:, 0].tolist()
            for i, reward in zip(batch, found, strict=True):
                rewards[i] = reward
        return rewards


def load_reward_model(directory: Path) -> RewardModel:
    """The reward model of a run or directory on this device; fp32 on a CPU. Raises UserError if there is none."""
    directory = Path(directory)
    if not (directory / "config.json").is_file():
        directory = export_directory(directory)
        if not (directory / "config.json").is_file():
            raise UserError(f"{directory.parent}: no reward model there; `qwen-chat reward` makes one")
    if HEAD not in stored_tensors(directory):
        raise UserError(f"{directory}: no reward head ({HEAD}); `qwen-chat reward` adds one")
    module = read_at_end(load_module(directory, None if torch.cuda.is_available() else torch.float32))
    nn.Module.to(module, device())  # transformers' own annotation of `to` is wrong
    return RewardModel(module.eval(), module.config.get_text_config().pad_token_id or 0)


def load_module(directory: Path, dtype: torch.dtype | None, seed: int = 0, rows: int = 0) -> PreTrainedModel:
    """transformers' classifier with one label, from a language or reward model. `dtype` None: as stored.

    A missing head is drawn by `seed` alone; the embedding grows to at least `rows`.
    """
    stored = stored_tensors(directory)  # also refuses pickles
    # After a trainer with ZeRO 3, transformers would shard every model that it loads.
    unset_hf_deepspeed_config()
    torch.manual_seed(seed)  # for new embedding rows
    module = AutoModelForSequenceClassification.from_pretrained(
        directory,
        num_labels=1,
        dtype=dtype or "auto",
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    if rows > module.get_input_embeddings().num_embeddings:
        module.resize_token_embeddings(rows, mean_resizing=False)
    if HEAD not in stored:
        draw_head(module, seed)
    return module


def draw_head(module: PreTrainedModel, seed: int) -> None:
    weight = module.get_parameter(HEAD)
    config = module.config.get_text_config()
    shape = (1, config.hidden_size)
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * config.initializer_range
    with torch.no_grad():
        weight.copy_(drawn)


def read_at_end(module: PreTrainedModel) -> PreTrainedModel:
    """Makes `module` read rewards at each row's last token by the attention mask [B, S]."""
    module.forward = types.MethodType(_forward, module)
    return module


def _forward(
    self: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object
) -> SequenceClassifierOutputWithPast:
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    if bool(mask[:, 0].all()):  # causal attention never sees padding on the right
        hidden = self.base_model(input_ids, use_cache=False).last_hidden_state
    else:
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        hidden = self.base_model(
            input_ids, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(-1)
    ends = hidden[torch.arange(len(last), device=hidden.device), last]
    # fp32: bf16 has three digits, and the loss takes differences.
    with torch.autocast(hidden.device.type, enabled=False):
        rewards = self.get_submodule("score")(ends.to(self.get_parameter(HEAD).dtype))
    return SequenceClassifierOutputWithPast(logits=rewards.float())


def length_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices, longest first, in batches of at most `batch_tokens` padded tokens or of one row."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not lengths[i]:
            raise ValueError(f"row {i} is empty")
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > batch_tokens:
            batches.append([])
        batches[-1].append(i)
    return batches


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, int64 [B, S], padded on the right."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask
