"""Texts that a package reads itself: several files in one document, its own key, its report beside the token files."""

import json
from pathlib import Path

import numpy as np
import pytest

from qwen_shared.data import Document, TokenFile, prepare
from qwen_shared.data.documents import FILE_END, SourceReader
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Data
from qwen_shared.tokenizer import load_tokenizer


def reader(documents, files=(("x", 1, 2),), **settings):
    def read(meter):
        meter.total = len(documents)
        for i, document in enumerate(documents, start=1):
            yield document
            meter.at(i)

    return SourceReader(read, settings, lambda: list(files), lambda: {"kept": len(documents)})


def test_each_file_has_its_end_and_they_stay_together(tmp_path):
    texts = [f"file {i}\n" * 20 for i in range(6)]
    documents = [
        Document(FILE_END.join(texts[:3]), "three", False),
        Document(texts[3], "one", False),
        Document(texts[4], "held", True),
        Document("", "empty", False),
        Document(texts[5], "more", False),
    ]
    data = Data(sources="stdlib", seq_length=8, documents=2)  # the reader's own business
    told = []
    made = {"stdlib": reader(documents)}
    (source,) = prepare(data, "default", tmp_path, lambda *call: told.append(call), readers=made)
    tokenizer = load_tokenizer("default")
    encoded = [[*tokenizer.encode(text), tokenizer.eod_id] for text in texts]
    file = TokenFile(source.train)
    assert [file[i].tolist() for i in range(len(file))] == [
        [*encoded[0], *encoded[1], *encoded[2]],
        encoded[3],
        encoded[5],
    ]
    assert np.asarray(TokenFile(source.validation).tokens).tolist() == encoded[4]
    assert json.loads(Path(source.directory, "corpus.json").read_text()) == {"kept": 5}
    assert told[-1] == (5, 5, "stdlib")


def test_found_again_by_its_files_and_settings(tmp_path):
    data = Data(sources="stdlib", seq_length=8)
    documents = [Document(f"text {i} " * 9, str(i)) for i in range(40)]
    get = lambda made: prepare(data, "default", tmp_path, readers={"stdlib": made})[0].directory
    first = get(reader(documents, key=1))
    assert get(reader([], key=1)) == first  # not read again
    assert len({first, get(reader(documents, key=2)), get(reader(documents, [("x", 1, 3)], key=1))}) == 3


def test_sources_of_one_path_are_read_apart(tmp_path):
    data = Data(sources=[{"path": "stdlib", "text_key": key} for key in ("a", "b")], seq_length=8)
    documents = {key: [Document(f"{key} {i} " * 9, f"{key} {i}", False) for i in range(9)] for key in ("a", "b")}
    made = {source: reader(documents[source.text_key], key=source.text_key) for source in data.sources}
    sources = prepare(data, "default", tmp_path, readers=made)
    tokenizer = load_tokenizer("default")
    assert [tokenizer.decode(TokenFile(source.train)[0].tolist())[0] for source in sources] == ["a", "b"]


def test_nothing_to_read_is_told(tmp_path):
    with pytest.raises(UserError, match="data source stdlib: no text in it"):
        prepare(Data(sources="stdlib", seq_length=8), "default", tmp_path, readers={"stdlib": reader([])})
