"""Every command answers at once, and a mistake costs no import of torch."""

import importlib
import json
import os
import resource
import subprocess
import sys

import pytest

HELP_S, MISTAKE_S = 1.0, 2.0
SLACK = 3.0  # for a busy machine
HEAVY = ("torch", "megatron", "transformers", "datasets", "wandb", "tokenizers", "pyarrow")

BAD = {
    "misspelt key": (["optimizer.learning_rate=3"], ["optimizer.learning_rate", "=3", "'optimizer.lr'"]),
    "wrong type": (["training.steps=many"], ["training.steps=many", "number"]),
    "impossible heads": (["model.num_attention_heads=7"], ["num_attention_heads=7", "hidden_size="]),
    "impossible layout": (
        ["--nproc", "3", "training.global_batch_size=8", "training.micro_batch_size=1"],
        ["global_batch_size=8", "1 × 3"],
    ),
    "missing path": (["data.sources=nowhere.jsonl"], ["nowhere.jsonl", "no such file"]),
    "missing tokenizer": (["tokenizer=nowhere.tiktoken"], ["nowhere.tiktoken", "no such file"]),
    "missing recipe": (["--config", "tinny"], ["tinny", "'tiny'"]),
    "flag": (["--ngpus", "2"], ["--ngpus"]),
}


@pytest.fixture(scope="module")
def commands(members):
    """(command, package) of every package's console script. `qwen-family` runs these, and has tests of its own."""
    scripts = {}
    for member in members:
        scripts |= {name: target.partition(".")[0] for name, target in member.project.get("scripts", {}).items()}
    del scripts["qwen-family"]
    return scripts


@pytest.fixture(scope="module")
def invocations(commands):
    """Every command alone, and with each of its verbs."""
    words = []
    for command, package in commands.items():
        words.append((package, command, []))
        words += [(package, command, [verb.name]) for verb in importlib.import_module(f"{package}.cli").VERBS]
    return words


def call(package, command, words, cwd):
    """Runs a command as its console script does; also reports what it imported."""
    code = (
        "import atexit, json, sys\n"
        f"sys.argv = {[command, *words]!r}\n"
        f"loaded = lambda: [name for name in {HEAVY!r} if name in sys.modules]\n"
        "atexit.register(lambda: open('modules.json', 'w').write(json.dumps(loaded())))\n"
        f"from {package}.__main__ import main\n"
        "sys.exit(main())\n"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, seconds, json.loads((cwd / "modules.json").read_text())


def test_help_is_immediate(invocations, tmp_path):
    for package, command, words in invocations:
        done, seconds, heavy = call(package, command, [*words, "--help"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"usage: {' '.join([command, *words])}")
        assert heavy == []
        assert seconds < HELP_S * SLACK


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recipe_is_one_line_before_torch(name, tmp_path):
    words, said = BAD[name]
    done, seconds, heavy = call("qwen_base", "qwen-base", ["pretrain", *words], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    for word in ["qwen-base pretrain: error: ", *said]:
        assert word in done.stderr
    assert heavy == []
    assert seconds < MISTAKE_S * SLACK
    assert [path.name for path in tmp_path.iterdir()] == ["modules.json"]


def test_every_verb_has_its_module(commands):
    """A verb that is announced is there."""
    from importlib.util import find_spec

    for package in commands.values():
        for verb in importlib.import_module(f"{package}.cli").VERBS:
            targets = (verb.target, *(getattr(verb, name, None) for name in ("plan", "show_batch")))
            for target in filter(None, targets):
                assert find_spec(target.partition(":")[0]), f"{verb.name}: {target}"


def test_every_recipe_is_valid(members):
    from qwen_shared.cli import Verb
    from qwen_shared.recipe import load_recipe

    for member in members:
        if member.package.name == "qwen_shared":  # families: tests/shared/family
            continue
        for path in sorted(member.folder.glob("recipes/**/*.yaml")):
            cli = importlib.import_module(f"{member.package.name}.cli")
            folder = path.parent.relative_to(member.folder / "recipes").name
            verbs = [verb for verb in cli.VERBS if isinstance(verb, Verb) and verb.recipes == folder]
            (schema,) = {verb.schema for verb in verbs}
            # The large ones leave the corpus to their user, and all but the base's the model to their start.
            missing = [] if "sources:" in path.read_text(encoding="utf-8") else ["data.sources=stdlib"]
            if "stage: both" in path.read_text(encoding="utf-8"):
                missing.append("data.pmp_sources=stdlib")
            if any(verb.default_parent for verb in verbs):
                missing.append("model={num_layers: 2, hidden_size: 64, num_attention_heads: 8, ffn_hidden_size: 64}")
            recipe = load_recipe(schema, str(path), missing, path.parent)
            assert recipe.name == path.stem


@pytest.mark.parametrize("module", ["pydantic", "qwen_shared.recipe"])
def test_an_interrupt_during_the_imports_is_one_line(module, members, tmp_path):
    """As if Ctrl-C came when this is imported: before any verb hears signals."""
    scripts = {name: target for m in members for name, target in m.project.get("scripts", {}).items()}
    for command, target in scripts.items():
        code = (
            "import builtins, sys\n"
            f"sys.argv = {[command, 'publish', 'nowhere']!r}\n"
            "imported = builtins.__import__\n"
            "def interrupted(name, *more, **named):\n"
            f"    if name == {module!r}:\n"
            "        raise KeyboardInterrupt\n"
            "    return imported(name, *more, **named)\n"
            "builtins.__import__ = interrupted\n"
            f"from {target.partition(':')[0]} import main\n"
            "sys.exit(main())\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        said = f"{command}: stopped; the same command starts again\n"
        assert (done.returncode, done.stdout, done.stderr) == (75, "", said)
