"""What tests share that run one program in two processes and in one: start it, go through layouts, read it here."""

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import forked

from qwen_shared.launch.local import reserved_port

_PORTS = "TEST_PORTS"  # one for each layout: a rank that is ahead must not find the store of the layout before


def load(program: Path) -> ModuleType:
    """The program as a module, for what it does in this one process."""
    spec = importlib.util.spec_from_file_location(f"{program.parent.name}_{program.stem}", program)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(program: Path, *words: str, layouts: int, timeout_s: float = 240.0) -> None:
    """Runs the program as ranks 0 and 1, and fails with what both said as soon as one has failed."""
    with contextlib.ExitStack() as held:
        ports = ",".join(str(held.enter_context(reserved_port())) for _ in range(layouts))
        common = {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", _PORTS: ports}
        common["PYTHONPATH"] = str(Path(__file__).parent)
        logs = [Path(words[0]) / f"{program.stem}-rank-{rank}.txt" for rank in range(2)]
        ranks = []
        for rank, log in enumerate(logs):
            environment = os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            output = held.enter_context(log.open("wb"))
            command = [sys.executable, str(program), *words]
            ranks.append(forked.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT))
            held.callback(ranks[-1].kill)
        deadline = time.monotonic() + timeout_s
        while any(rank.poll() is None for rank in ranks) and not any(rank.returncode for rank in ranks):
            assert time.monotonic() < deadline, _said(logs)
            time.sleep(0.1)
        assert [rank.returncode for rank in ranks] == [0, 0], _said(logs)


def _said(logs: list[Path]) -> str:
    return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-3000:]}" for log in logs)


def in_each(layouts: dict[str, dict]) -> Iterator[tuple[str, dict, object]]:
    """In the program: name, `parallel` keys and process groups of one layout after the other."""
    from qwen_shared.backend import seed_everything, start_processes, stop_processes

    for (name, parallel), port in zip(layouts.items(), os.environ[_PORTS].split(","), strict=True):
        os.environ["MASTER_PORT"] = port
        groups = {key: size for key, size in parallel.items() if key not in ("sequence_parallel", "recompute")}
        processes = start_processes(**groups)
        seed_everything(0)
        yield name, parallel, processes
        stop_processes()
