"""For several rooms: a small recipe, no W&B settings of this machine, a command of two verbs that trains nothing."""

import os
import sys
from pathlib import Path

import pytest

from qwen_shared.recipe import PretrainRecipe

RECIPE = """
name: small
model: {num_layers: 2, hidden_size: 16, num_attention_heads: 2, ffn_hidden_size: 32}
data: {sources: stdlib, seq_length: 16}
training: {steps: 4, global_batch_size: 4}
optimizer: {lr: 1e-3}
checkpoint: {interval: 2}
evaluation: {interval: 2}
"""

MAIN = """
import sys
from pathlib import Path
from qwen_shared.cli import Verb, run

VERBS = [
    Verb("train", "train it", "toy.work:train", "toy", plan="toy.work:plan"),
    Verb("look", "look at it", "toy.work:look", "toy", reads_run=True,
         options=lambda parser: parser.add_argument("--count", type=int, default=1)),
]

if __name__ == "__main__":
    sys.exit(run("toy", "A toy.", VERBS, Path(__file__).parent / "recipes", default_config="small"))
"""

WORK = """
import os, signal, sys, time
from pathlib import Path
from qwen_shared.errors import Stopped, UserError

def plan(invocation):
    nodes = invocation.options.nodes
    hosts = f" on {nodes} hosts" if nodes > 1 else ""
    return f"plan for {invocation.layout.world_size}{hosts} in {invocation.run_dir}"

def look(invocation):
    print("look", invocation.recipe.training.steps, invocation.run_dir, invocation.from_model, invocation.options.count)

def train(invocation):
    rank, what = os.environ.get("RANK", "0"), os.environ["TOY"]
    print("noise that nobody can act on", file=sys.stderr)
    print("begin", rank, os.environ.get("OMP_NUM_THREADS"), os.environ.get("MASTER_PORT"), flush=True)
    if what == "user-error":
        raise UserError("this will not do")
    if what == "fail" and rank == "1":
        raise RuntimeError("rank one is broken")
    if what == "fail":
        time.sleep(0.5)  # what torch does when it loses the others
        raise ConnectionError("rank zero lost its peer")
    if what == "wait":
        signals = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, lambda number, frame: signals.append(number))
        Path(f"ready-{rank}").write_text(str(os.getpid()))
        end = time.monotonic() + 60
        while not signals and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.5)  # saving; a signal that comes twice would be seen
        Path(f"signals-{rank}").write_text(" ".join(map(str, signals)))
        raise Stopped("stopped, all is saved")
    if what == "killed-once" and rank == "1" and not Path("was-killed").exists():
        Path("was-killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "killed-once" and not Path("was-killed-and-came-back").exists() and rank == "0":
        while not Path("was-killed").exists():
            time.sleep(0.01)
        Path("was-killed-and-came-back").touch()
        raise ConnectionError("rank zero lost its peer")
    if what in ("broken", "one-mistake") and rank == "0":
        time.sleep(60)
    if what == "broken":
        raise RuntimeError("rank one is broken")
    if what == "one-mistake":
        raise UserError("only rank one sees this")
    if what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(f"ready-{rank}").write_text(str(os.getpid()))
        if rank == "1":
            sys.exit(7)
        time.sleep(60)
"""


class Toy:
    """A command of two verbs that trains nothing."""

    def __init__(self, folder: Path):
        self.folder = folder
        package = folder / "toy"
        (package / "recipes").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(MAIN)
        (package / "work.py").write_text(WORK)
        (package / "recipes" / "small.yaml").write_text(RECIPE)

    def arguments(self, what: str, *words: str) -> dict:
        names = ("RANK", "WORLD_SIZE", "OMP_NUM_THREADS", "MASTER_ADDR", "MASTER_PORT")
        env = {k: v for k, v in os.environ.items() if k not in names and not k.startswith("PET_")}
        env |= {"PYTHONPATH": str(self.folder), "TOY": what}
        return {"args": [sys.executable, "-m", "toy", *words], "cwd": self.folder, "env": env, "text": True}


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


@pytest.fixture
def recipe():
    return make_recipe()


@pytest.fixture
def changed():
    """The same recipe with other values."""
    return make_recipe


def make_recipe(**sections):
    tree = {
        "name": "small",
        "model": {"num_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "ffn_hidden_size": 32},
        "data": {"sources": "stdlib", "seq_length": 16},
        "training": {"steps": 4, "global_batch_size": 4},
        "optimizer": {"lr": 1e-3},
        "checkpoint": {"interval": 2},
        "evaluation": {"interval": 2},
    }
    for name, keys in sections.items():
        tree[name] = tree.get(name, {}) | keys if isinstance(keys, dict) else keys
    return PretrainRecipe.model_validate(tree)


@pytest.fixture(autouse=True)
def no_wandb(monkeypatch):
    """No test finds the machine's own W&B settings; those that want W&B set the mode themselves."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent")
    monkeypatch.setenv("WANDB_MODE", "disabled")
