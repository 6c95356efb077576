"""Each alarm is given when it must be, and once."""

from qwen_chat.ppo.alarms import AlarmBell
from qwen_chat.ppo.recipe import Alarms


def step(entropy=1.0, kl=0.0):
    return {"ppo/entropy": entropy, "ppo/kl": kl}


def held_out(reward, gold):
    return {"val/reward": reward, "val/gold": gold, "val/gold_std": 1.0}


def test_the_kl_budget():
    bell = AlarmBell(Alarms(kl=5.0), None)
    assert bell.step(step(kl=4.9)) == []
    assert "KL" in bell.step(step(kl=5.1))[0]
    assert bell.step(step(kl=9.0)) == []  # said already


def test_entropy_collapse_is_measured_from_the_first_step():
    bell = AlarmBell(Alarms(entropy=0.1), None)
    assert bell.step(step(entropy=2.0)) == bell.step(step(entropy=0.21)) == []
    assert "entropy" in bell.step(step(entropy=0.19))[0]


def test_the_reward_and_the_held_out_reward_part_ways():
    bell = AlarmBell(Alarms(divergence=0.5), "gold")
    assert bell.held_out(held_out(0.0, 0.0)) == []
    assert bell.held_out(held_out(1.0, 1.0)) == []
    assert bell.held_out(held_out(0.5, 0.2)) == []  # both fall: no one is deceived
    assert bell.held_out(held_out(2.0, 0.6)) == []  # not far enough
    assert "gold falls" in bell.held_out(held_out(2.0, 0.4))[0]


def test_a_resumed_bell_remembers():
    bell, other = AlarmBell(Alarms(kl=5.0), "gold"), AlarmBell(Alarms(kl=5.0), "gold")
    bell.step(step(kl=6.0))
    bell.held_out(held_out(0.0, 3.0))
    other.load_state_dict(bell.state_dict())
    assert other.step(step(kl=6.0)) == []
    assert other.held_out(held_out(1.0, 1.0))
