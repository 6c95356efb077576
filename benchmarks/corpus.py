"""A tree of mixed files through `code-qwen`'s filters into token files: how fast, with how much memory, and again.

    uv run benchmarks/corpus.py /tmp/corpus-benchmark
    uv run benchmarks/corpus.py /tmp/corpus-benchmark --megabytes 100

The tree is made in the folder once: repositories of source files (the standard library's with their names changed, so
that no two resemble each other), exact and near copies, minified scripts, binaries, data, folders that git ignores or
that others wrote. Then it is prepared twice: into an empty cache, and from it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from report import cpu_name, machine, save

from code_qwen.corpus import corpus
from code_qwen.recipe import CodeData
from qwen_shared.data import prepare
from qwen_shared.errors import UserError
from qwen_shared.tracking import data_progress

_WORD = re.compile(r"[a-z_]{4,}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the tree and the cache are made")
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the tree (default: 1000)")
    parser.add_argument("--out", type=Path, help="the JSON file (default: results/DATE-MACHINE-corpus.json)")
    args = parser.parse_args(argv)
    tree, cache = args.folder / f"tree-{args.megabytes}", args.folder / "cache"
    if not (tree / "whole").exists():
        shutil.rmtree(tree, ignore_errors=True)
        make_tree(tree, args.megabytes * 1_000_000)
        (tree / "whole").touch()
    shutil.rmtree(cache, ignore_errors=True)
    files = [path.lstat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    figures: dict[str, Any] = {"machine": machine(), "files": len(files), "bytes": sum(files)}
    data = CodeData(sources=[{"path": str(tree)}], seq_length=8192)
    try:
        for name in ("first", "again"):
            with Memory() as memory, data_progress() as progress:
                began, used = time.perf_counter(), cpu_seconds()
                (prepared,) = prepare(data, "default", cache, progress, readers=corpus(data))
                figures[name] = {"seconds": time.perf_counter() - began, "cpu_seconds": cpu_seconds() - used}
            figures[name]["peak_memory_bytes"] = memory.peak
            found = figures[name]
            print(f"{name}: {found['seconds']:.1f} s, {found['cpu_seconds']:.1f} s of CPU, {memory.peak / 1e6:,.0f} MB")
    except UserError as error:
        print(f"corpus: error: {error}", file=sys.stderr)
        return 2
    figures["first"]["megabytes_per_second"] = figures["bytes"] / 1e6 / figures["first"]["seconds"]
    figures["kept"] = {part: prepared.meta[part] for part in ("train", "validation")}
    print(
        f"{figures['bytes'] / 1e6:,.0f} MB in {len(files):,} files: {figures['first']['megabytes_per_second']:.1f} MB/s"
    )
    print(f"{prepared.meta['train']['bytes'] / 1e6:,.0f} MB kept; {Path(prepared.directory, 'corpus.json')} says why")
    print(save(figures, "corpus", cpu_name(), args.out))
    return 0


def cpu_seconds() -> float:
    """Of this process and of its children that have ended: what a machine with other work to do cannot spoil."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Memory:
    """The most that this process and its children hold at once, shared pages counted once; looked at ten times a
    second."""

    def __enter__(self) -> Memory:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._ended.wait(0.1):
            held = 0
            for process in [own, *own.children(recursive=True)]:
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, held)


def make_tree(tree: Path, size: int) -> None:
    """About `size` bytes: half of it source files, the rest what a corpus does not want."""
    draw = random.Random(0)
    library = Path(sysconfig.get_path("stdlib"))
    sources = [path.read_text("utf-8", "replace") for path in sorted(library.glob("*.py"))]
    sources = [text for text in sources if 1_000 < len(text) < 200_000]
    written = number = 0
    while written < size:
        repository = tree / f"r{number:04}"
        (repository / ".git").mkdir(parents=True)
        (repository / ".gitignore").write_text("build/\n*.log\n")
        (repository / "LICENSE").write_text(
            "GNU GENERAL PUBLIC LICENSE\nVersion 3" if number % 10 == 9 else "Apache License\nVersion 2.0, January 2004"
        )
        code = [renamed(text, number) for text in draw.sample(sources, min(40, len(sources)))]
        own = sum(len(text) for text in code)
        for i, text in enumerate(code):
            written += put(repository / f"pkg{i % 5}" / f"module_{i}.py", text)
        for i, text in enumerate(code[:4]):
            written += put(repository / "copies" / f"same_{i}.py", text)
            written += put(
                repository / "copies" / f"near_{i}.py", f"# Changed a little: {number}.\n{text}\nEND = {i}\n"
            )
        script = ";".join(f"function f{i}(a,b){{return a*{i}+b}}" for i in range(own // 10 // 32))
        written += put(repository / "web" / "app.js", script)
        written += put(repository / "web" / "lib.min.js", script)
        written += put(repository / "data" / "table.csv", "1,2,3,4,5,6,7,8,9\n" * (own // 10 // 18))
        written += put(repository / "build" / "out.py", "\n".join(code[4:8]))
        written += put(repository / "node_modules" / "dep" / "index.js", "\n".join(code[8:12]))
        written += put(repository / "module.c", draw.randbytes(own // 5))
        written += put(
            repository / "gen_pb2.py", "# Generated by the protocol buffer compiler.  DO NOT EDIT!\n" + code[0]
        )
        (repository / "link.py").symlink_to(repository / "module_0.py")
        number += 1


def renamed(text: str, number: int) -> str:
    """Every other word of a text, another one in each repository."""

    def other(match: re.Match[str]) -> str:
        digest = hashlib.blake2b(f"{number} {match[0]}".encode(), digest_size=4).digest()
        return match[0] if digest[0] % 2 else f"{match[0][:3]}_{digest.hex()[:4]}"

    return _WORD.sub(other, text)


def put(path: Path, content: str | bytes) -> int:
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return len(data)


if __name__ == "__main__":
    sys.exit(main())
