"""What is said to W&B online, told to a stand-in that records it: names, groups, lineage, artifacts, steps."""

import json
import sys
import types

import pytest

from qwen_shared.recipe.schema import Tracking
from qwen_shared.run import Manifest, Parent
from qwen_shared.run.lineage import lineage_of
from qwen_shared.tracking import Tracker, wandb_artifacts, wandb_run

STEPS = 4


class Artifact:
    def __init__(self, name, type, metadata):
        self.name, self.type, self.metadata, self.contents = name, type, metadata, []

    def add_dir(self, path, skip_cache, policy):
        assert skip_cache
        self.contents.append((policy, path))

    def add_reference(self, uri):
        self.contents.append(("reference", uri))

    def wait(self, timeout):
        assert timeout

    @property
    def qualified_name(self):
        return f"team/qwen/{self.name}:v{self.version}"


class Server:
    """What W&B keeps over all runs: `versions` by artifact, `rows` by run id."""

    def __init__(self):
        self.started, self.used, self.logged, self.rows, self.versions = [], [], [], {}, {}
        self.broken = set()

    def module(self):
        module = types.ModuleType("wandb")
        module.init, module.Artifact, module.teardown = self.init, Artifact, lambda: None
        module.Settings = lambda **settings: settings
        module.Table = lambda columns, data, allow_mixed_types: {"columns": columns, "rows": len(data)}
        return module

    def init(self, **arguments):
        self.started.append(arguments)
        if arguments["mode"] in self.broken:
            raise TimeoutError("nobody there\nand more")
        return Run(self, arguments["id"])


class Run:
    def __init__(self, server, run_id):
        self.server, self.id = server, run_id
        self.url = f"https://wandb.test/team/qwen/runs/{run_id}"
        self.rows = server.rows.setdefault(run_id, [])
        self.starting_step = self.rows[-1][0] + 1 if self.rows else 0
        self.summary = {}

    def log(self, metrics, step):
        if "row" in self.server.broken:
            raise ConnectionError("cut off")
        assert step >= (self.rows[-1][0] if self.rows else 0), "W&B throws away what goes back"
        self.rows.append((step, metrics))

    def use_artifact(self, name, type):
        if "use" in self.server.broken:
            raise ValueError("no such artifact")
        self.server.used.append((self.id, name, type))

    def log_artifact(self, artifact, aliases):
        if "log" in self.server.broken:
            raise ValueError("no room")
        artifact.version = self.server.versions.get(artifact.name, 0)
        self.server.versions[artifact.name] = artifact.version + 1
        self.server.logged.append((self.id, artifact, aliases))
        return artifact

    def finish(self, exit_code):
        self.exit_code = exit_code


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setitem(sys.modules, "wandb", server.module())
    monkeypatch.setattr(wandb_run, "has_key", lambda: True)
    return server


def train(run_dir, command, kind, parent=None, resume=0, last=STEPS, every=False, **tracking):
    """A run's process, with an export at its end; and, `every`, at each step before."""
    run_dir.mkdir(parents=True, exist_ok=True)
    if (run_dir / "manifest.json").exists():
        manifest = Manifest.read(run_dir)
    else:
        manifest = Manifest.create(command, kind, run_dir.name)
        manifest.parent = Parent(run=str(parent), step=STEPS, hash="abc") if parent else None
        manifest.lineage = lineage_of(manifest.parent)
    tracker = Tracker(
        run_dir, {"name": run_dir.name}, Tracking(wandb="online", **tracking), manifest, STEPS, 64, 4, resume
    )
    export = run_dir / "export"
    for step in range(resume + 1, last + 1):
        tracker.log(step, {"train/loss": 1.0 / step})
        export.mkdir(exist_ok=True)
        (export / "certificate.json").write_text(json.dumps({"step": step}))
        if every and step < STEPS:
            tracker.model(export, final=False)
    if last == STEPS:
        manifest.results = {"val/loss": 0.25}
        tracker.model(export, final=True)
    tracker.finish("finished" if last == STEPS else "stopped")
    return Manifest.read(run_dir)


def test_base_code_sft(server, tmp_path):
    """W&B draws a line through what each run logs and the next one uses."""
    base = train(tmp_path / "base" / "tiny", "qwen-base pretrain", "base-pretrain")
    code = train(tmp_path / "code" / "tiny", "code-qwen pretrain", "code-pretrain", tmp_path / "base" / "tiny")
    sft = train(tmp_path / "sft" / "mine", "code-qwen sft", "code-sft", tmp_path / "code" / "tiny")
    assert [(run, artifact.name, artifact.type, aliases) for run, artifact, aliases in server.logged] == [
        (base.wandb_run_id, "base-pretrain-tiny", "model", ["latest", "step-4", "final"]),
        (code.wandb_run_id, "code-pretrain-tiny", "model", ["latest", "step-4", "final"]),
        (sft.wandb_run_id, "code-sft-mine", "model", ["latest", "step-4", "final"]),
    ]
    assert server.used == [
        (code.wandb_run_id, "team/qwen/base-pretrain-tiny:v0", "model"),
        (sft.wandb_run_id, "team/qwen/code-pretrain-tiny:v0", "model"),
    ]
    assert [(s["group"], s["job_type"], s["name"]) for s in server.started] == [
        ("tiny", "pretrain", "base-pretrain/tiny"),
        ("tiny", "pretrain", "code-pretrain/tiny"),
        ("tiny", "sft", "code-sft/mine"),
    ]
    assert sft.wandb_url == f"https://wandb.test/team/qwen/runs/{sft.wandb_run_id}"
    known = [(a.kind, a.name, a.step, a.wandb_run_id, a.wandb_artifact) for a in sft.lineage]
    assert known == [
        ("code-pretrain", "tiny", 4, code.wandb_run_id, "team/qwen/code-pretrain-tiny:v0"),
        ("base-pretrain", "tiny", 4, base.wandb_run_id, "team/qwen/base-pretrain-tiny:v0"),
    ]
    config = server.started[-1]["config"]
    assert [ancestor["name"] for ancestor in config["lineage"]] == ["tiny", "tiny"]
    assert config["kind"] == "code-sft"
    _, last, _ = server.logged[-1]
    assert last.contents == [("immutable", str(tmp_path / "sft" / "mine" / "export"))]
    assert last.metadata["parent"]["hash"] == "abc"
    assert last.metadata["results"] == {"val/loss": 0.25}


