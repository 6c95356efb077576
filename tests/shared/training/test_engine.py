"""One optimizer step: normalised by the global count of loss tokens, equal to torch's AdamW on the same loss."""

import pytest
import torch


def _weights(engine) -> dict[str, torch.Tensor]:
    return {name: p.detach().float().clone() for name, p in engine.model_chunks[0].named_parameters()}


def test_micro_batches_do_not_change_a_step(make_engine, batches):
    """Masks are uneven: a mean of per-micro-batch means would be another loss."""
    whole, parts = make_engine(micro=8), make_engine(micro=2)
    for _ in range(3):
        a = whole.train_step(batches(8), 1e-2)
        b = parts.train_step(batches(2), 1e-2)
        assert a.tokens == b.tokens == int(sum(batch.masks.sum() for batch in batches(8)))
        assert a.loss == pytest.approx(b.loss, rel=1e-6)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-5)


def test_a_step_is_torchs_adamw_on_the_same_gradient(make_engine, batches):
    """Decay on matrices only, the gradient clipped by its global norm, the loss a mean over unmasked tokens."""
    settings = {"beta1": 0.8, "beta2": 0.9, "eps": 1e-6, "weight_decay": 0.3, "clip_grad": 0.01}
    engine = make_engine(optimizer=settings)
    from qwen_shared.model.builder import unwrap

    reference = make_engine()
    model = unwrap(reference.model_chunks[0])
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    adamw = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.8, 0.9),
        eps=1e-6,
    )
    for _ in range(3):
        engine.train_step(batches(8), 1e-2)
        (batch,) = batches(8)
        losses = model(batch.tokens, batch.labels)
        loss = (losses * batch.masks[0]).sum() / batch.masks.sum()
        gradients = torch.autograd.grad(loss, [*matrices, *vectors])
        for parameter, gradient in zip([*matrices, *vectors], gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_([*matrices, *vectors], 0.01)
        adamw.step()
        adamw.zero_grad()
    ours, theirs = _weights(engine), _weights(reference)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=2e-5, rtol=0)


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputed_activations_change_nothing(make_engine, batches, recompute):
    kept, recomputed = make_engine(), make_engine(parallel={"recompute": recompute})
    for _ in range(3):
        assert kept.train_step(batches(8), 1e-2) == recomputed.train_step(batches(8), 1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_loaded_checkpoint_goes_on_bit_for_bit(make_engine, batches, tmp_path, precision):
    from qwen_shared.training.checkpoint import load_checkpoint
    from qwen_shared.training.saving import save_checkpoint

    engine = make_engine(precision=precision)
    for _ in range(2):
        engine.train_step(batches(8), 1e-2)
    save_checkpoint(tmp_path, 2, engine, {"step": 2, "world_size": 1})
    expected = [engine.train_step(batches(8), 1e-2).loss for _ in range(3)]
    other = make_engine(precision=precision)
    assert load_checkpoint(tmp_path, 2, other)["step"] == 2
    assert [other.train_step(batches(8), 1e-2).loss for _ in range(3)] == expected


def test_validation_sums_do_not_depend_on_the_batch(make_engine, batches):
    engine = make_engine(micro=8)
    once = engine.loss_sums(batches(8), 1)
    twice = make_engine(micro=4).loss_sums(batches(4), 2)
    torch.testing.assert_close(once, twice, rtol=1e-6, atol=0)


def test_logits_are_those_of_the_model(make_engine, batches):
    from qwen_shared.model.builder import unwrap

    engine = make_engine()
    tokens = torch.arange(12)[None]
    assert torch.equal(engine.logits(tokens), unwrap(engine.model_chunks[0])(tokens).float())


def test_dropout_is_drawn_in_training_only_and_goes_on_from_a_saved_state(make_engine, batches):
    from qwen_shared.backend import seed_everything
    from qwen_shared.backend.random import capture_rng, restore_rng

    plain, dropping = make_engine(), make_engine(training={"dropout": 0.3})
    assert torch.equal(plain.loss_sums(batches(8), 1), dropping.loss_sums(batches(8), 1))
    seed_everything(7)
    dropping.train_step(batches(8), 0.0)
    state = capture_rng()
    drawn = [dropping.train_step(batches(8), 0.0).loss for _ in range(2)]
    assert len({*drawn, plain.train_step(batches(8), 0.0).loss}) == 3
    restore_rng(state)
    assert [dropping.train_step(batches(8), 0.0).loss for _ in range(2)] == drawn


def test_recomputation_drops_the_same(make_engine, batches):
    from qwen_shared.backend import seed_everything

    engines = [make_engine(training={"dropout": 0.3}, parallel={"recompute": r}) for r in ("none", "selective", "full")]
    results = []
    for engine in engines:
        seed_everything(7)
        results.append([engine.train_step(batches(8), 1e-2) for _ in range(2)])
    assert results[0] == results[1] == results[2]


def test_losses_that_nobody_wants_change_nothing(make_engine, batches):
    """Picking the positions in the loss before the output layer gives the same steps as masking all of them."""
    from dataclasses import replace

    def picked(size):
        for batch in batches(size):
            yield replace(batch, loss_positions=batch.masks[0].flatten().nonzero()[:, 0])

    whole, parts = make_engine(micro=4), make_engine(micro=4)
    for _ in range(3):
        a, b = whole.train_step(batches(4), 1e-2), parts.train_step(picked(4), 1e-2)
        assert a.tokens == b.tokens
        assert a.loss == pytest.approx(b.loss, rel=1e-6)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-5)


@pytest.mark.parametrize("reason", ["gradient", "skip_update"])
def test_a_step_that_cannot_be_used_changes_nothing(reason, make_engine, batches, monkeypatch):
    """Neither weights nor the optimizer's state: what follows is as if it had not been."""
    from qwen_shared.faults import VARIABLE

    engine, untouched = make_engine(), make_engine()
    for each in (engine, untouched):
        each.train_step(batches(8), 1e-2)
    if reason == "gradient":
        monkeypatch.setenv(VARIABLE, "nan@7")
    assert not engine.train_step(batches(8), 1e-2, step=7, skip_update=reason == "skip_update").updated
    assert [engine.train_step(batches(8), 1e-2, step=8) for _ in range(3)] == [
        untouched.train_step(batches(8), 1e-2) for _ in range(3)
    ]
