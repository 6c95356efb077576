"""A checkpoint holds the moment at which it was begun, however much is trained while it is written."""

import threading

import pytest


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_on_does_not_reach_into_what_is_being_written(make_engine, batches, tmp_path, precision):
    from qwen_shared.training.checkpoint import load_checkpoint
    from qwen_shared.training.saving import Saver

    engine = make_engine(precision=precision)
    for _ in range(2):
        engine.train_step(batches(8), 1e-2)
    saver = Saver(tmp_path, engine)
    hold = threading.Event()
    with pytest.MonkeyPatch.context() as patch:  # nothing is written before `hold` is set
        patch.setattr(threading.Thread, "run", lambda self: (hold.wait(60), self._target(*self._args)))
        saver.begin(2, {"step": 2, "world_size": 1})
        expected = [engine.train_step(batches(8), 1e-2).loss for _ in range(3)]
        assert saver.finish(wait=False) is None
        assert not (tmp_path / "step-00000002").exists()
        hold.set()
        assert saver.finish(wait=True) == 2
    assert saver.finish(wait=True) is None
    other = make_engine(precision=precision)
    assert load_checkpoint(tmp_path, 2, other)["step"] == 2
    assert [other.train_step(batches(8), 1e-2).loss for _ in range(3)] == expected