def test_a_restart_is_the_same_run_and_repeats_nothing(server, tmp_path):
    first = train(tmp_path / "tiny", "qwen-base pretrain", "base-pretrain", last=3)
    again = train(tmp_path / "tiny", "qwen-base pretrain", "base-pretrain", resume=1)
    assert first.wandb_run_id == again.wandb_run_id
    assert [s["resume"] for s in server.started] == ["allow", "allow"]
    (rows,) = server.rows.values()
    losses = [(step, row["train/loss"]) for step, row in rows if "train/loss" in row]
    assert losses == [(1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)]
    assert server.used == []


def test_what_the_server_has_not_is_sent_again(server, tmp_path):
    """It was away for a while: its rows end before the checkpoint's step."""
    manifest = train(tmp_path / "tiny", "qwen-base pretrain", "base-pretrain", last=3)
    del server.rows[manifest.wandb_run_id][1:]
    train(tmp_path / "tiny", "qwen-base pretrain", "base-pretrain", resume=3)
    assert [step for step, row in server.rows[manifest.wandb_run_id] if "train/loss" in row] == [1, 2, 3, 4]


def test_exports_on_the_way(server, tmp_path):
    train(tmp_path / "tiny", "qwen-base pretrain", "base-pretrain", every=True)
    aliases = [aliases for _, _, aliases in server.logged]
    assert [artifact.contents[0][0] for _, artifact, _ in server.logged] == ["mutable"] * 3 + ["immutable"]
    assert aliases == [*(["latest", f"step-{step}"] for step in (1, 2, 3)), ["latest", "step-4", "final"]]


@pytest.mark.parametrize(("artifacts", "limit"), [("reference", 1 << 30), ("auto", 1)])
def test_checksums_alone(artifacts, limit, server, tmp_path, monkeypatch):
    monkeypatch.setattr(wandb_artifacts, "UPLOAD_BYTES", limit)
    train(tmp_path / "tiny", "qwen-base pretrain", "base-pretrain", artifacts=artifacts)
    ((_, artifact, _),) = server.logged
    assert artifact.contents == [("reference", (tmp_path / "tiny" / "export").as_uri())]


def test_no_artifacts_where_none_are_wanted(server, tmp_path):
    manifest = train(tmp_path / "tiny", "qwen-base pretrain", "base-pretrain", artifacts="none")
    assert server.logged == []
    assert manifest.wandb_artifacts == {}


def test_artifacts_that_fail_cost_the_run_nothing(server, tmp_path):
    train(tmp_path / "base" / "tiny", "qwen-base pretrain", "base-pretrain")
    server.broken = {"use", "log"}
    manifest = train(tmp_path / "sft" / "tiny", "math-qwen sft", "math-sft", tmp_path / "base" / "tiny")
    assert manifest.wandb_artifacts == {}
    assert [step for step, row in server.rows[manifest.wandb_run_id] if "train/loss" in row] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"online"}, "W&B cannot be reached (nobody there): logging offline, to {0}; `wandb sync {0}/offline-run-*` "),
        ({"online", "offline"}, "W&B does not start (nobody there): the run goes on without it"),
        ({"row"}, "W&B stopped working, the run goes on without it: cut off"),
    ],
)
def test_an_outage_is_said_once_and_ends_nothing(broken, said, server, tmp_path, capsys):
    server.broken = broken
    train(tmp_path / "tiny", "qwen-base pretrain", "base-pretrain")
    lines = [line for line in capsys.readouterr().out.splitlines() if "W&B" in line]
    assert len(lines) == 1 and lines[0].startswith(said.format(tmp_path / "tiny/wandb"))


def test_the_judge_of_ppo_is_an_input_too(server, tmp_path):
    from qwen_shared.run.lineage import describe_parent

    train(tmp_path / "rm" / "tiny", "qwen-chat reward", "chat-reward")
    manifest = Manifest.create("qwen-chat ppo", "chat-ppo", "tiny")
    manifest.reward_model = describe_parent(str(tmp_path / "rm" / "tiny"), STEPS)
    (tmp_path / "ppo").mkdir()
    Tracker(tmp_path / "ppo", {}, Tracking(wandb="online"), manifest, STEPS, 0, 4).finish("stopped")
    assert [name for _, name, _ in server.used] == ["team/qwen/chat-reward-tiny:v0"]


def test_names_that_wandb_allows():
    manifest = Manifest.create("qwen-base pretrain", "base-pretrain", "größe/7 b:x")
    assert wandb_artifacts.artifact_name(manifest) == "base-pretrain-gr--e-7-b-x"
    manifest.name = "a" * 300
    assert len(wandb_artifacts.artifact_name(manifest)) == 128
