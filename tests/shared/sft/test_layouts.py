"""However two processes divide packed conversations, each step gives what it gives in one process."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).with_name("layouts.py")
_spec = importlib.util.spec_from_file_location("sft_layouts", PROGRAM)
layouts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(layouts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes found, layout after layout."""
    folder = tmp_path_factory.mktemp("layouts")
    layouts.write_conversations(folder)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in layouts.LAYOUTS]
    ports = [str(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), *ports],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said[0][-3000:] + said[1][-3000:]
    return folder


@pytest.fixture(scope="module")
def alone(megatron, folder):
    """The same in this one process."""
    return layouts.results(megatron, {}, folder)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_layout_changes_nothing(layout, rank, folder, alone):
    told = json.loads((folder / f"{layout}-{rank}.json").read_text())
    assert told["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert told["tokens"] == alone["tokens"]
    assert told["grad_norms"] == pytest.approx(alone["grad_norms"], rel=1e-4)
    for held_out in ("held_out", "some_held_out"):
        loss, perplexity = alone[held_out]
        assert told[held_out] == [pytest.approx(loss, rel=1e-5), pytest.approx(perplexity, rel=1e-4)]
    assert told["digests"] == alone["digests"]
