"""Publishing again: what is redone, and what is not."""

import json
import subprocess

import pytest
import torch
from safetensors.torch import save_file

PARITY = {
    "tensors": {"compared": 1, "bit_equal": True, "max_difference": 0.0},
    "logits": {"precision": "fp32", "max_difference": 0.0, "tolerance": 1e-4},
    "tokenizer": {"texts": 1, "ids": 2, "chat_template": None},
}


@pytest.fixture
def proofs(make_run, tmp_path, monkeypatch):
    """A run whose export is there, and as many "proofs" as were made of it."""
    from qwen_shared.job import parent as job_parent
    from qwen_shared.publish import command
    from qwen_shared.run import integrity

    made = []

    def certify(*_):
        made.append("proof")
        return {"parity": PARITY, "versions": {"torch": "2"}}

    export = tmp_path / "export"
    export.mkdir()
    save_file({"w": torch.zeros(2, 3)}, export / "model.safetensors")
    (export / "config.json").write_text("{}")
    monkeypatch.setattr(job_parent, "exported", lambda *_: export)
    monkeypatch.setattr(integrity, "require_whole", lambda *_: None)
    monkeypatch.setattr(command, "_certify", certify)
    return made


@pytest.fixture
def run(make_run):
    return make_run(
        recipe={"model": {}, "training": {"global_batch_size": 4}, "optimizer": {"lr": 1.0}, "notes": "first"}
    )


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("recipe.yaml", '"first"', '"second"'),
        ("manifest.json", '"val/bits_per_byte": 2.0', '"val/bits_per_byte": 1.5'),
    ],
)
def test_only_the_text_is_another(publish, run, proofs, file, old, new):
    there = run / "published"
    assert publish(run).returncode == 0 and len(proofs) == 1
    said = publish(run).stdout
    assert "whole and up to date" in said and len(proofs) == 1
    card, weights = (there / "README.md").read_text(), (there / "model.safetensors").stat()
    change(run / file, old, new)
    done = publish(run)
    assert done.returncode == 0 and "writing its card anew" in done.stdout and len(proofs) == 1
    assert (there / "README.md").read_text() != card
    now = (there / "model.safetensors").stat()
    assert (now.st_ino, now.st_nlink) == (weights.st_ino, weights.st_nlink)
    assert json.loads((there / "certificate.json").read_text())["parity"] == PARITY
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=there, check=True)
    assert "whole and up to date" in publish(run).stdout
    assert [path.name for path in run.glob(".published*")] == []


def test_another_licence_is_another_text(publish, run, proofs):
    assert publish(run, "--to", run.parent / "shelf").returncode == 0
    assert "writing its card anew" in publish(run, "--to", run.parent / "shelf", "--licence", "mit").stdout
    assert "license: mit" in (run.parent / "shelf" / "README.md").read_text() and len(proofs) == 1


def test_another_model_is_proved_anew(publish, run, proofs, tmp_path):
    assert publish(run).returncode == 0
    (tmp_path / "export" / "config.json").write_text('{"rope_theta": 1}')
    assert publish(run).returncode == 0 and len(proofs) == 2
    save_file({"w": torch.ones(2, 3)}, tmp_path / "export" / "model.safetensors")
    assert publish(run).returncode == 0 and len(proofs) == 3
    (run / "published" / "config.json").write_text("spoiled")
    assert publish(run).returncode == 0 and len(proofs) == 4


def test_a_licence_holds_until_another_is_said(publish, run, proofs):
    card = run / "published" / "README.md"
    for words, said in ((["--licence", "mit"], "mit"), ([], "mit"), (["--licence", "apache-2.0"], "apache-2.0")):
        assert publish(run, *words).returncode == 0
        assert f"license: {said}" in card.read_text()
    assert len(proofs) == 1
