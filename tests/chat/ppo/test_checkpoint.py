"""A run resumes only from a checkpoint that is whole and unchanged."""

import shutil
import subprocess
from types import SimpleNamespace

import pytest
import torch

from qwen_chat.ppo import checkpoint
from qwen_chat.ppo.engine import TorchEngine
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Checkpoint
from qwen_shared.run.integrity import newest_whole_checkpoint
from qwen_shared.run.paths import checkpoint_path, list_checkpoints

SETTINGS = Checkpoint(interval=1, keep_last=2)


def run(checkpoints, world_size=1):
    return SimpleNamespace(
        checkpoints=checkpoints, rank=0, world_size=world_size, recipe=SimpleNamespace(checkpoint=SETTINGS)
    )


class Count:
    value = 0

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


def make(size=8):
    torch.manual_seed(0)
    module = torch.nn.Linear(size, size)
    return TorchEngine(module, torch.optim.AdamW(module.parameters()), 1.0, "fp32", "policy")


def take_a_step(engine):
    engine.backward(engine(torch.ones(8)).square().sum(), last=True)
    engine.step([1e-2])


@pytest.mark.parametrize("file", ["policy.pt", "state.json"])
@pytest.mark.parametrize("harm", ["a bit", "the end"])
def test_a_damaged_checkpoint_is_skipped(file, harm, tmp_path, capsys):
    engine, count, weights = make(), Count(), {}
    for step in (1, 2, 3):
        take_a_step(engine)
        count.value = step
        weights[step] = engine.module.weight.detach().clone()
        checkpoint.save(run(tmp_path), step, [engine], {"count": count})
    assert list_checkpoints(tmp_path) == [2, 3] and newest_whole_checkpoint(tmp_path) == 3
    path = checkpoint_path(tmp_path, 3) / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if harm == "a bit" else content[:-1])
    assert newest_whole_checkpoint(tmp_path) == 2
    assert f"step-00000003 is damaged ({file}: hash mismatch): going back to step 2" in capsys.readouterr().out
    other = make()
    checkpoint.load(tmp_path, 2, [other], {"count": count}, 1)
    assert torch.equal(other.module.weight, weights[2]) and count.value == 2


def test_a_full_disk_is_said_in_a_line(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        engine, checkpoints = make(300), disk / "checkpoints"
        checkpoint.save(run(checkpoints), 1, [engine], {})
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 200_000))
        with pytest.raises(UserError, match=r"step 2 cannot be saved: No space left on device: 0\.\d MB are needed"):
            checkpoint.save(run(checkpoints), 2, [engine], {})
        (checkpoints / "step-00000001").rename(disk / "aside")  # now nothing is known of its size
        with pytest.raises(UserError, match="step 2 cannot be saved: No space left on device; mend that"):
            checkpoint.save(run(checkpoints), 2, [engine], {})
        assert not list(checkpoints.iterdir())
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_files_of_one_for_each_process_need_as_many(tmp_path):
    engine = make_sharded()
    checkpoint.save(run(tmp_path, world_size=2), 1, [engine], {})
    with pytest.raises(UserError, match=r"was written by 2 processes, .* start with --nproc 2"):
        checkpoint.load(tmp_path, 1, [make_sharded()], {}, 1)
    checkpoint.load(tmp_path, 1, [make()], {}, 1)  # torch's are whole


def make_sharded():
    engine = make()
    engine.sharded = True
    return engine
