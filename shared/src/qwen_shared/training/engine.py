"""Model, optimizer and one training step, on Megatron's data-parallel wrapper, optimizer and pipeline schedule."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from qwen_shared import faults
from qwen_shared.backend import Event, Processes, device
from qwen_shared.model.builder import build_model, unwrap
from qwen_shared.model.context import context_slice, gather_sequence
from qwen_shared.model.documents import Documents
from qwen_shared.model.loss import Loss, token_loss
from qwen_shared.model.sizes import parameter_count
from qwen_shared.model.weights import fill
from qwen_shared.recipe import Layout, Recipe
from qwen_shared.training.optimizer import build_optimizer
from qwen_shared.training.plan.memory import checkpoint_bytes


@dataclass(frozen=True)
class MicroBatch:
    """Under context parallelism S is this rank's part. Training uses the first mask; validation reads the summed loss
    under each."""

    tokens: Tensor  # int64 [B, S]
    labels: Tensor  # int64 [B, S]
    masks: Tensor  # fp32 [K, B, S]
    documents: Documents | None = None  # where documents are isolated
    loss_positions: Tensor | None = None  # int64 [T]: which of the B·S positions any mask has; None where most are


@dataclass(frozen=True)
class StepResult:
    """`loss` is the mean over the `tokens` of the global batch that are in the loss."""

    loss: float
    tokens: int
    grad_norm: float
    updated: bool = True  # False: the weights are what they were
    own_seconds: float = field(default=0.0, compare=False)  # until this rank's gradients were ready for the others


class Engine:
    """This rank's share of the model and its optimizer."""

    def __init__(
        self,
        recipe: Recipe,
        layout: Layout,
        processes: Processes,
        precision: str,
        padded_vocab_size: int,
        weights: Callable[[str, tuple[int, ...]], Tensor],
        loss: Loss = token_loss,
    ):
        """`weights(global name, whole shape)` gives the initial weights (qwen_shared.model.weights)."""
        self.recipe, self.layout, self.processes = recipe, layout, processes
        self._padded_vocab_size, self._loss = padded_vocab_size, loss
        chunks = build_model(
            recipe.model, padded_vocab_size, recipe.parallel, precision, dropout=recipe.training.dropout
        )
        fill(chunks, weights)
        self.config = unwrap(chunks[0]).config
        # Each data-parallel rank keeps its part of the optimizer's state; with one rank that is all of it.
        ddp_config = DistributedDataParallelConfig(
            grad_reduce_in_fp32=True, overlap_grad_reduce=False, use_distributed_optimizer=True
        )
        # One chunk, or as many as parallel.virtual_pipeline says.
        self.model_chunks = [DistributedDataParallel(self.config, ddp_config, chunk) for chunk in chunks]
        self.optimizer = build_optimizer(recipe.optimizer, self.model_chunks, self.config.params_dtype)
        # Megatron's `step` does everything up to there; the weights move when the gradients' norm has been looked at.
        self._move_weights = self.optimizer.step_with_ready_grads
        self.optimizer.step_with_ready_grads = lambda: False
        self._step, self._ready = 0, Event()
        self.config.finalize_model_grads_func = self._finalize
        self.config.grad_scale_func = self.optimizer.scale_loss
        self._schedule = get_forward_backward_func()
        self.alive: Callable[[], None] = lambda: None  # called wherever there is progress

    def train_step(
        self, micro_batches: Iterator[MicroBatch], lr: float, step: int = 0, skip_update: bool = False
    ) -> StepResult:
        """One optimizer step over this rank's micro-batches of the global batch.

        The weights and the optimizer's state stay as they were where the loss or the gradient is not finite on any
        rank, and with `skip_update`. `step` is for faults on demand.
        """
        self._step, began = step, Event()
        for chunk in self.model_chunks:
            chunk.train()
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        loss, tokens = self._run(micro_batches, self.layout.num_microbatches, forward_only=False)[:, 0].tolist()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
            group["weight_decay"] = self.recipe.optimizer.weight_decay * group["wd_mult"]
        _, norm, _ = self.optimizer.step()
        # Both are sums over all ranks, so all ranks decide alike.
        loss, grad_norm = loss / max(tokens, 1), float(norm or 0.0)
        update = math.isfinite(loss) and math.isfinite(grad_norm) and not skip_update
        if update:
            self._move_weights()
        return StepResult(loss, int(tokens), grad_norm, update, self._ready.since(began))

    def _finalize(self, *args, **kwargs) -> None:
        """Between a rank's own work and the first that waits for all."""
        faults.spoil_gradients(
            [buffer.grad_data for chunk in self.model_chunks for buffer in chunk.buffers], self._step
        )
        self._ready = Event()
        finalize_model_grads(*args, **kwargs)

    @torch.no_grad()
    def loss_sums(self, micro_batches: Iterator[MicroBatch], count: int) -> Tensor:
        """Sums over `count` micro-batches of each rank, added over all ranks: fp64 [2, K], losses under each of the
        K masks, and the masks themselves."""
        self._set_eval()
        return self._run(micro_batches, count, forward_only=True)

    @torch.no_grad()
    def logits(self, tokens: Tensor) -> Tensor:
        """Logits [B, S, V] fp32 of tokens [B, S], the same on every rank (all ranks must call with the same tokens)."""
        self._set_eval()
        B, S = tokens.shape
        # Filled up on the right, which changes no logits, until the layout can cut the sequence.
        tokens = F.pad(tokens, (0, -S % self.layout.sequence_divisor)).to(device())
        part = context_slice(tokens, dim=1)
        self.alive()
        # The interleaved schedule wants as many micro-batches as there are stages.
        count = self.layout.pipeline_parallel if len(self.model_chunks) > 1 else 1
        outputs = self._schedule(
            forward_step_func=lambda iterator, model: (model(next(iterator)), lambda output, **_: output),
            data_iterator=[iter([part] * count) for _ in self.model_chunks],
            model=self.model_chunks,
            num_microbatches=count,
            seq_length=tokens.shape[1],
            micro_batch_size=B,
            forward_only=True,
            collect_non_loss_data=True,
        )
        if outputs:
            out = gather_sequence(outputs[0].float().transpose(0, 1).contiguous()).transpose(0, 1)
        else:  # only the last stage has them; the others receive them in place
            out = torch.empty(*tokens.shape, self._padded_vocab_size, device=device())
        if self.layout.pipeline_parallel > 1:
            out = out.contiguous()
            torch.distributed.broadcast(
                out,
                src=parallel_state.get_pipeline_model_parallel_last_rank(),
                group=parallel_state.get_pipeline_model_parallel_group(),
            )
        return out[:, :S]

    @property
    def checkpoint_bytes(self) -> int:
        return checkpoint_bytes(
            parameter_count(self.recipe.model, self._padded_vocab_size), "bf16" if self.config.bf16 else "fp32"
        )

    def _set_eval(self) -> None:
        for chunk in self.model_chunks:
            chunk.eval()

    def _run(self, micro_batches: Iterator[MicroBatch], count: int, forward_only: bool) -> Tensor:
        """Forward (and backward) over `count` micro-batches: the global sums [2, K] of losses and masks, everywhere."""
        self.alive()
        # Each chunk reads all micro-batches, in its own time.
        readers = itertools.tee(micro_batches, len(self.model_chunks))
        reports = self._schedule(
            forward_step_func=self._forward_step,
            data_iterator=list(readers),
            model=self.model_chunks,
            num_microbatches=count,
            seq_length=self.recipe.data.seq_length,
            micro_batch_size=self.recipe.training.micro_batch_size,
            forward_only=forward_only,
        )
        if self.layout.pipeline_parallel == 1:
            sums = torch.stack(reports).sum(dim=0)
        else:  # other stages have no losses, and do not know K: two masks are the most there are
            sums = torch.zeros(2, 2, dtype=torch.float64, device=device())
            if self.processes.is_last_stage:
                own = torch.stack(reports).sum(dim=0)
                sums[:, : own.shape[1]] = own
        if self.layout.world_size == 1:
            return sums
        torch.distributed.all_reduce(sums)
        return sums / self.layout.tensor_parallel  # every tensor rank of the last stage added the same

    def _forward_step(self, micro_batches: Iterator[MicroBatch], model: torch.nn.Module):
        """Megatron's contract: the stage's output, and the function that turns the last stage's into a loss."""
        batch = next(micro_batches)
        output = model(batch.tokens, batch.labels, batch.documents, batch.loss_positions)

        def loss_function(losses: Tensor):  # losses: [B, S] fp32
            total, report = self._loss(losses, batch.masks)
            return total, report[1, 0].to(torch.int), report

        return output, loss_function
