"""The chain behind a run is known whatever becomes of the directories it leads through."""

import shutil

from qwen_shared.run import Manifest, Parent
from qwen_shared.run.lineage import describe_parent, family, lineage_of


def make(run_dir, kind, parent=None, kept=True):
    """A run's manifest; without `kept` it is of before lineages were."""
    run_dir.mkdir()
    manifest = Manifest.create("x sft", kind, run_dir.name)
    manifest.parent = Parent(run=str(parent), step=8, hash="0" * 64) if parent else None
    manifest.lineage = lineage_of(manifest.parent) if kept else []
    manifest.write(run_dir)
    return manifest


def names(chain):
    return [(link.kind, link.name) for link in chain]


def test_chain(tmp_path):
    make(tmp_path / "base", "base-pretrain")
    make(tmp_path / "code", "code-pretrain", tmp_path / "base")
    sft = make(tmp_path / "sft", "code-sft", tmp_path / "code")
    assert names(sft.lineage) == [("code-pretrain", "code"), ("base-pretrain", "base")]
    assert family(sft) == family(Manifest.read(tmp_path / "code")) == family(Manifest.read(tmp_path / "base")) == "base"
    shutil.rmtree(tmp_path / "base")
    shutil.rmtree(tmp_path / "code")
    assert names(Manifest.read(tmp_path / "sft").lineage) == [("code-pretrain", "code"), ("base-pretrain", "base")]


def test_manifests_of_before_are_followed_too(tmp_path):
    make(tmp_path / "base", "base-pretrain", kept=False)
    make(tmp_path / "code", "code-pretrain", tmp_path / "base", kept=False)
    sft = make(tmp_path / "sft", "code-sft", tmp_path / "code")
    assert names(sft.lineage) == [("code-pretrain", "code"), ("base-pretrain", "base")]


def test_a_model_from_elsewhere(tmp_path):
    sft = make(tmp_path / "sft", "math-sft", "Qwen/Qwen-1_8B")
    assert names(sft.lineage) == [(None, "Qwen-1_8B")]
    assert family(sft) == "Qwen-1_8B"


def test_random_weights():
    assert lineage_of(None) == []


def test_a_run_that_began_from_itself_ends(tmp_path):
    make(tmp_path / "a", "math-sft", tmp_path / "a", kept=False)
    assert names(lineage_of(Parent(run=str(tmp_path / "a")))) == [("math-sft", "a")]


def test_a_damaged_manifest_tells_nothing(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "manifest.json").write_text("{")
    assert describe_parent(str(tmp_path / "base"), 3).model_dump(exclude_none=True) == {
        "run": str(tmp_path / "base"),
        "step": 3,
        "name": "base",
    }
