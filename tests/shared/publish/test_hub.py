"""Uploads against a hub on this machine: what arrives, what is sent again, what is refused."""

import json

import pytest


def names(hub):
    return set(hub.repos["org/model"].files)


def test_all_files_in_one_commit(published_run, to_hub, hub):
    done = to_hub(published_run, "--licence", "mit", "--to", "hf://org/model")
    assert done.returncode == 0, done.stderr
    repo, directory = hub.repos["org/model"], published_run / "published"
    assert repo.files == {path.name: path.read_bytes() for path in directory.iterdir()}
    assert repo.messages == ["Publish base-pretrain/micro, step 2"]
    assert f"published at {hub.url}/org/model/commit/" in done.stdout
    # The same again changes nothing and sends nothing.
    hub.requests.clear()
    assert to_hub(published_run, "--licence", "mit", "--to", "hf://org/model").returncode == 0
    assert len(repo.messages) == 1 and hub.sent() == []


def test_a_cut_connection(published_run, to_hub, hub):
    """Nothing is visible, what arrived stays, and the same command sends only the rest."""
    hub.cut = 1_000
    done = to_hub(published_run, "--licence", "mit", "--to", "hf://org/model")
    assert done.returncode == 75, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1 and "the same command goes on" in done.stderr
    assert names(hub) == set() and not hub.blobs
    hub.cut = 0
    arrived = (published_run / "published" / "model.safetensors").read_bytes()
    import hashlib

    digest = hashlib.sha256(arrived).hexdigest()
    hub.blobs[digest] = arrived
    hub.requests.clear()
    assert to_hub(published_run, "--licence", "mit", "--to", "hf://org/model").returncode == 0
    assert digest not in hub.sent() and len(hub.sent()) == 2  # the vocabulary's two forms
    assert "model.safetensors" in names(hub)


def test_one_cut_is_got_over(published_run, to_hub, hub):
    hub.cut = 1
    done = to_hub(published_run, "--licence", "mit", "--to", "hf://org/model")
    assert done.returncode == 0, done.stderr
    assert len(hub.sent()) == len(set(hub.sent())) + 1


def test_something_newer_is_there(published_run, to_hub, hub):
    assert to_hub(published_run, "--licence", "mit", "--to", "hf://org/model").returncode == 0
    files = hub.repos["org/model"].files
    certificate = json.loads(files["certificate.json"])
    certificate["run"]["step"] = 99
    files["certificate.json"] = json.dumps(certificate).encode()
    done = to_hub(published_run, "--to", "hf://org/model")
    assert done.returncode == 2 and "step 99" in done.stderr and "--replace" in done.stderr
    hub.requests.clear()
    assert to_hub(published_run, "--licence", "mit", "--to", "hf://org/model", "--replace").returncode == 0
    assert json.loads(hub.repos["org/model"].files["certificate.json"])["run"]["step"] == 2


def test_a_card_that_was_edited_there(published_run, to_hub, hub):
    assert to_hub(published_run, "--licence", "mit", "--to", "hf://org/model").returncode == 0
    hub.repos["org/model"].files["README.md"] += b"\nDo not use before Friday.\n"
    done = to_hub(published_run, "--to", "hf://org/model")
    assert done.returncode == 2 and "README.md was edited there" in done.stderr


def test_a_repository_of_something_else(published_run, to_hub, hub):
    hub.create({"organization": "org", "name": "model"})
    hub.repos["org/model"].files["pytorch_model.bin"] = b""
    done = to_hub(published_run, "--licence", "mit", "--to", "hf://org/model")
    assert done.returncode == 2 and "pytorch_model.bin" in done.stderr
    assert names(hub) == {"pytorch_model.bin"}


def test_files_of_an_earlier_publication_go(published_run, to_hub, hub):
    assert to_hub(published_run, "--licence", "mit", "--to", "hf://org/model").returncode == 0
    files = hub.repos["org/model"].files
    files["int4/model.safetensors"], files["notes.txt"] = b"old", b"by hand"
    files["SHA256SUMS"] += b"0" * 64 + b"  int4/model.safetensors\n"
    assert to_hub(published_run, "--licence", "mit", "--to", "hf://org/model").returncode == 0
    assert "int4/model.safetensors" not in names(hub) and "notes.txt" in names(hub)


@pytest.mark.parametrize(("status", "said"), [(403, "not allowed (403)"), (412, "committed meanwhile")])
def test_the_server_says_no(published_run, to_hub, hub, status, said):
    hub.refuse = status
    done = to_hub(published_run, "--licence", "mit", "--to", "hf://org/model")
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_no_token(published_run, to_hub, hub):
    done = to_hub(published_run, "--licence", "mit", "--to", "hf://org/model", token=None)
    assert done.returncode == 2 and "HF_TOKEN" in done.stderr
    done = to_hub(published_run, "--licence", "mit", "--to", "hf://org/model", token="hf_wrong")
    assert done.returncode == 2 and "HF_TOKEN" in done.stderr


def test_no_server(published_run, to_hub, hub):
    hub.close()
    done = to_hub(published_run, "--licence", "mit", "--to", "hf://org/model")
    assert done.returncode == 75 and "the connection ended" in done.stderr
