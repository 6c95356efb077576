"""Isolated documents: each is as if it were alone, whatever lies beside it in the sample."""

import numpy as np
import pytest
import torch

EOD = 0
MODEL = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 48}


@pytest.fixture(params=["fp32", "bf16"])
def logits(request, megatron):
    """logits(tokens [B, S] as lists): what a small grouped-query model predicts with documents isolated."""
    from qwen_shared.model.builder import build_model
    from qwen_shared.model.documents import Documents
    from qwen_shared.model.weights import fill, random_source
    from qwen_shared.recipe.schema import Model, Parallel

    model = build_model(Model(**MODEL, num_key_value_heads=2), 64, Parallel(), request.param)
    fill(model, random_source(1, 2, 0.3, torch.device("cpu")))

    @torch.no_grad()
    def predict(rows: list[list[int]]) -> torch.Tensor:
        tokens = np.array(rows)
        documents = Documents.from_tokens(tokens, EOD, torch.device("cpu"))
        return model[0].eval()(torch.from_numpy(tokens), documents=documents)

    return predict


def _document(seed: int, length: int) -> list[int]:
    return [*np.random.default_rng(seed).integers(1, 64, length - 1).tolist(), EOD]


def test_positions_and_borders():
    from qwen_shared.model.documents import Documents

    tokens = np.array([[5, EOD, 6, 7, EOD], [EOD, 8, 8, 8, 8]])
    documents = Documents.from_tokens(tokens, EOD, torch.device("cpu"))
    assert documents.positions.tolist() == [[0, 1, 0, 1, 2], [0, 0, 1, 2, 3]]
    assert documents.cu_seqlens.tolist() == [0, 2, 5, 6, 10]
    assert documents.lengths == (2, 3, 1, 4)


def test_neighbours_do_not_change_a_bit(logits):
    """The same document between other texts, of other lengths, in another row: bit for bit the same logits."""
    ours = _document(0, 13)
    first = logits([_document(1, 10) + ours + _document(2, 17), _document(3, 40)])[0, 10:23]
    other_text = logits([_document(4, 10) + ours + _document(5, 17), _document(6, 40)])[0, 10:23]
    other_lengths = logits([_document(7, 40), _document(8, 4) + _document(9, 18) + ours + _document(1, 5)])[1, 22:35]
    assert torch.equal(first, other_text)
    assert torch.equal(first, other_lengths)


def test_isolated_is_alone(logits):
    """As when the document were the whole input."""
    ours = _document(0, 13)
    packed = logits([_document(1, 10) + ours + _document(2, 17)])[0, 10:23]
    alone = logits([ours])[0]
    torch.testing.assert_close(packed, alone, atol=1e-5 if alone.dtype == torch.float32 else 2e-2, rtol=0)


def _reference(query, key, value, lengths):
    """[T, N, D] with [T, G, D]: attention by a dense mask."""
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    at = torch.arange(len(owner))
    mask = (owner[:, None] == owner) & (at[:, None] >= at)
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    scores = torch.einsum("tnd,snd->nts", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("nts,snd->tnd", scores.masked_fill(~mask, -torch.inf).softmax(-1), value)


@pytest.fixture
def tensors():
    """query [T, 4, 8], key and value [T, 2, 8], and documents of 3, 1 and 6 tokens."""
    from qwen_shared.model.documents import Documents

    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(10, n, 8, generator=generator, requires_grad=True) for n in (4, 2, 2))
    tokens = np.array([[1, 1, EOD, EOD, 1, 1, 1, 1, 1, EOD]])
    return query, key, value, Documents.from_tokens(tokens, EOD, torch.device("cpu"))


def test_document_attention_and_its_gradients(tensors):
    from qwen_shared.model.kernels import document_attention

    *inputs, documents = tensors
    out, expected = document_attention(*inputs, documents), _reference(*inputs, documents.lengths)
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(
        torch.autograd.grad(out.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("installed", [True, False])
def test_gpu_kernels_are_called_as_they_want(tensors, monkeypatch, installed):
    """Where there is a GPU, FlashAttention's functions or torch's varlen_attn do it; here stand-ins of the same
    signatures, so that a wrong argument shows without one."""
    from types import SimpleNamespace

    from torch.nn.attention import varlen

    from qwen_shared.model import kernels

    def flash_attn_varlen_func(
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, causal=False, deterministic=False
    ):
        assert causal and cu_seqlens_q.dtype == torch.int32 and max_seqlen_q == max_seqlen_k == 6
        assert torch.equal(cu_seqlens_q, cu_seqlens_k)
        return _reference(q, k, v, cu_seqlens_q.diff().tolist())

    def varlen_attn(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size, enable_gqa, num_splits):
        assert window_size == (-1, 0) and enable_gqa and num_splits == 1
        return flash_attn_varlen_func(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, causal=True)

    def flash_attn_func(q, k, v, causal=False):  # [B, S, N, D]
        assert causal and q.dim() == 4
        return torch.stack([_reference(*parts, [q.shape[1]]) for parts in zip(q, k, v, strict=True)])

    flash = SimpleNamespace(flash_attn_varlen_func=flash_attn_varlen_func, flash_attn_func=flash_attn_func)
    monkeypatch.setattr(kernels, "_is_half_on_gpu", lambda x: True)
    monkeypatch.setattr(kernels, "_flash_attn", lambda: flash if installed else None)
    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    query, key, value, documents = tensors
    out = kernels.document_attention(query, key, value, documents)
    torch.testing.assert_close(out, _reference(query, key, value, documents.lengths))
    whole = kernels.causal_attention(query[None], key[None], value[None])[0]
    torch.testing.assert_close(whole, _reference(query, key, value, [10]))


def test_queries_of_the_last_positions():
    """Fewer queries than keys: they are the last ones (context parallelism asks for that)."""
    from qwen_shared.model.kernels import causal_attention

    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 12, n, 8, generator=generator) for n in (4, 2, 2))
    whole = causal_attention(query, key, value)
    torch.testing.assert_close(causal_attention(query[:, 9:], key, value), whole[:, 9:])
