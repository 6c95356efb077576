"""ZeRO stages do not change losses."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import two_processes

from qwen_chat.parity import _policy_weights

from . import zero_stages
from .small import make_trainer


@pytest.mark.slow  # DeepSpeed compiles its communication first
@pytest.mark.skipif(shutil.which("g++") is None, reason="DeepSpeed on CPUs needs a C++ compiler")
def test_zero_stages_give_the_same_losses_and_checkpoints_that_are_read_as_data(tmp_path):
    two_processes.run(Path(zero_stages.__file__), str(tmp_path), layouts=1, timeout_s=400)
    weights = [_policy_weights(tmp_path / f"zero{stage}") for stage in zero_stages.STAGES]
    for divided in weights[1:]:
        assert {name: tensor.shape for name, tensor in divided.items()} == {n: t.shape for n, t in weights[0].items()}
        assert all(torch.allclose(tensor, weights[0][name], atol=1e-4) for name, tensor in divided.items())
    found = json.loads((tmp_path / "losses.json").read_text())
    alone = zero_stages.losses(make_trainer(**zero_stages.settings()), steps=1)[0]
    for name in zero_stages.WATCHED:
        for stage in zero_stages.STAGES:
            for step in range(3):
                assert found[str(stage)][step][name] == pytest.approx(found["0"][step][name], abs=1e-4), (stage, step)
        if name in ("ppo/kl", "ppo/reward", "ppo/entropy"):  # minibatches are another matter: each rank deals its own
            assert found["0"][0][name] == pytest.approx(alone[name], abs=1e-4)
