"""A run that was published, a run that says everything by hand, and a hub."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import forked
import pytest
from shared.publish.fake_hub import TOKEN, FakeHub

CREATED = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def make_run(tmp_path):
    """make_run(name, kind=…, results=…, …): a run's directory with its manifest, recipe and empty checkpoints."""

    def make(name: str = "one", steps: tuple[int, ...] = (10, 20), recipe: dict | None = None, **said) -> Path:
        run_dir = tmp_path / "runs" / name
        run_dir.mkdir(parents=True, exist_ok=True)
        for step in steps:
            checkpoint = run_dir / "checkpoints" / f"step-{step:08d}"
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / "metadata.json").write_text("{}")
        manifest = {
            "command": "qwen-base pretrain",
            "kind": "base-pretrain",
            "name": name,
            "status": "finished",
            "created": CREATED,
            "updated": CREATED,
            "results": {"val/bits_per_byte": 2.0},
        }
        (run_dir / "manifest.json").write_text(json.dumps(manifest | said))
        recipe = {"name": name, "seed": 1, "tokenizer": "default", "data": {"seq_length": 64}} | (recipe or {})
        (run_dir / "recipe.yaml").write_text(json.dumps(recipe))
        return run_dir

    return make


@pytest.fixture
def publish(capfd):
    """publish(words…) in this process: exit code, and what it said."""
    from qwen_base.cli import main

    def run(*words):
        code = main(["publish", *map(str, words)])
        out, err = capfd.readouterr()
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    return run


@pytest.fixture(scope="session")
def published_run(base_run, environment) -> Path:
    """A trained run of two layers, whose RUN/published was written by the command itself."""
    done = forked.run(
        [sys.executable, "-m", "qwen_base", "publish", str(base_run), "--licence", "mit"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return base_run


@pytest.fixture
def hub():
    server = FakeHub()
    yield server
    server.close()


@pytest.fixture
def hub_environment(hub, environment, tmp_path):
    """What a process sees for which the fake is the hub."""
    return environment | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
    }
