"""What a user types, and what comes back."""

import importlib
import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest


@pytest.fixture
def shell(toy):
    """The toy's command as a process."""

    def shell(*words, what="done"):
        return subprocess.run(**toy.arguments(what, *words), capture_output=True, timeout=60)

    return shell


@pytest.fixture
def call(toy, monkeypatch, capfd):
    """The same in this process, for speed."""
    monkeypatch.chdir(toy.folder)
    monkeypatch.syspath_prepend(toy.folder)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*words, what="done"):
        monkeypatch.setenv("TOY", what)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "argv", ["toy", *words])
        main = importlib.import_module("toy.__main__")
        try:
            code = main.run("toy", "A toy.", main.VERBS, toy.folder / "toy/recipes", default_config="small")
        except SystemExit as exit_:  # argparse after --help
            code = exit_.code
        out, err = capfd.readouterr()
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name in [name for name in sys.modules if name.split(".")[0] == "toy"]:
        del sys.modules[name]


def test_finished_is_0_and_noise_is_in_the_log(shell, toy):
    done = shell("train")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("begin 0")
    assert "nobody can act on" in (toy.folder / "runs/toy/small/log.txt").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], ["no verb 'trian'", "nearest: train", "look"]),
        (["train", "optimizer.lrr", "=", "3"], ["toy train:", "'optimizer.lrr'", "'optimizer.lr'"]),
        (["train", "--confg", "small"], ["--confg", "--config"]),
        (["train", "--optimizer.lr=3"], ["without dashes", "optimizer.lr=3"]),
        (["train", "--nproc", "0"], ["--nproc", "'0'"]),
        (["train", "--nproc", "3"], ["global_batch_size=4", "3"]),
        (["train", "tokenizer=nowhere.tiktoken"], ["nowhere.tiktoken", "no such file"]),
        (["train", "data.sources=nowhere.txt"], ["nowhere.txt", "no such file"]),
        (["train", "--run-dir", "toy"], ["toy: not a run", "--run-dir"]),
        (["train", "--run-dir", "toy/work.py"], ["toy/work.py", "a file"]),
        (["look"], ["runs/toy/small", "no run there"]),
        (["look", "--count", "many"], ["--count", "many"]),
        (["train", "--from", "x"], ["--from"]),  # a flag of the other verb
    ],
)
def test_a_mistake_is_2_and_one_line(words, said, call, toy):
    before = sorted(toy.folder.rglob("*"))
    done = call(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    for word in ["error: ", *said]:
        assert word in done.stderr
    assert [path for path in sorted(toy.folder.rglob("*")) if "__pycache__" not in path.parts] == before


def test_a_mistake_found_at_work_is_2(call):
    done = call("train", what="user-error")
    assert (done.returncode, done.stderr) == (2, "toy train: error: this will not do\n")


def test_our_fault_is_1_with_a_traceback(shell, toy):
    (toy.folder / "toy" / "work.py").write_text("def train(invocation):\n    raise RuntimeError('ours')\n")
    done = shell("train")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError: ours" in (toy.folder / "runs/toy/small/log.txt").read_text()


def test_plan_leaves_nothing_behind(call, toy):
    done = call("train", "--plan", "--nproc", "2")
    assert (done.returncode, done.stdout) == (0, "plan for 2 in runs/toy/small\n")
    assert not (toy.folder / "runs").exists()


def test_a_reading_verb_takes_the_run_s_recipe(call, toy):
    run = toy.folder / "elsewhere"
    run.mkdir()
    recipe = (toy.folder / "toy/recipes/small.yaml").read_text().replace("steps: 4", "steps: 99")
    (run / "recipe.yaml").write_text(recipe)
    for words in (["--run-dir", "elsewhere"], ["--from", "elsewhere"], ["--from", "elsewhere@3"]):
        done = call("look", *words, "--count", "5")
        assert done.stdout.split()[1:3] == ["99", "elsewhere"]
        assert done.stdout.split()[-1] == "5"
    assert call("look", "--from", "org/model").stdout.split()[1:4] == ["4", "runs/toy/small", "org/model"]


def test_a_finished_run_says_so(call, toy):
    from qwen_shared.recipe import PretrainRecipe, load_recipe
    from qwen_shared.tracking import open_run

    run = toy.folder / "done"
    recipe = load_recipe(PretrainRecipe, "small", [], toy.folder / "toy/recipes")
    _, manifest = open_run(run, recipe, "toy train", "toy")
    assert call("train", "--run-dir", "done").stdout.startswith("begin")  # it was marked running: it goes on
    manifest.status = "finished"
    manifest.write(run)
    done = call("train", "--run-dir", "done")
    assert (done.returncode, "finished" in done.stdout, "begin" in done.stdout) == (0, True, False)
    other = call("train", "--run-dir", "done", "optimizer.lr=0.5")
    assert other.returncode == 2
    assert "optimizer.lr: 0.001 → 0.5" in other.stderr
    assert "--run-dir" in other.stderr
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"


def test_ctrl_c_before_there_is_work(shell, toy):
    """Twice, as `uv run` delivers it."""
    interrupt = "os.kill(os.getpid(), signal.SIGINT)"
    code = f"import os, signal\ntry:\n    {interrupt}\nfinally:\n    {interrupt}\n"
    (toy.folder / "toy" / "work.py").write_text(code)
    done = shell("train")
    assert (done.returncode, done.stderr) == (75, "toy train: stopped; the same command starts again\n")


def test_keys_and_help(call):
    keys = call("train", "--keys")
    assert keys.returncode == 0
    assert "training.global_batch_size" in keys.stdout
    for words in ([], ["--help"], ["help"], ["train", "-h"]):
        assert "usage: toy" in call(*words).stdout


def test_a_reading_verb_needs_neither_the_run_s_processes_nor_a_whole_recipe(call, toy):
    recipe = (toy.folder / "toy/recipes/small.yaml").read_text()
    run = toy.folder / "runs/toy/part"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(recipe.replace("name: small", "name: part") + "parallel: {tensor_parallel: 2}\n")
    (toy.folder / "toy/recipes/part.yaml").write_text("name: part\n")  # leaves the rest to its user
    assert call("look", "--config", "part").stdout.split()[1:3] == ["4", "runs/toy/part"]
    assert call("train", "--config", "part").returncode == 2
