"""Bytes that a rank holds in training, calculated without torch.

Weights, gradients and optimizer state are exact. Activations are what operations save for the backward pass. The peak
is in the backward pass of the loss, of the output layer or of the stage's last layer, or in the optimizer's step.
`benchmarks/memory_plan.py` compares this with measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from qwen_shared.recipe import Layout, Recipe
from qwen_shared.recipe.schema import Model

_SHORT = 256  # tokens; below, a CPU computes bf16 attention in fp32 (model.kernels)
_LOSS_CHUNKS = 2 * 4 * 2**20  # two chunks of fp32 logits (model.loss)
RECOMPUTE = ("none", "selective", "full")


@dataclass(frozen=True)
class Memory:
    """Bytes of one rank at its peak. `buffers` are temporary: one matrix's gradient, a recomputed layer, messages
    between ranks, the optimizer's step."""

    stage: int  # of the pipeline, from 0
    parameters: int  # elements on this rank
    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int  # and their gradient
    buffers: int

    @property
    def parts(self) -> dict[str, int]:
        names = ("weights", "gradients", "optimizer", "activations", "logits", "buffers")
        return {name: getattr(self, name) for name in names}

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def rank_memory(recipe: Recipe, layout: Layout, rows: int, precision: str, cpu: bool = False) -> Memory:
    """The rank that needs most. `rows` of the embedding; `precision` is bf16 or fp32. On a `cpu` other kernels run and
    save other tensors."""
    stages = range(layout.pipeline_parallel)
    return max((stage_memory(recipe, layout, rows, precision, cpu, s) for s in stages), key=lambda m: m.total)


