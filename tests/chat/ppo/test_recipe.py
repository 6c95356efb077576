"""The report's numbers, and contradictions."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from qwen_chat.ppo.recipe import Advantages, Losses, Reward


def test_the_reports_numbers_are_the_defaults():
    assert Reward().kl_coefficient == 0.04
    assert Reward().normalise == "mean"
    assert Losses().value_clip == 0.15
    assert Advantages().gamma == 1.0


@pytest.mark.parametrize(
    "keys, word",
    [
        ({"kl_coefficient": 0.0, "kl_target": 6.0}, "kl_target=6"),
        ({"truncated_penalty": -9.0}, "is beyond clip"),
        ({"kl_estimator": "k4"}, "k1"),
        ({"kl_coeff": 0.1}, "kl_coeff"),
    ],
)
def test_contradictions_are_refused(keys, word):
    with pytest.raises(ValidationError, match=word):
        Reward(**keys)


def test_settings_bring_no_torch():
    code = "import sys, qwen_chat.ppo.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
