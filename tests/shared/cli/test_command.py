"""What a user types, and what comes back."""

import importlib
import json
import shutil
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
        (["train", "--nproc", "²"], ["--nproc", "'²'"]),
        (["train", "name=" + "n" * 300], ["nnn...: a name of 300 bytes", "255"]),
        (["train", "--run-dir", "a/" + "n" * 300], ["nnn...: a name of 300 bytes", "255"]),
        (["look", "n" * 300], ["nnn", "File name too long"]),
        (["train", "--run-dir", "caf\udce9"], [r"b'caf\xe9': not UTF-8"]),
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
    hosts = ("--launcher", "torchrun", "--nodes", "2", "--nproc", "2", "--rdzv-endpoint", "a:1")
    assert call("train", "--plan", *hosts).stdout == "plan for 4 on 2 hosts in runs/toy/small\n"
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
    from qwen_shared.run import open_run

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


def test_a_signal_that_an_import_swallows(shell, toy):
    """As Python does with an exception in a weak reference's callback, of which imports have many."""
    swallowed = "try:\n    os.kill(os.getpid(), signal.SIGTERM)\nexcept KeyboardInterrupt:\n    pass\n"
    (toy.folder / "toy" / "work.py").write_text(
        f"import os, signal\n{swallowed}\ndef train(invocation):\n    print(1)\n"
    )
    done = shell("train")
    assert (done.returncode, done.stdout) == (75, "")


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


# ---- verbs that begin from a run, and tools

TUNING = """
import sys
from pathlib import Path
from qwen_shared.cli import Tool, Verb, run
from qwen_shared.recipe import SftRecipe

def options(parser):
    parser.add_argument("words", nargs="*")
    parser.add_argument("--code", type=int, default=0)

VERBS = [
    Verb("tune", "tune it", "toy.work:tune", "toy-sft", schema=SftRecipe, takes_parent=True,
         default_parent=("toy", "toy train"), plan="toy.work:plan", show_batch="toy.work:show"),
    Verb("look", "look at it", "toy.work:look", "toy-sft", schema=SftRecipe, reads_run=True, maker="tune"),
    Tool("check", "check words", "toy.work:check", options),
]
"""
TUNING_WORK = """
def tune(invocation):
    parent = invocation.parent
    print("tune", invocation.run_dir, "from", parent.name, parent.step, invocation.recipe.model.hidden_size)

def plan(invocation):
    return f"plan from {invocation.parent}"

def show(invocation, count):
    print("show", count, invocation.parent, invocation.recipe.data.seq_length)

def look(invocation):
    print("look", invocation.run_dir, invocation.from_model, invocation.recipe.name)

def check(args):
    print("check", args.words)
    return args.code
"""


