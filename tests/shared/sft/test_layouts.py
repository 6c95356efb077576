"""However two processes divide packed conversations, each step gives what it gives in one process."""

import json
from pathlib import Path

import pytest
import two_processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).with_name("layouts.py")
layouts = two_processes.load(PROGRAM)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes found, layout after layout."""
    folder = tmp_path_factory.mktemp("layouts")
    layouts.write_conversations(folder)
    two_processes.run(PROGRAM, str(folder), layouts=len(layouts.LAYOUTS))
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
