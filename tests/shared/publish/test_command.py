"""A run of the real command, published: what is there is the checkpoint, whole, and loads in plain transformers."""

import json
import re
import shutil
import subprocess
import sys

import forked
import pytest

pytestmark = pytest.mark.slow  # each trains, or publishes, with all of Megatron


@pytest.fixture
def own_copy(published_run, tmp_path):
    """The run and what was published of it, to be spoiled."""
    return shutil.copytree(published_run, tmp_path / "run")


@pytest.fixture
def call(environment):
    """The command as a process, which ends with `code`."""

    def run(*words, code: int = 0, env: dict[str, str] | None = None):
        command = [sys.executable, "-m", "qwen_base", "publish", *map(str, words)]
        done = forked.run(command, env=env or environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def test_everything_is_there(published_run):
    directory = published_run / "published"
    for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"):
        assert (directory / name).is_file()
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=directory, check=True)
    listed = {line.split("  ")[1] for line in (directory / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in directory.iterdir()} - {"SHA256SUMS"}
    assert not list(published_run.glob(".published*"))


def test_the_certificate(published_run):
    certificate = json.loads((published_run / "published" / "certificate.json").read_text())
    assert certificate["run"] == {
        "kind": "base-pretrain",
        "name": "micro",
        "created": json.loads((published_run / "manifest.json").read_text())["created"],
        "step": 2,
    }
    parity = certificate["parity"]
    assert parity["tensors"]["bit_equal"] and parity["tensors"]["compared"] > 10
    assert parity["logits"]["max_difference"] <= 1e-4 and parity["logits"]["layers"] == 2
    assert parity["tokenizer"]["ids"] > 200 and parity["tokenizer"]["chat_template"]
    assert {"torch", "transformers", "tokenizers", "safetensors"} <= certificate["versions"].keys()


def test_the_files_do_not_tell_where_they_were_made(published_run, environment):
    text = "".join(p.read_text() for p in (published_run / "published").glob("*.[jm][sd]*"))
    assert str(published_run) not in text and environment["QWEN_CACHE"] not in text and "/tmp/" not in text


def test_generation_stops_where_it_should(published_run):
    from qwen_shared.tokenizer import load_tokenizer

    said = json.loads((published_run / "published" / "generation_config.json").read_text())
    assert said["eos_token_id"] == list(load_tokenizer("default").stop_ids)


def test_the_card_s_own_lines_run(published_run):
    directory = published_run / "published"
    lines = re.search(r"```python\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL)[1]
    done = subprocess.run([sys.executable, "-c", lines], cwd=directory, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Return the number of")


def test_again_is_done_at_once(published_run, call):
    before = {path.name: path.stat().st_mtime_ns for path in (published_run / "published").iterdir()}
    done = call(published_run, "--licence", "mit")
    assert "whole and up to date" in done.stdout and "comparing" not in done.stdout
    assert before == {path.name: path.stat().st_mtime_ns for path in (published_run / "published").iterdir()}


def test_to_the_hub(published_run, call, hub, hub_environment):
    done = call(published_run, "--licence", "mit", "--to", "hf://org/model", env=hub_environment)
    repo, directory = hub.repos["org/model"], published_run / "published"
    assert repo.files == {path.name: path.read_bytes() for path in directory.iterdir()}
    assert repo.messages == ["Publish base-pretrain/micro, step 2"]
    assert f"published at {hub.url}/org/model/commit/" in done.stdout


def test_files_that_are_not_the_checkpoint_are_refused(own_copy, call):
    """One bit of one weight in the export, and then of what was published before."""
    directory = own_copy / "published"
    before = (directory / "certificate.json").read_text()
    weights = own_copy / "export" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    done = call(own_copy, code=2)
    assert "the files are not the checkpoint" in done.stderr and f"delete {own_copy / 'export'}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (directory / "certificate.json").read_text() == before
    shutil.rmtree(own_copy / "export")  # as it said
    (directory / "model.safetensors").write_bytes(content)
    assert "comparing" in call(own_copy, "--licence", "mit").stdout  # exported anew, and what was spoiled is mended
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=directory, check=True)


def test_a_damaged_checkpoint_proves_nothing(own_copy, call):
    """Its index is a pickle, and is not even read."""
    (index,) = own_copy.glob("checkpoints/step-00000002/.metadata")
    index.unlink()
    index.write_bytes(b"cos\nsystem\n(S'exit 7'\ntR.")
    shutil.rmtree(own_copy / "published")
    said = call(own_copy, code=2).stderr
    assert "step-00000002 is damaged (.metadata: hash mismatch)" in said and said.count("\n") == 1
    assert not (own_copy / "published").exists()


def test_an_export_is_never_replaced_by_an_earlier_step(own_copy, call):
    (own_copy / "checkpoints/step-00000002").rename(own_copy / "checkpoints/step-00000001")
    before = (own_copy / "export/certificate.json").read_text()
    assert "its last step, 2, is gone" in call(own_copy, code=2).stderr
    call(f"{own_copy}@1", "--without-evaluation")
    assert (own_copy / "export/certificate.json").read_text() == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_an_export_that_is_no_model(own_copy, call, name):
    shutil.rmtree(own_copy / "published")
    content = (own_copy / "export" / name).read_bytes()
    (own_copy / "export" / name).unlink()
    (own_copy / "export" / name).write_bytes(content[: len(content) // 2])
    (own_copy / "export" / ".env").write_text("TOKEN=secret")
    said = call(own_copy, code=2).stderr
    assert said.count("\n") == 1 and str(own_copy / "export") in said and ".writing" not in said
    if name == "config.json":  # as it said; one is proof enough
        shutil.rmtree(own_copy / "export")
        call(own_copy)
        assert not list((own_copy / "published").glob(".*"))


def test_a_link_stays_one(own_copy, call, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "shelf")
    call(own_copy, "--to", tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "shelf" / "certificate.json").is_file()


def test_another_tokenizer_is_refused(own_copy, call):
    path = own_copy / "export" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"] = content["model"]["merges"][:1000]
    path.write_text(json.dumps(content))
    assert "other ids" in call(own_copy, code=2).stderr


def test_to_a_directory(own_copy, call, tmp_path):
    target = tmp_path / "shelf" / "model"
    call(own_copy, "--to", target)
    assert (target / "model.safetensors").stat().st_nlink == 1  # a copy, not the run's own file
    card = (target / "README.md").read_text()
    assert "named no licence" in card
    certificate = json.loads((target / "certificate.json").read_text())
    certificate["run"]["step"] = 3
    (target / "certificate.json").write_text(json.dumps(certificate))
    assert "step 3" in call(own_copy, "--to", target, code=2).stderr
    certificate["run"]["step"] = 2
    (target / "certificate.json").write_text(json.dumps(certificate))
    (target / "notes.txt").write_text("mine")
    assert "notes.txt was not published here" in call(own_copy, "--to", target, code=2).stderr
    (target / "notes.txt").unlink()
    (target / "README.md").write_text(card + "mine")
    assert "README.md was edited" in call(own_copy, "--to", target, code=2).stderr
    call(own_copy, "--to", target, "--replace")
    assert json.loads((target / "certificate.json").read_text())["run"]["step"] == 2
