import argparse
import base64
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from qwen_shared.errors import UserError
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tokenizer.vocabulary import format_ranks, read_ranks

BYTES = [bytes([byte]) for byte in range(256)]


def written(path, tokens: list[bytes]):
    path.write_bytes(format_ranks({token: rank for rank, token in enumerate(tokens)}))
    return path


def line(token: bytes, rank: object) -> bytes:
    return base64.b64encode(token) + f" {rank}\n".encode()


def test_embedded_vocabulary(tokenizer):
    assert tokenizer.vocab_size == 8192
    assert len(tokenizer.ranks) == 7984
    assert load_tokenizer("default") is tokenizer


def test_embedded_vocabulary_knows_the_common_chinese_characters(tokenizer):
    # GB 2312 level 1: the cells of rows 0xB0 to 0xD7 that are in use.
    cells = [bytes([row, cell]).decode("gb2312", "ignore") for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF)]
    characters = "".join(cells)
    assert len(characters) == 3755
    assert len(tokenizer.encode(characters)) / len(characters) <= 1.5
    assert all(len(tokenizer.encode(character)) == 1 for character in characters)
    assert all(len(tokenizer.encode(mark)) == 1 for mark in "，。、；：？！（）《》「」")


def test_embedded_vocabulary_compresses_prose_and_code(tokenizer):
    source = Path(argparse.__file__).read_text(encoding="utf-8")
    for text in (argparse.__doc__, source):
        assert len(text.encode()) / len(tokenizer.encode(text)) > 3.0


def test_a_file(tmp_path):
    tokenizer = load_tokenizer(str(written(tmp_path / "tiny.tiktoken", [*BYTES, b"ab"])))
    assert tokenizer.vocab_size == 257 + 208
    assert tokenizer.encode("abc") == [256, ord("c")]


def test_lines_in_any_order_with_any_line_ends(tmp_path):
    path = written(tmp_path / "v.tiktoken", [*BYTES, b"ab"])
    ranks = read_ranks(path)
    path.write_bytes(b"\n\r\n" + b"\r\n".join(reversed(path.read_bytes().splitlines())))
    assert list(read_ranks(path).items()) == list(ranks.items())


def test_a_run_directory(tokenizer, tmp_path):
    tokenizer.save_hf(tmp_path / "export")
    assert load_tokenizer(str(tmp_path)).fingerprint == tokenizer.fingerprint


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"no such file or directory: .*nothing.*'default', 'dashscope' or a path"):
        load_tokenizer(str(tmp_path / "nothing.tiktoken"))


def test_a_directory_without_a_vocabulary(tmp_path):
    with pytest.raises(UserError, match=r"has no qwen\.tiktoken"):
        load_tokenizer(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    path = written(tmp_path / "v.tiktoken", BYTES)
    path.chmod(0)
    with pytest.raises(UserError, match="cannot read"):
        load_tokenizer(str(path))


@pytest.mark.parametrize(
    ("added", "told"),
    [
        (b"not-base64! 256\n", "line 257: expected a token in base64"),
        (b"YWI=\n", "line 257: expected a token in base64"),
        (b"YWI= x\n", "line 257: expected a token in base64"),
        (b"YWI= 256 extra\n", "line 257: expected a token in base64"),
        (b"YWI= -1\n", "line 257: .* rank of at least 0"),
        (b"\x00\xff\xfe", "line 257: expected"),
        (line(b"ab", 255), "line 257: rank 255 is taken by the token b'\\\\xff'"),
        (line(b"a", 256), "line 257: the token b'a' has the rank 97 already"),
        (line(b"ab", 256) + line(b"ab", 257), "line 258: the token b'ab' has the rank 256"),
        (line(b"ab", 300), "without a gap, but 256 is missing"),
    ],
)
def test_broken_files(tmp_path, added, told):
    path = written(tmp_path / "v.tiktoken", BYTES)
    path.write_bytes(path.read_bytes() + added)
    with pytest.raises(UserError, match=told) as error:
        load_tokenizer(str(path))
    assert "v.tiktoken" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("tokens", [[], [b"a"], BYTES[:200], [*BYTES[1:], b"ab"]])
def test_missing_bytes(tmp_path, tokens):
    with pytest.raises(UserError, match="of the 256 single bytes have no token"):
        load_tokenizer(str(written(tmp_path / "v.tiktoken", tokens)))


def test_dashscope_is_found_without_being_imported(tokenizer, tmp_path, monkeypatch):
    package = tmp_path / "dashscope"
    (package / "resources").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    written(package / "resources" / "qwen.tiktoken", [*BYTES, b"ab"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "dashscope", raising=False)
    assert load_tokenizer("dashscope").vocab_size == 257 + 208
    (package / "resources" / "qwen.tiktoken").unlink()
    with pytest.raises(UserError, match=r"has no resources/qwen\.tiktoken"):
        load_tokenizer("dashscope")


def test_dashscope_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="is not installed; run `uv pip install dashscope`"):
        load_tokenizer("dashscope")


@pytest.mark.skipif(not importlib.util.find_spec("dashscope"), reason="needs the dashscope package for qwen.tiktoken")
def test_ids_of_qwen():
    """Report section 1."""
    tokenizer = load_tokenizer("dashscope")
    assert tokenizer.vocab_size == 151_851
    assert (tokenizer.eod_id, tokenizer.stop_ids) == (151_643, (151_645, 151_643))
    assert tokenizer.special_tokens["<|extra_204|>"] == 151_850
    fixtures = {
        'print("<|endoftext|>")': [1350, 9639, 91, 8691, 723, 427, 91, 82598],
        "system": [8948],
        "user": [872],
        "assistant": [77091],
        "\n": [198],
        "\n\n": [271],
        "You are a helpful assistant.": [2610, 525, 264, 10950, 17847, 13],
        "2023": [17, 15, 17, 18],
        "Observation:": [37763, 367, 25],
        "Observation:\n": [37763, 367, 510],
    }
    assert {text: tokenizer.encode(text) for text in fixtures} == fixtures
    ids, mask = tokenizer.render([{"role": "user", "content": "2023"}, {"role": "assistant", "content": "\n"}])
    system = [151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198]
    assert ids == [*system, 151644, 872, 198, 17, 15, 17, 18, 151645, 198, 151644, 77091, 198, 198, 151645, 198]
    assert mask == [0] * (len(ids) - 3) + [1, 1, 0]
