"""However two processes divide the work, each step gives what it gives in one process; so does a checkpoint moved."""

import json
from pathlib import Path

import pytest
import two_processes

PROGRAM = Path(__file__).with_name("layouts.py")
layouts = two_processes.load(PROGRAM)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes found, layout after layout, and a checkpoint that they saved."""
    folder = tmp_path_factory.mktemp("layouts")
    two_processes.run(PROGRAM, str(folder), layouts=len(layouts.LAYOUTS))
    return folder


@pytest.fixture(scope="module")
def alone(megatron, folder):
    """The same in this one process; it, too, goes on from the checkpoint of two."""
    return layouts.results(megatron, {}, folder)


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_layout_changes_nothing(layout, folder, alone):
    told = json.loads((folder / f"{layout}.json").read_text())
    for documents in told.keys() - {"resumed"}:
        expected, got = alone[documents], told[documents]
        assert got["losses"] == pytest.approx(expected["losses"], rel=1e-5)
        assert got["grad_norms"] == pytest.approx(expected["grad_norms"], rel=1e-4)
        assert got["validation"] == pytest.approx(expected["validation"], rel=1e-5)
        assert got["logits"] == pytest.approx(expected["logits"], abs=1e-3)
    assert "isolated" in told or "context" in layout


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_checkpoint_goes_on_in_another_layout(layout, folder, alone):
    """Saved by two tensor ranks, each with its half of the sequence and its part of the optimizer's state."""
    told = json.loads((folder / f"{layout}.json").read_text())
    assert told["resumed"] == pytest.approx(alone["together"]["losses"][2], rel=1e-5)


def test_a_checkpoint_goes_on_in_one_process(alone):
    assert alone["resumed"] == pytest.approx(alone["together"]["losses"][2], rel=1e-5)


def test_isolation_is_another_loss(alone):
    assert abs(alone["together"]["losses"][0] - alone["isolated"]["losses"][0]) > 1e-4
