"""The memory plan's arithmetic against an engine's tensors."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qwen_shared.model.sizes import parameter_count
from qwen_shared.recipe import PretrainRecipe, check_layout
from qwen_shared.training.plan.memory import chunk_parameters, rank_memory, stage_memory

LARGER = {"num_layers": 2, "hidden_size": 96, "num_attention_heads": 6, "ffn_hidden_size": 200}
KINDS = {
    "plain": {},
    "tied and grouped": {"tied_embeddings": True, "num_key_value_heads": 2},
    "qk norm": {"qk_norm": True, "qkv_bias": False},
    "wide heads": {"head_dim": 24, "num_key_value_heads": 3},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_stays_is_the_engine_s_to_the_byte(make_engine, kind, precision):
    engine = make_engine(precision=precision, model=LARGER | KINDS[kind])
    plan = rank_memory(engine.recipe, engine.layout, 64, precision, cpu=True)
    parameters = [p for chunk in engine.model_chunks for p in chunk.parameters()]
    assert plan.parameters == sum(p.numel() for p in parameters) == parameter_count(engine.recipe.model, 64)
    buffers = [buffer for chunk in engine.model_chunks for buffer in chunk.buffers]
    assert plan.weights == sum(buffer.param_data.nbytes for buffer in buffers)
    assert plan.gradients == sum(buffer.grad_data.nbytes for buffer in buffers)
    (optimizer,) = engine.optimizer.chained_optimizers
    moments = [t for state in optimizer.optimizer.state.values() for t in state.values() if torch.is_tensor(t)]
    copies = itertools.chain(*optimizer.shard_fp32_from_float16_groups)
    assert plan.optimizer == sum(t.nbytes for t in (*moments, *copies) if t.ndim)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"model": KINDS["tied and grouped"]},
        {"model": KINDS["qk norm"]},
        {"model": KINDS["wide heads"]},
        {"parallel": {"recompute": "selective"}},
        {"parallel": {"recompute": "selective"}, "model": KINDS["tied and grouped"]},
        {"parallel": {"recompute": "full"}},
        {"training": {"dropout": 0.1}},
        {"data": {"seq_length": 64}},  # so short that bf16 attends in fp32
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_are_what_operations_save(make_engine, sections, precision):
    from qwen_shared.training.engine import MicroBatch

    sections = {"data": {"seq_length": 256}} | sections | {"model": LARGER | sections.get("model", {})}
    engine = make_engine(micro=2, precision=precision, **sections)
    S = engine.recipe.data.seq_length
    tokens = torch.randint(0, 64, (2, S + 1))
    batch = MicroBatch(tokens[:, :-1], tokens[:, 1:], torch.ones(1, 2, S))
    weights = {p.untyped_storage().data_ptr() for chunk in engine.model_chunks for p in chunk.parameters()}
    saved: dict[int, torch.Tensor] = {}  # by address: a tensor that is saved twice is held once

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    engine.model_chunks[0].train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = engine.model_chunks[0](batch.tokens, batch.labels, None, None)
    held = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    plan = rank_memory(engine.recipe, engine.layout, 64, precision, cpu=True)
    # Of the logits, half is their gradient. What is left out is small: positions, labels, norms' scales.
    assert plan.activations + plan.logits // 2 == pytest.approx(held, rel=0.025)
    assert loss.isfinite().all()


def recipe(model=None, training=None, **sections) -> PretrainRecipe:
    return PretrainRecipe.model_validate(
        {
            "name": "x",
            "model": {"num_layers": 8, "hidden_size": 64, "num_attention_heads": 4, "ffn_hidden_size": 96}
            | (model or {}),
            "data": {"sources": "stdlib", "seq_length": 64},
            "training": {"steps": 9, "global_batch_size": 32, "micro_batch_size": 2} | (training or {}),
            "optimizer": {"lr": 1e-2},
            "checkpoint": {"interval": 1},
            "evaluation": {"interval": 1},
            **sections,
        }
    )


@pytest.mark.parametrize("tied", [False, True])
def test_stages_and_tensor_ranks_have_the_model_between_them(tied):
    """Norms are whole on every tensor rank; a tied matrix stands on the first stage and on the last."""
    whole = recipe(model={"tied_embeddings": tied})
    for tp, pp, vp in ((1, 2, 1), (2, 1, 1), (2, 4, 2)):
        parallel = {"tensor_parallel": tp, "pipeline_parallel": pp, "virtual_pipeline": vp}
        divided = recipe(model={"tied_embeddings": tied}, parallel=parallel)
        sizes = [n for stage in range(pp) for chunk in chunk_parameters(divided, 128, stage) for n in chunk]
        norms = (2 * 8 + 1) * 64
        twice = 128 * 64 if tied and pp > 1 else 0
        assert (sum(sizes) - norms) * tp + norms == parameter_count(whole.model, 128) + twice


def of(layout: int = 1, cpu: bool = False, stage: int | None = None, **sections):
    made = recipe(**sections)
    divided = check_layout(made, layout)
    if stage is None:
        return rank_memory(made, divided, 1024, "bf16", cpu)
    return stage_memory(made, divided, 1024, "bf16", cpu, stage)


def test_knobs_do_what_they_are_for():
    one = of()
    assert of(parallel={"recompute": "selective"}).activations < one.activations
    assert of(parallel={"recompute": "full"}).activations < one.activations / 4
    assert of(training={"micro_batch_size": 1}).activations == one.activations // 2
    assert (
        of(4).optimizer == pytest.approx(one.optimizer / 4, rel=1e-3) and of(4).weights == one.weights
    )  # shards are padded
    halves = of(2, parallel={"tensor_parallel": 2})
    assert halves.weights < 0.6 * one.weights and halves.logits < one.logits
    divided = of(2, parallel={"tensor_parallel": 2, "sequence_parallel": True})
    assert divided.activations == pytest.approx(one.activations / 2)
    assert of(2, parallel={"context_parallel": 2}).logits == one.logits // 2


def test_the_first_stage_of_a_pipeline_waits_for_all_others():
    stages = [of(4, stage=stage, parallel={"pipeline_parallel": 4}) for stage in range(4)]
    kept = [stage.activations for stage in stages]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == pytest.approx(4 * kept[3], rel=0.2)
    assert [stage.logits > 0 for stage in stages] == [False, False, False, True]
    few = of(4, stage=0, parallel={"pipeline_parallel": 4}, training={"global_batch_size": 4})
    assert few.activations == kept[0] // 2  # of two micro-batches no more than two can wait


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["one process, bf16", "tensor 2, sequence parallel, selective recompute"])
def test_the_plan_is_within_a_tenth_of_what_a_rank_held(tmp_path, layout):
    script = Path(__file__).parents[4] / "benchmarks" / "memory_plan.py"
    command = [sys.executable, script, "--only", layout, "--steps", "2", "--out", tmp_path / "figures.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