def stage_memory(recipe: Recipe, layout: Layout, rows: int, precision: str, cpu: bool, stage: int) -> Memory:
    model, parallel, e = recipe.model, recipe.parallel, 2 if precision == "bf16" else 4
    tp, is_last = layout.tensor_parallel, stage == layout.pipeline_parallel - 1
    H, V, F = model.hidden_size, rows // tp, model.ffn_hidden_size // tp
    T = recipe.training.micro_batch_size * recipe.data.seq_length // layout.context_parallel

    # Permanent. Megatron's buffers align parameters at 64 elements, and their ends so that ranks can share them.
    chunks = chunk_parameters(recipe, rows, stage)
    shares = layout.data_parallel * layout.context_parallel
    numel = sum(map(sum, chunks))
    padded = sum(_padded(sum(_padded(n, 64) for n in chunk), math.lcm(shares, 128)) for chunk in chunks)
    shard = min(numel, padded // shares)
    gradients = 4 * padded

    # Kept from forward to backward pass.
    whole, kept = (_layer_bytes(recipe, layout, e, cpu, recompute) for recompute in ("none", parallel.recompute))
    stream = e * T * H  # a layer's input or output, which sequence parallelism divides
    part = stream // (tp if parallel.sequence_parallel else 1)
    passes, layers_a_pass = _in_flight(recipe, layout, stage)
    activations = int(passes * (layers_a_pass * kept + (0 if is_last else part)))
    if stage == 0 and recipe.training.dropout:
        activations += passes * T * H * (e if cpu else 1)  # the embedding's mask
    if is_last:
        activations += (_norm_bytes(e, cpu) * T * H) // (tp if parallel.sequence_parallel else 1)

    # Temporary, at each possible peak.
    matrices = _layer_matrices(model, tp)
    layer = 2 * part + e * (2 * T * F + max(matrices)) + (whole - kept)
    messages = stream * (0 if tp == 1 else 4 if parallel.sequence_parallel else 1)
    logits = T * V * (2 * e if tp == 1 else 6 if e == 2 else 4) if is_last else 0
    loss = logits + (_LOSS_CHUNKS if tp == 1 else 0)
    output = e * V * (T + H) + stream if is_last else 0
    # A tied matrix has two gradients: the output layer's waits for the embedding's.
    tied = e * V * H if model.tied_embeddings and layout.pipeline_parallel == 1 else 0
    a_pass = activations + messages + max(loss if is_last else 0, output, tied + layer)
    # gloo reduces a copy of all gradients, even with one process; AdamW on a GPU updates all parameters at once.
    a_step = gradients if cpu else 4 * shard
    return Memory(
        stage=stage,
        parameters=numel,
        weights=e * padded,
        gradients=gradients,
        optimizer=_optimizer_bytes(precision) * shard,
        activations=activations,
        logits=logits,
        buffers=max(a_pass, a_step) - activations - logits,
    )


def _optimizer_bytes(precision: str) -> int:
    """Per parameter: Adam's two moments and, for bf16, fp32 weights."""
    return 12 if precision == "bf16" else 8


def checkpoint_bytes(parameters: int, precision: str) -> int:
    """Weights, fp32 weights and Adam's two moments; without a few kilobytes."""
    return parameters * ((2 if precision == "bf16" else 4) + 4 + 8)


def chunk_parameters(recipe: Recipe, rows: int, stage: int) -> list[list[int]]:
    """Elements of every parameter on a tensor rank, by model chunk of a pipeline stage."""
    model, parallel = recipe.model, recipe.parallel
    tp, pp, vp = parallel.tensor_parallel, parallel.pipeline_parallel, parallel.virtual_pipeline
    H, D = model.hidden_size, model.head_size
    layer = [*_layer_matrices(model, tp), H, H]
    if model.qkv_bias:
        layer.append((model.num_attention_heads + 2 * model.kv_heads) * D // tp)
    if model.qk_norm:
        layer += [D, D]
    chunks = [layer * (model.num_layers // (pp * vp)) for _ in range(vp)]
    if stage == 0:
        chunks[0] = [rows * H // tp, *chunks[0]]
    if stage == pp - 1:
        # A tied output layer on the embedding's stage needs no memory of its own.
        chunks[-1] = [*chunks[-1], H, *([] if model.tied_embeddings and pp == 1 else [rows * H // tp])]
    return chunks


def _layer_matrices(model: Model, tp: int) -> list[int]:
    H, N, G, D, F = model.hidden_size, model.num_attention_heads, model.kv_heads, model.head_size, model.ffn_hidden_size
    return [(N + 2 * G) * D * H // tp, N * D * H // tp, 2 * F * H // tp, F * H // tp]


def _in_flight(recipe: Recipe, layout: Layout, stage: int) -> tuple[int, int]:
    """The most forward passes that wait for their backward passes, and the layers of each."""
    pp, vp, count = layout.pipeline_parallel, recipe.parallel.virtual_pipeline, layout.num_microbatches
    ahead = pp - stage if vp == 1 else 2 * (pp - stage - 1) + (vp - 1) * pp + 1
    return min(ahead, count * vp), recipe.model.num_layers // (pp * vp)


def _layer_bytes(recipe: Recipe, layout: Layout, e: int, cpu: bool, recompute: str) -> int:
    """Bytes that one layer saves of one micro-batch; an activation has `e` bytes."""
    model, tp = recipe.model, layout.tensor_parallel
    H, F = model.hidden_size, model.ffn_hidden_size // tp
    T = recipe.training.micro_batch_size * recipe.data.seq_length // layout.context_parallel
    divided = tp if recipe.parallel.sequence_parallel else 1
    if recompute == "full":
        return T * e * H // divided
    stream = 2 * _norm_bytes(e, cpu) * H
    if recipe.training.dropout:
        stream += 2 * H * (e if cpu else 1)  # masks
    # The MLP saves gate and up, the gate's SiLU, up once more, and their product.
    inside = _attention_bytes(recipe, layout, e, cpu, recompute) + (5 * e * F if recompute == "none" else 0)
    return int(T * (stream / divided + inside))


def _norm_bytes(e: int, cpu: bool) -> int:
    """Bytes per element of RMSNorm: input and result; a CPU also saves the normalised values in fp32."""
    return 2 * e if not cpu else 3 * e if e == 4 else 4 + 4 + 2


def _attention_bytes(recipe: Recipe, layout: Layout, e: int, cpu: bool, recompute: str) -> float:
    """Bytes per token, from the projection to query, key and value up to the input of the output projection."""
    model, tp, cp = recipe.model, layout.tensor_parallel, layout.context_parallel
    D, N = model.head_size, model.num_attention_heads // tp
    q, k = N * D, model.kv_heads * D // tp
    grouped = q != k
    projected = e * (q + 2 * k)  # one tensor, kept because the value is a view of it
    total = 0.0
    if model.qk_norm:
        total += (q + k) * (4 if e == 4 else 8) if cpu else e * q * grouped
    if recompute == "selective":  # RoPE and attention are recomputed from their inputs
        return total + projected + e * (q + k if model.qk_norm else q * grouped) + e * q
    total += 4 * N  # log-sum-exp
    isolated = recipe.data.isolate_documents
    if isolated:
        total += 2 * 4 * D + e * q  # each token's cos and sin; the documents' outputs, concatenated
    if cp > 1:
        part = recipe.data.seq_length / (2 * cp)
        whole: float = 2 * e * k * cp  # key and value of all ranks
        if cpu:
            whole = e * q * (2 * cp + 1) if grouped else whole  # repeated, for the front and the back chunk
            whole += e * (2 * cp + 1) * part / 2 / recipe.training.micro_batch_size  # masks
        return total + whole + e * q + 2 * e * q  # the rotated query; both chunks' outputs, and their concatenation
    short = cpu and e == 2 and (isolated or recipe.data.seq_length < _SHORT)
    if short:
        return total + 4 * 4 * q + e * q  # fp32 copies, and the result
    if cpu and grouped:
        return total + 4 * e * q  # key and value are repeated
    return total + e * (q + k) + projected + e * q  # rotated query and key, value, the result


def _padded(n: int, to: int) -> int:
    return -(-n // to) * to
