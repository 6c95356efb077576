"""TensorBoard's files hold every step once, after restarts too."""

import struct

from tensorboardX.proto.event_pb2 import Event

from qwen_shared.recipe.schema import Tracking
from qwen_shared.run import Manifest
from qwen_shared.tracking import Tracker


def read(run_dir):
    """(name, step, value) of every scalar, (name, step, text) of every text."""
    scalars, texts = [], []
    for path in sorted((run_dir / "tensorboard").iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += length + 16
            for value in event.summary.value:
                if value.HasField("tensor"):
                    texts.append((value.tag, event.step, value.tensor.string_val[0].decode()))
                else:
                    scalars.append((value.tag, event.step, value.simple_value))
    return scalars, texts


def track(run_dir, resume, last, **settings):
    manifest = Manifest.create("qwen-base pretrain", "base-pretrain", "small")
    tracker = Tracker(run_dir, {}, Tracking(wandb="disabled", **settings), manifest, 8, 64, 4, resume)
    for step in range(resume + 1, last + 1):
        if step % 2 == 0:
            tracker.sample_table(step, [{"prompt": "The", "text": f"<b>{step}</b>"}])
        tracker.log(
            step, {"train/loss": 10.0 - step, "data/samples": "abc"} | ({"val/loss": float("nan")} if step == 1 else {})
        )
    tracker.finish("stopped")


def test_every_step_once(tmp_path):
    track(tmp_path, 0, 3)  # TensorBoard was not asked for yet
    assert not (tmp_path / "tensorboard").exists()
    track(tmp_path, 2, 7, tensorboard=True)
    track(tmp_path, 4, 8, tensorboard=True)
    scalars, texts = read(tmp_path)
    assert [(s, v) for name, s, v in scalars if name == "train/loss"] == [(s, 10.0 - s) for s in range(1, 9)]
    assert {name for name, _, _ in scalars} == {"train/loss", "tokens", "samples"}
    assert [(s, text.split()[-1]) for name, s, text in texts] == [(s, f"<b>{s}</b>") for s in (2, 4, 6, 8)]
