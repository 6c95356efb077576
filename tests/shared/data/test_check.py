"""A source that cannot be read is told in one line that names it and the nearest right thing, before anything heavy."""

import os
import subprocess
import sys

import pytest

from qwen_shared.data import check_sources
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Data


def data(*sources, **settings):
    return Data(sources=list(sources), seq_length=8, **settings)


def refusal(*sources):
    with pytest.raises(UserError) as caught:
        check_sources(data(*sources))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "empty.txt").touch()
    (tmp_path / "table.csv").write_text("a,b\n")
    (tmp_path / "lines.json").write_text("[]")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "image.png").write_bytes(b"x")
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "a.md").touch()
    return tmp_path


def test_names_the_source_and_the_nearest_right_thing(folder):
    assert f"nearest: {folder}/corpus.jsonl" in refusal(f"{folder}/corpsu.jsonl")
    message = refusal(f"{folder}/nothng/deep/corpus.jsonl")
    assert f"no such file or directory: {folder}/nothng;" in message and f"nearest: {folder}/nothing" in message
    assert "nearest: stdlib" in refusal("stdlb")
    assert ".jsonl.gz" in refusal(f"{folder}/nothing")
    assert "empty" in refusal(f"{folder}/blank")
    assert "the file is empty" in refusal(f"{folder}/empty.txt")
    assert "'.csv'" in refusal(f"{folder}/table.csv")
    assert "one JSON object a line is .jsonl" in refusal(f"{folder}/lines.json")
    assert "no such file or directory" in refusal(f"hf:{folder}/missing")
    assert "leave out 'hf:'" in refusal(f"hf:{folder}/corpus.jsonl")
    assert "must follow" in refusal("hf:")


def test_says_which_of_several_sources(folder):
    assert refusal("stdlib", f"{folder}/empty.txt").startswith("data.sources.1.path=")


def test_weights_are_given_to_all_or_none(folder):
    assert "data.sources.1.weight is missing" in refusal({"path": "stdlib", "weight": 2.0}, f"{folder}/corpus.jsonl")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(folder):
    (folder / "corpus.jsonl").chmod(0)
    assert "cannot be read (Permission denied)" in refusal(f"{folder}/corpus.jsonl")


def test_accepts_what_can_be_read(folder):
    check_sources(data(f"{folder}/corpus.jsonl", str(folder), f"hf:{folder}", "hf:someone/something", "stdlib"))


def test_importing_the_room_imports_nothing_heavy():
    heavy = ["torch", "megatron", "datasets", "pyarrow", "zstandard", "transformers"]
    code = f"import sys, qwen_shared.data; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
