"""What several rooms' tests need: a small corpus, a small recipe, Megatron in this process, the real command."""

import functools
import inspect
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import forked
import pytest

WORDS = ("the", "model", "reads", "a", "line", "of", "text", "and", "writes", "next", "word", "for", "every", "token")

# Small enough that a run of 20 steps takes seconds; divisible every way the layout tests divide it.
MICRO = """
name: micro
model: {num_layers: 2, hidden_size: 64, num_attention_heads: 4, ffn_hidden_size: 128}
data: {sources: [], seq_length: 64, validation_fraction: 0.1}
training: {steps: 20, global_batch_size: 8, micro_batch_size: 2, precision: fp32}
optimizer: {lr: 3.0e-3}
schedule: {warmup_steps: 3}
checkpoint: {interval: 5}
evaluation: {interval: 10, prompts: [the model], sample_tokens: 4}
tracking: {wandb: disabled}
"""


# ---- the quick tier: what neither is marked nor starts a process

STARTS = {"subprocess", "forked", "two_processes", "multiprocessing", "fork", "start_processes", "Popen"}


def pytest_collection_modifyitems(items):
    for item in items:
        fixtures = [each.func for found in item._fixtureinfo.name2fixturedefs.values() for each in found]
        marked = item.get_closest_marker("slow") or item.get_closest_marker("heavy")
        if not marked and not any(_starts(function) for function in [item.function, *fixtures]):
            item.add_marker("quick")


@functools.cache
def _starts(test_code) -> bool:
    """Whether a function or class of these tests, or one that it names, starts a process."""
    if inspect.isclass(test_code):
        return any(_starts(each) for each in vars(test_code).values() if inspect.isfunction(each))
    test_code = inspect.unwrap(test_code)
    names, codes = set(), [test_code.__code__]
    for code in codes:
        names |= {*code.co_names, *code.co_freevars}
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
    named = [test_code.__globals__[name] for name in names & test_code.__globals__.keys()]
    if names & STARTS or any(_module(each).startswith("code_qwen.sandbox") for each in named):
        return True
    ours = [each for each in named if inspect.isfunction(each) or inspect.isclass(each)]
    return any(_starts(each) for each in ours if each is not test_code and _is_test_code(each))


def _module(value) -> str:
    return value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None) or ""


def _is_test_code(value) -> bool:
    file = getattr(sys.modules.get(_module(value)), "__file__", None)
    return file is not None and Path(file).is_relative_to(Path(__file__).parent)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """200 documents of a few sentences, as JSONL."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "documents.jsonl"
    with path.open("w") as file:
        for i in range(200):
            text = f"Document {i}. " + ". ".join(" ".join(draw.choices(WORDS, k=9)) for _ in range(draw.randint(1, 12)))
            file.write(json.dumps({"text": text}) + "\n")
    return path


@pytest.fixture(scope="session")
def micro(tmp_path_factory, corpus) -> Path:
    """A recipe file on that corpus."""
    path = tmp_path_factory.mktemp("recipe") / "micro.yaml"
    path.write_text(MICRO.replace("sources: []", f"sources: ['{corpus}']"))
    return path


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """What the command sees: a cache of its own, no W&B key, one thread so that two processes do not starve."""
    cache = tmp_path_factory.mktemp("cache")
    return {k: v for k, v in os.environ.items() if k != "WANDB_API_KEY"} | {
        "QWEN_CACHE": str(cache),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session")
def qwen_base(environment, micro):
    """Runs `qwen-base VERB --config micro …` and returns the finished process; `start` gives it running."""

    def command(verb: str, *words: str) -> list[str]:
        return [sys.executable, "-m", "qwen_base", verb, "--config", str(micro), *map(str, words)]

    def run(verb: str, *words: str, check: int | None = 0) -> subprocess.CompletedProcess:
        done = forked.run(command(verb, *words), env=environment, capture_output=True, text=True, timeout=240)
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def start(verb: str, *words: str) -> subprocess.Popen:
        return forked.Popen(
            command(verb, *words),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    run.start = start
    return run


@pytest.fixture(scope="session")
def base_run(tmp_path_factory, qwen_base) -> Path:
    """A base model of two layers, with room for a question and its answer."""
    run_dir = tmp_path_factory.mktemp("base") / "micro"
    qwen_base("pretrain", "--run-dir", run_dir, "training.steps=2", "schedule.warmup_steps=1", "data.seq_length=256")
    return run_dir


@pytest.fixture(scope="session")
def verb_of():
    """verb_of("qwen-base pretrain") → what the command's package says of that verb."""
    import importlib
    from importlib.metadata import entry_points

    def find(command: str):
        program, name = command.split()
        (script,) = entry_points(group="console_scripts", name=program)
        verbs = importlib.import_module(script.module.replace("__main__", "cli")).VERBS
        return next(verb for verb in verbs if verb.name == name)

    return find


@pytest.fixture(scope="session")
def results_are_declared(verb_of):
    """Asserts of a finished run that its verb knows beforehand what its results are called, and docs/runs.md explains
    them and its metrics."""
    from fnmatch import fnmatchcase

    from glossary import unexplained

    from qwen_shared.run import read_metrics
    from qwen_shared.run.manifest import Manifest, read_recipe

    def check(run_dir: Path) -> None:
        manifest = Manifest.read(run_dir)
        verb = verb_of(manifest.command)
        known = verb.results(read_recipe(run_dir, verb.schema))
        assert [name for name in manifest.results if not any(fnmatchcase(name, one) for one in known)] == []
        logged = {name for record in read_metrics(run_dir / "metrics.jsonl") for name in record}
        assert unexplained(logged | manifest.results.keys()) == []
        # What recalls, what is divided by a spread and what was before are not in every run.
        rare = ("nearest/", "gain_sd/") if manifest.parent else ("nearest/", "gain_sd/", "before/")
        assert {name for name in known if "*" not in name and not name.startswith(rare)} <= manifest.results.keys()

    return check


@pytest.fixture(scope="session")
def megatron():
    """Megatron's groups for this one process."""
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.backend import seed_everything, start_processes, stop_processes
        from qwen_shared.training import pretrain  # noqa: F401 (so that all of Megatron is imported without the compiler)
    processes = start_processes()
    seed_everything(0)
    yield processes
    stop_processes()
