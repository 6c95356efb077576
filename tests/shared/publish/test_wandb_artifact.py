"""What W&B is asked, by an object that stands in for it: nothing is sent."""

import json
import sys
from types import SimpleNamespace

import pytest

from qwen_shared.errors import Stopped, UserError
from qwen_shared.publish import wandb_artifact
from qwen_shared.publish.checkpoint import find_checkpoint

PLACE = ("team", "models", "tiny-base")
CERTIFICATE = {"run": {"step": 20}, "hash": "ab", "parity": {"tensors": {}}, "lineage": [], "versions": {}}


class Recorder:
    """`wandb`, as far as it is called."""

    Settings = staticmethod(lambda **said: said)

    def __init__(self):
        self.calls, self.newest, self.fails = [], None, False

    def init(self, **said):
        self.calls.append(("init", said))
        return self

    def Artifact(self, name, **said):
        self.calls.append(("artifact", name, said))
        return SimpleNamespace(add_dir=lambda path: self.calls.append(("add_dir", path)))

    def log_artifact(self, artifact, aliases):
        self.calls.append(("log", aliases))
        if self.fails:
            raise ConnectionError("reset by peer")
        return SimpleNamespace(name="tiny-base:v3", wait=lambda: self.calls.append(("wait",)))

    def finish(self):
        self.calls.append(("finish",))

    def Api(self):
        def artifact(name, type):
            assert (name, type) == ("team/models/tiny-base:latest", "model")
            if self.newest is None:
                raise ValueError("no such artifact")
            return SimpleNamespace(metadata=self.newest)

        return SimpleNamespace(artifact=artifact)


@pytest.fixture
def wandb(monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", recorder)
    monkeypatch.setattr(wandb_artifact, "has_key", lambda: True)
    return recorder


@pytest.fixture
def checkpoint(make_run):
    return find_checkpoint(str(make_run(wandb_run_id="abc123")))


def test_an_artifact_of_the_run_that_trained_it(wandb, checkpoint, tmp_path):
    wandb_artifact.check(PLACE, checkpoint.identity, replace=False)
    assert wandb_artifact.upload(PLACE, tmp_path, checkpoint, CERTIFICATE) == "team/models/tiny-base:v3"
    names = [call[0] for call in wandb.calls]
    assert names == ["init", "artifact", "add_dir", "log", "wait", "finish"]
    said = wandb.calls[0][1]
    assert (said["entity"], said["project"], said["id"], said["resume"]) == ("team", "models", "abc123", "allow")
    assert said["mode"] == "online" and said["settings"]["silent"]
    _, name, of_artifact = wandb.calls[1]
    assert name == "tiny-base" and of_artifact["type"] == "model"
    assert json.loads(json.dumps(of_artifact["metadata"])) == {k: CERTIFICATE[k] for k in of_artifact["metadata"]}
    assert wandb.calls[2:4] == [("add_dir", str(tmp_path)), ("log", ["latest", "step-20"])]


def test_a_newer_version_is_there(wandb, checkpoint):
    wandb.newest = {"run": checkpoint.identity | {"step": 30}}
    with pytest.raises(UserError, match=r"wandb://team/models/tiny-base: holds .* step 30"):
        wandb_artifact.check(PLACE, checkpoint.identity, replace=False)
    wandb_artifact.check(PLACE, checkpoint.identity, replace=True)
    wandb.newest = {"run": checkpoint.identity}
    wandb_artifact.check(PLACE, checkpoint.identity, replace=False)


def test_a_connection_that_ends(wandb, checkpoint, tmp_path):
    wandb.fails = True
    with pytest.raises(Stopped, match="reset by peer; what arrived is kept, and the same command continues"):
        wandb_artifact.upload(PLACE, tmp_path, checkpoint, CERTIFICATE)
    assert wandb.calls[-1] == ("finish",)


def test_no_key(wandb, checkpoint, monkeypatch):
    monkeypatch.setattr(wandb_artifact, "has_key", lambda: False)
    with pytest.raises(UserError, match="WANDB_API_KEY"):
        wandb_artifact.check(PLACE, checkpoint.identity, replace=False)