@pytest.fixture
def tuning(toy):
    """The toy's command, but its verb begins from a run. tuning(run, status) makes one with a checkpoint of step 2."""
    from qwen_shared.recipe import PretrainRecipe, load_recipe
    from qwen_shared.run import open_run

    (toy.folder / "toy/__main__.py").write_text(TUNING)
    (toy.folder / "toy/work.py").write_text(TUNING_WORK)
    (toy.folder / "a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    pretrain = load_recipe(PretrainRecipe, "small", [], toy.folder / "toy/recipes")
    text = (toy.folder / "toy/recipes/small.yaml").read_text()
    tune = "\n".join(line for line in text.splitlines() if not line.startswith("model")).replace("stdlib", "a.jsonl")
    for name in ("small", "1.8b"):
        (toy.folder / f"toy/recipes/{name}.yaml").write_text(tune.replace("small", name))

    def make(run: str, status: str) -> None:
        _, manifest = open_run(toy.folder / run, pretrain, "toy train", "toy")
        (toy.folder / run / "checkpoints/step-00000002").mkdir(parents=True)
        manifest.status = status
        manifest.write(toy.folder / run)

    return make


def test_a_verb_with_a_parent_begins_from_the_run_of_the_same_recipe(call, toy, tuning):
    for name in ("small", "1.8b"):
        tuning(f"runs/toy/{name}", "finished")
    small, big = (f"{toy.folder}/runs/toy/{name} 2 16\n" for name in ("small", "1.8b"))
    assert call("tune").stdout == f"tune runs/toy-sft/small from {small}"
    assert call("tune", "--config", "1.8b").stdout == f"tune runs/toy-sft/1.8b from {big}"
    assert call("tune", "--config", "toy/recipes/1.8b.yaml").stdout == f"tune runs/toy-sft/1.8b from {big}"
    assert call("tune", "name=mine").stdout == f"tune runs/toy-sft/mine from {small}"
    assert call("tune", "--from", "runs/toy/1.8b").stdout == f"tune runs/toy-sft/small from {big}"
    assert call("tune", "--plan").stdout == f"plan from {toy.folder}/runs/toy/small@2\n"
    contradicts = call("tune", "model.hidden_size=32")
    assert contradicts.returncode == 2 and "model.hidden_size=32 contradicts --from" in contradicts.stderr


def test_without_its_parent_a_verb_names_the_command_that_makes_it(call, toy, tuning):
    tuning("runs/toy/1.8b", "stopped")
    for config, said in (
        ("small", "runs/toy/small: no run there to start from; `toy train --config small` makes it, or --from names"),
        ("1.8b", "runs/toy/1.8b: the run to start from is stopped, not finished; `toy train --config 1.8b` makes it"),
    ):
        for words in ([], ["--plan"], ["--show-batch"]):
            done = call("tune", "--config", config, *words)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
            assert done.stderr.startswith(f"toy tune: error: {said}")
    assert not (toy.folder / "runs/toy-sft").exists()


def test_a_run_that_goes_on_needs_its_parent_no_more(call, toy, tuning):
    """Deleted, made anew and not finished: the run has what it needs."""
    from qwen_shared.job import parent as job_parent
    from qwen_shared.recipe import SftRecipe
    from qwen_shared.run import Parent, open_run
    from qwen_shared.tokenizer import load_tokenizer

    tuning("runs/toy/small", "finished")
    parent, run = toy.folder / "runs/toy/small", toy.folder / "runs/toy-sft/small"
    recipes = toy.folder / "toy/recipes"
    recipe = job_parent.recipe_from(job_parent.resolve_parent(str(parent)), SftRecipe, "small", [], recipes, run)
    _, manifest = open_run(run, recipe, "toy tune", "toy-sft")
    load_tokenizer("default").save_hf(run / "tokenizer")
    manifest.parent = Parent(run=str(parent), step=2, hash="x")
    manifest.write(run)
    (run / "checkpoints/step-00000002").mkdir(parents=True)
    expected = f"tune runs/toy-sft/small from {parent} 2 16\n"
    shutil.rmtree(parent)
    assert call("tune").stdout == call("tune", "--from", str(parent)).stdout == expected
    tuning("runs/toy/small", "running")
    assert call("tune").stdout == expected
    other = call("tune", "--from", "runs/toy/other")
    assert other.returncode == 2 and f"began from {parent}@2, not from runs/toy/other" in other.stderr
    manifest.status = "finished"
    manifest.write(run)
    shutil.rmtree(parent)
    assert "is finished" in call("tune").stdout
    # --check compares the recipes too; what decides nothing may differ.
    at = ["tune", "--run-dir", str(run), "--check"]
    assert call(*at).returncode == call(*at, "--from", str(parent), "checkpoint.interval=7").returncode == 0
    changed = call(*at, "optimizer.lr=0.5")
    assert changed.returncode == 2 and changed.stderr.count("\n") == 1
    assert "with another recipe (optimizer.lr: 0.0" in changed.stderr and "move it away" in changed.stderr


def test_show_batch_takes_a_number_or_none(call, toy, tuning):
    tuning("runs/toy/small", "finished")
    parent = f"{toy.folder}/runs/toy/small@2"
    assert call("tune", "--show-batch").stdout == f"show 4 {parent} 16\n"
    assert call("tune", "--show-batch", "2").stdout == f"show 2 {parent} 16\n"
    assert call("tune", "--show-batch", "2", "data.seq_length=8").stdout == f"show 2 {parent} 8\n"
    assert call("tune", "--show-batch", "data.seq_length=8").stdout == f"show 4 {parent} 8\n"
    for bad in ("0", "many"):
        done = call("tune", "--show-batch", bad)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and f"'{bad}'" in done.stderr
    assert not (toy.folder / "runs/toy-sft").exists()


def test_a_tool_gives_its_own_exit_code(call, toy, tuning):
    done = call("check", "a", "--code", "3", "b")
    assert (done.returncode, done.stdout, done.stderr) == (3, "check ['a', 'b']\n", "")
    assert call("check").returncode == 0
    assert not (toy.folder / "runs").exists()
    for words, said in ((["--code", "x"], "--code"), (["--cod", "3"], "--cod")):
        done = call("check", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and said in done.stderr
    usage = call("check", "--help")
    assert usage.returncode == 0 and "--code" in usage.stdout
    assert "check words" in call("--help").stdout and "nearest: check" in call("chek").stderr


def test_a_bare_word_names_the_model_to_look_at(call, toy, tuning):
    tuning("runs/base", "finished")
    assert (
        call("look", "runs/base").stdout
        == call("look", "--from", "runs/base").stdout
        == ("look runs/base runs/base small\n")
    )
    assert call("look", "runs/base@2", "name=x").stdout == "look runs/base runs/base@2 x\n"
    assert call("look", "org/model").stdout == "look runs/toy-sft/small org/model small\n"
    for words in (["a", "b"], ["a", "--from", "b"]):
        done = call("look", *words)
        assert done.returncode == 2 and ": one model at a time" in done.stderr and done.stderr.count("\n") == 1
    done = call("look", "--run-dir", "runs/base")  # not a run of this verb's kind
    assert done.returncode == 2 and "runs/base is a run of another kind, toy: --from runs/base" in done.stderr
    done = call("tune", "runs/base")  # here a word is not a model
    assert done.returncode == 2 and "neither a flag nor key=value" in done.stderr


def test_a_plan_as_json(call, toy):
    assert json.loads(call("train", "--plan", "--json").stdout) == {"plan": ["plan for 1 in runs/toy/small"]}
    for words in (["--json"], ["--gpu", "H100"], ["--price", "2"]):
        done = call("train", *words)
        assert done.returncode == 2 and f"{words[0]} goes with --plan" in done.stderr
    assert not (toy.folder / "runs").exists()
