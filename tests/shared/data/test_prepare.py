"""Token files are the same whoever makes them, found again while nothing changed, and whole or absent."""

import dataclasses
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from qwen_shared.data import PreparedSource, TokenFile, prepare, training_blend
from qwen_shared.data.cache import build_once
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Data
from qwen_shared.tokenizer import load_tokenizer


def write_corpus(path: Path, documents: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    words = ["alpha", "beta", "gamma", "Δελτα", "你好", "🙂", "epsilon", "zeta"]
    texts = [" ".join(rng.choices(words, k=rng.randrange(1, 400))) for _ in range(documents)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return texts


def data(*paths, **settings):
    return Data(sources=[str(p) for p in paths], seq_length=settings.pop("seq_length", 64), **settings)


def contents(directory):
    return {p.name: p.read_bytes() for p in sorted(Path(directory).iterdir())}


def test_token_files_hold_the_texts_each_with_its_end(tmp_path):
    texts = write_corpus(tmp_path / "a.jsonl", 200)
    (source,) = prepare(data(tmp_path / "a.jsonl", validation_fraction=0.1), "default", tmp_path / "cache")
    tokenizer = load_tokenizer("default")
    found, sides = [], []
    for part in ("train", "validation"):
        file = TokenFile(getattr(source, part))
        for i in range(len(file)):
            assert file[i][-1] == tokenizer.eod_id and tokenizer.eod_id not in file[i][:-1]
            found.append(tokenizer.decode(file[i].tolist()))
        meta = source.meta[part]
        assert (meta["documents"], meta["tokens"]) == (len(file), file.num_tokens)
        assert meta["bytes"] == sum(len(text.encode()) for text in found[-len(file) :])
        sides.append(len(file))
    assert sorted(found) == sorted(texts) and 5 < sides[1] < 45
    assert source.weight == source.meta["train"]["tokens"]
    assert PreparedSource(**json.loads(json.dumps(dataclasses.asdict(source)))) == source


def test_number_of_workers_does_not_matter(tmp_path):
    write_corpus(tmp_path / "a.jsonl", 2200)  # past the size from which workers are started
    assert (tmp_path / "a.jsonl").stat().st_size > 2_000_000
    one, two = (
        prepare(data(tmp_path / "a.jsonl"), "default", tmp_path / f"cache{n}", workers=n)[0].directory for n in (1, 2)
    )
    assert contents(one) == contents(two)
    assert Path(one).name == Path(two).name


def test_found_again_until_something_changes(tmp_path):
    path = tmp_path / "a.jsonl"
    write_corpus(path, 100)
    cache = tmp_path / "cache"
    calls = []
    progress = lambda *call: calls.append(call)
    first = prepare(data(path), "default", cache, progress)[0]
    assert calls[-1] == (path.stat().st_size, path.stat().st_size, str(path))
    calls.clear()
    # seq_length does not change token files; nor does the way the path is written.
    assert prepare(data(path, seq_length=32), "default", cache, progress)[0] == first
    assert prepare(data(f"{tmp_path}/./a.jsonl"), "default", cache, progress)[0].directory == first.directory
    assert not calls
    others = {first.directory}
    for settings in ({"validation_fraction": 0.2}, {"validation_max_bytes": 100}, {"documents": 50}):
        others.add(prepare(data(path, **settings), "default", cache)[0].directory)
    os.utime(path, (1, 1))
    others.add(prepare(data(path), "default", cache)[0].directory)
    assert len(others) == 5


@pytest.mark.parametrize("name", ["train.bin", "validation.idx", "meta.json"])
def test_damaged_cache_is_built_again(tmp_path, name):
    write_corpus(tmp_path / "a.jsonl", 100)
    source = prepare(data(tmp_path / "a.jsonl"), "default", tmp_path / "cache")[0]
    wanted = contents(source.directory)
    file = Path(source.directory, name)
    file.write_bytes(file.read_bytes()[:-3])
    prepare(data(tmp_path / "a.jsonl"), "default", tmp_path / "cache")
    assert contents(source.directory) == wanted


def test_errors_leave_nothing_behind(tmp_path):
    path = tmp_path / "a.jsonl"
    write_corpus(path, 100)
    with path.open("a") as file:
        file.write('{"txt": "x"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl line 101: no key 'text'"):
        prepare(data(path), "default", tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path):
    path = tmp_path / "a.jsonl"
    write_corpus(path, 100)
    with pytest.raises(UserError, match="changed while it was being read"):
        prepare(data(path), "default", tmp_path / "cache", lambda *_: os.utime(path, (1, 1)))


def test_too_little_text_is_told_with_its_tokens(tmp_path):
    (tmp_path / "a.txt").write_text("a few words only")
    n = len(load_tokenizer("default").encode("a few words only")) + 1
    with pytest.raises(UserError, match=rf"{n} training tokens in 1 documents .*seq_length \+ 1 = 65"):
        prepare(data(tmp_path / "a.txt"), "default", tmp_path / "cache")
    with pytest.raises(UserError, match="nothing is left to train on"):
        prepare(data(tmp_path / "a.txt", validation_fraction=1.0), "default", tmp_path / "cache")


def test_cache_that_cannot_be_written_is_told(tmp_path):
    write_corpus(tmp_path / "a.jsonl", 100)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="data cache"):
        prepare(data(tmp_path / "a.jsonl"), "default", tmp_path / "file" / "cache")


def test_sources_blend_by_tokens_or_by_weight(tmp_path):
    for i, documents in enumerate((300, 100)):
        write_corpus(tmp_path / f"{i}.jsonl", documents, seed=i)
    paths = [str(tmp_path / f"{i}.jsonl") for i in range(2)]
    sources = prepare(data(*paths), "default", tmp_path / "cache")
    assert [s.weight for s in sources] == [s.meta["train"]["tokens"] for s in sources]
    weighted = Data(sources=[{"path": p, "weight": w} for p, w in zip(paths, (1, 3), strict=True)], seq_length=64)
    sources = prepare(weighted, "default", tmp_path / "cache")
    assert [s.weight for s in sources] == [1.0, 3.0]
    located = [training_blend(sources, 64, seed=1).locate(k)[0] for k in range(1024)]
    assert located.count(1) == 768


KILLED = """
import os, sys, time
from pathlib import Path
from qwen_shared.data import prepare
from qwen_shared.recipe.schema import Data

def progress(done, total, name):
    if done > total / 2:
        print("in the middle", flush=True)
        time.sleep(600)

if __name__ == "__main__":
    prepare(Data(sources=sys.argv[1], seq_length=64), "default", Path(sys.argv[2]), progress, workers=2)
"""


@pytest.mark.slow
def test_killed_in_the_middle_leaves_nothing_that_looks_whole(tmp_path):
    path, cache = tmp_path / "a.jsonl", tmp_path / "cache"
    write_corpus(path, 6000)
    (tmp_path / "killed.py").write_text(KILLED)
    child = subprocess.Popen([sys.executable, tmp_path / "killed.py", path, cache], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "in the middle\n"
    family = psutil.Process(child.pid).children(recursive=True)
    workers = [p for p in family if "spawn_main" in " ".join(p.cmdline())]
    assert len(workers) == 2
    child.send_signal(signal.SIGKILL)
    child.wait()
    leftover = [p.name for p in cache.iterdir() if p.is_dir()]
    assert len(leftover) == 1 and leftover[0].startswith(".") and leftover[0].endswith(".tmp")
    assert not psutil.wait_procs(workers, timeout=20)[1]  # workers do not outlive who they worked for

    source = prepare(data(path), "default", cache, workers=1)[0]
    assert sorted(p.name for p in cache.iterdir()) == [".lock", Path(source.directory).name]
    assert contents(source.directory) == contents(prepare(data(path), "default", tmp_path / "clean")[0].directory)


def test_two_builders_of_one_directory_do_not_harm_each_other(tmp_path):
    directory, go = tmp_path / "key", threading.Event()
    readies = [threading.Event(), threading.Event()]

    def build_slowly(ready):
        def build(temporary):
            (temporary / "made").write_text("same")
            ready.set()
            go.wait(20)

        build_once(directory, build, lambda d: (d / "made").exists())

    builders = [threading.Thread(target=build_slowly, args=(ready,)) for ready in readies]
    for builder, ready in zip(builders, readies, strict=True):
        builder.start()
        assert ready.wait(20)
    # Both are at work, and the second has not taken the first one's directory for a leftover.
    assert len(list(tmp_path.glob(".key.*.tmp"))) == 2
    go.set()
    for builder in builders:
        builder.join(20)
    assert (directory / "made").read_text() == "same"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "key"]


def test_threads_of_one_process_may_prepare_the_same(tmp_path):
    write_corpus(tmp_path / "a.jsonl", 100)
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(prepare(data(tmp_path / "a.jsonl"), "default", tmp_path / "cache")[0])
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4 and all(source == found[0] for source in found)


def test_nothing_is_waited_for_after_an_error_in_the_middle(tmp_path):
    path = tmp_path / "a.jsonl"
    write_corpus(path, 4000)
    with path.open("a") as file:
        file.write("broken\n")
    before = set(multiprocessing.active_children())
    start = time.monotonic()
    with pytest.raises(UserError, match="line 4001: not valid JSON"):
        prepare(data(path), "default", tmp_path / "cache", workers=2)
    assert time.monotonic() - start < 60
    assert set(multiprocessing.active_children()) == before
