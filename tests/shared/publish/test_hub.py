"""Uploads against a hub on this machine: what arrives, what is sent again, what is refused."""

import hashlib
import json
import os
import random
import subprocess
import sys

import pytest

from qwen_shared.publish.files import write_checksums

OURS = {"kind": "base-pretrain", "name": "tiny", "created": "2026-01-02T03:04:05+00:00", "step": 20}
# In a process of its own, which reads HF_ENDPOINT, and does not sleep between one try and the next.
SEND = """
import json, sys, time
from pathlib import Path
time.sleep = lambda seconds: None
from qwen_shared.errors import Stopped, UserError
from qwen_shared.publish import hub
directory, ours, *words = sys.argv[1:]
try:
    repository = hub.find_repository("org/model", json.loads(ours), "--replace" in words)
    print(hub.upload(repository, Path(directory), "tiny, step 20"))
except (UserError, Stopped) as error:
    print(error, file=sys.stderr)
    sys.exit(2 if isinstance(error, UserError) else 75)
"""


@pytest.fixture
def directory(tmp_path):
    """As if a model were in it."""
    there = tmp_path / "published"
    there.mkdir()
    draw = random.Random(0)
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "tokenizer.json"):
        (there / name).write_bytes(draw.randbytes(300_000))
    (there / "config.json").write_text("{}")
    (there / "README.md").write_text("---\nlibrary_name: transformers\n---\n# tiny\n")
    (there / "certificate.json").write_text(json.dumps({"run": OURS}))
    write_checksums(there)
    return there


@pytest.fixture
def send(hub_environment, directory):
    """Looks, and sends the directory: exit codes are those of the command."""

    def run(*words: str, token: str | None = "same") -> subprocess.CompletedProcess:
        surroundings = dict(hub_environment)
        if token != "same":
            surroundings.pop("HF_TOKEN")
            surroundings |= {"HF_TOKEN": token} if token else {}
        command = [sys.executable, "-c", SEND, str(directory), json.dumps(OURS), *words]
        return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=120)

    return run


def last_line(done):
    return done.stderr.splitlines()[-1]


def names(hub):
    return set(hub.repos["org/model"].files)


def test_all_files_in_one_commit(send, directory, hub):
    done = send()
    assert done.returncode == 0, done.stderr
    repo = hub.repos["org/model"]
    assert repo.files == {path.name: path.read_bytes() for path in directory.iterdir()}
    assert repo.messages == ["Publish tiny, step 20"]
    assert f"{hub.url}/org/model/commit/" in done.stdout
    # The same again changes nothing and sends nothing.
    hub.requests.clear()
    assert send().returncode == 0
    assert len(repo.messages) == 1 and hub.sent() == []


def test_a_cut_connection(send, directory, hub):
    """Nothing is visible, what arrived stays, and the same command sends only the rest."""
    hub.cut = 1_000
    done = send()
    assert done.returncode == 75, done.stdout + done.stderr
    assert "the connection broke" in last_line(done) and "the same command continues" in last_line(done)
    assert names(hub) == set() and not hub.blobs
    hub.cut = 0
    first, second, *_ = sorted(directory.iterdir(), key=lambda path: path.suffix != ".safetensors")
    arrived = hashlib.sha256(first.read_bytes()).hexdigest()
    hub.blobs[arrived] = first.read_bytes()
    hub.requests.clear()
    assert send().returncode == 0
    assert arrived not in hub.sent() and hashlib.sha256(second.read_bytes()).hexdigest() in hub.sent()
    assert names(hub) == {path.name for path in directory.iterdir()}


def test_one_cut_is_got_over(send, directory, hub):
    hub.cut = 1
    done = send()
    assert done.returncode == 0, done.stderr
    assert len(hub.sent()) == len(set(hub.sent())) + 1


def test_something_newer_is_there(send, directory, hub):
    assert send().returncode == 0
    files = hub.repos["org/model"].files
    certificate = json.loads(files["certificate.json"])
    certificate["run"]["step"] = 99
    files["certificate.json"] = json.dumps(certificate).encode()
    done = send()
    assert done.returncode == 2 and "step 99" in done.stderr and "--replace" in done.stderr
    hub.requests.clear()
    assert send("--replace").returncode == 0
    assert json.loads(hub.repos["org/model"].files["certificate.json"])["run"]["step"] == 20


def test_a_card_that_was_edited_there(send, directory, hub):
    assert send().returncode == 0
    hub.repos["org/model"].files["README.md"] += b"\nDo not use before Friday.\n"
    done = send()
    assert done.returncode == 2 and "README.md was edited there" in done.stderr


def test_a_repository_of_something_else(send, directory, hub):
    hub.create({"organization": "org", "name": "model"})
    hub.repos["org/model"].files["pytorch_model.bin"] = b""
    done = send()
    assert done.returncode == 2 and "pytorch_model.bin" in done.stderr
    assert names(hub) == {"pytorch_model.bin"}


def test_files_of_an_earlier_publication_go(send, directory, hub):
    assert send().returncode == 0
    files = hub.repos["org/model"].files
    files["int4/model.safetensors"], files["notes.txt"] = b"old", b"by hand"
    files["SHA256SUMS"] += b"0" * 64 + b"  int4/model.safetensors\n"
    assert send().returncode == 0
    assert "int4/model.safetensors" not in names(hub) and "notes.txt" in names(hub)


@pytest.mark.parametrize(("status", "said"), [(403, "not allowed (403)"), (412, "committed meanwhile")])
def test_the_server_says_no(send, directory, hub, status, said):
    hub.refuse = status
    done = send()
    assert done.returncode == 2 and said in last_line(done)


def test_a_server_that_fails_while_it_is_asked(send, hub):
    """Before anything was sent, nothing that arrived can be kept."""
    for hub.fail, hub.reason, said in ((500, "", "500 Internal Server Error;"), (503, "later", "Unavailable: later;")):
        done = send()
        assert done.returncode == 75 and hub.sent() == []
        assert said in last_line(done) and "nothing was sent, and the same command tries again" in last_line(done)
        assert "kept" not in done.stderr


def test_a_refusal_without_a_reason(send, hub):
    hub.refuse, hub.reason = 400, ""
    done = send()
    assert done.returncode == 2 and last_line(done) == "hf://org/model: refused (400 Bad Request)"
    hub.refuse, hub.reason = 500, ""
    done = send()
    assert done.returncode == 75 and "what arrived is kept, and the same command continues" in last_line(done)


def test_a_full_disk_is_no_connection_that_ended():
    import errno

    from qwen_shared.errors import UserError
    from qwen_shared.publish import hub

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        with pytest.raises(UserError, match=r"^/cache/blob: ") as refusal:
            hub._explain("org/model", OSError(number, os.strerror(number), "/cache/blob"))
        assert str(refusal.value).endswith(os.strerror(number))


def test_no_token(send, directory, hub):
    done = send(token=None)
    assert done.returncode == 2 and "HF_TOKEN" in done.stderr
    done = send(token="hf_wrong")
    assert done.returncode == 2 and "HF_TOKEN" in done.stderr


def test_no_server(send, directory, hub):
    hub.close()
    done = send()
    assert done.returncode == 75 and "the connection broke" in done.stderr
