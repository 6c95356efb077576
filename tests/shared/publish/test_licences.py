"""Licences are found where their owners put them."""

import pytest

from qwen_shared.publish.licences import GENERATED, of_directory, of_source


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_what_comes_with_the_suite():
    assert of_source("stdlib", {}) == "PSF-2.0"
    assert of_source("dialogues", {"conversations": "{}"}) == GENERATED


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("README.md", "---\nlanguage: en\nlicense: cc-by-4.0\n---\n# Data\n", "cc-by-4.0"),
        ("README.md", "---\nlicense:\n- mit\n- odc-by\n---\n", "mit, odc-by"),
        ("README.md", "# Data\n\nlicense: none of your business\n", None),
        ("README.md", "---\nlicense: other\n---\n", None),
        ("README.md", "---\n{broken\n---\n", None),
        ("LICENSE", "\n\n                 Apache License\n           Version 2.0\n", "Apache License"),
        ("licence.md", "# The MIT Licence\n\nCopyright\n", "The MIT Licence"),
        ("COPYING.txt", "GNU GENERAL PUBLIC LICENSE\n", "GNU GENERAL PUBLIC LICENSE"),
        ("licenses.csv", "a,b\n", None),
    ],
)
def test_beside_the_data(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert of_directory(tmp_path) == said
    assert of_source(str(tmp_path), {}) == said
    assert of_source(str(tmp_path / "a.jsonl"), {}) == said
    assert of_source(f"hf:{tmp_path}", {}) == said


def test_a_card_goes_before_a_file(tmp_path):
    (tmp_path / "LICENSE").write_text("MIT License")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    assert of_directory(tmp_path) == "mit"


def test_a_tree_that_was_filtered_file_by_file(tmp_path):
    settings = {"filters": {"licences": ["permissive"], "unlicensed": True}}
    assert of_source(str(tmp_path), settings) == "file by file: permissive, and files that name none"


def test_what_is_not_there_or_not_to_be_reached(tmp_path):
    assert of_source(str(tmp_path / "gone.jsonl"), {}) is None
    assert of_source("hf:org/data", {}) is None
