"""Token files equal Megatron's, both ways, and a damaged one is never taken for whole."""

import numpy as np
import pytest

from qwen_shared.data import TokenFile, TokenFileWriter, token_dtype
from qwen_shared.errors import UserError

DOCUMENTS = [[5, 6, 7, 1], [1], [9, 65_000, 3, 2, 1], [*range(100, 300), 1]]


def write(prefix, dtype, documents=DOCUMENTS):
    with TokenFileWriter(prefix, dtype) as writer:
        for document in documents:
            writer.add(np.array(document))
    return writer


@pytest.mark.filterwarnings("ignore")  # Megatron's, on import
@pytest.mark.parametrize("vocab_size", [65_499, 65_500, 151_851])
def test_equals_megatron_byte_for_byte_and_both_read_both(tmp_path, vocab_size):
    import torch
    from megatron.core.datasets.indexed_dataset import DType, IndexedDataset, IndexedDatasetBuilder

    dtype = token_dtype(vocab_size)
    assert dtype == DType.optimal_dtype(vocab_size)
    write(tmp_path / "ours", dtype)
    builder = IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=dtype.type)
    for document in DOCUMENTS:
        builder.add_document(torch.tensor(document), [len(document)])
    builder.finalize(str(tmp_path / "theirs.idx"))
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"ours{suffix}").read_bytes() == (tmp_path / f"theirs{suffix}").read_bytes()

    megatron, ours = IndexedDataset(str(tmp_path / "ours")), TokenFile(tmp_path / "theirs")
    assert len(megatron) == len(ours) == len(DOCUMENTS)
    for i, document in enumerate(DOCUMENTS):
        assert megatron[i].tolist() == ours[i].tolist() == document


def test_many_documents_at_once_are_the_same_as_one_by_one(tmp_path):
    one_by_one = write(tmp_path / "a", np.uint16)
    with TokenFileWriter(tmp_path / "b", np.uint16) as writer:
        writer.add(np.concatenate(DOCUMENTS[:3]), [len(d) for d in DOCUMENTS[:3]])
        writer.add(np.array(DOCUMENTS[3]))
    assert (tmp_path / "a.idx").read_bytes() == (tmp_path / "b.idx").read_bytes()
    assert one_by_one.sha256 == writer.sha256
    assert (writer.num_documents, writer.num_tokens) == (4, sum(map(len, DOCUMENTS)))
    file = TokenFile(tmp_path / "b")
    assert file.tokens.tolist() == [t for d in DOCUMENTS for t in d]
    assert file.num_tokens == writer.num_tokens and file.lengths.tolist() == [len(d) for d in DOCUMENTS]


def test_no_documents(tmp_path):
    write(tmp_path / "a", np.int32, [])
    assert len(TokenFile(tmp_path / "a")) == TokenFile(tmp_path / "a").num_tokens == 0


@pytest.mark.parametrize("suffix", [".bin", ".idx"])
def test_every_truncation_and_any_growth_is_refused(tmp_path, suffix):
    write(tmp_path / "a", np.uint16, DOCUMENTS[:3])
    path = tmp_path / f"a{suffix}"
    whole = path.read_bytes()
    for content in [whole[:n] for n in range(len(whole))] + [whole + b"\0"]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"a{suffix}: "):
            TokenFile(tmp_path / "a")
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        TokenFile(tmp_path / "a")


def test_index_that_points_outside_is_refused(tmp_path):
    write(tmp_path / "a", np.uint16, DOCUMENTS[:3])
    idx = bytearray((tmp_path / "a.idx").read_bytes())
    idx[34 + 12 : 34 + 20] = (1 << 40).to_bytes(8, "little")
    (tmp_path / "a.idx").write_bytes(idx)
    with pytest.raises(UserError, match="lie outside"):
        TokenFile(tmp_path / "a")


def test_failed_writing_leaves_nothing_readable(tmp_path):
    write(tmp_path / "a", np.uint16)
    with pytest.raises(RuntimeError), TokenFileWriter(tmp_path / "a", np.uint16) as writer:
        writer.add(np.array([1, 2, 3]))
        raise RuntimeError
    with pytest.raises(UserError, match="no such file"):
        TokenFile(tmp_path / "a")
