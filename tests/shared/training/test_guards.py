"""What guards decide is a function of what they were fed and of what they wrote down."""

import json
import math
from types import SimpleNamespace

import pytest

from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import GuardSettings
from qwen_shared.training.guards import SKIPPED, Guards

STEPS = 100


def guard(directory, is_first=True, **settings):
    return Guards(GuardSettings(**settings), STEPS, directory, is_first)


def step_of(loss, grad_norm=1.0, updated=True):
    return SimpleNamespace(loss=loss, grad_norm=grad_norm, updated=updated)


def feed(guards, first, last, loss=3.0):
    for step in range(first, last + 1):
        guards.record(step, step_of(loss + 0.01 * (step % 5)))


def bad(guards, step):
    return guards.record(step, step_of(math.nan, updated=False))


def test_a_step_that_could_not_be_used_is_left_out_ever_after(tmp_path):
    guards = guard(tmp_path)
    feed(guards, 1, 6)
    assert not guards.was_skipped(7)
    assert bad(guards, 7) == {"guards/nonfinite": 1}
    assert guards.last_step_skipped and guards.was_skipped(7)
    guards.record(8, step_of(3.0))
    assert not guards.last_step_skipped
    later = guard(tmp_path)
    assert [step for step in range(1, 12) if later.was_skipped(step)] == [7]
    assert bad(later, 7) == {"guards/nonfinite": 1}  # the same one


def test_only_the_first_rank_writes(tmp_path):
    guards = guard(tmp_path, is_first=False)
    bad(guards, 1)
    assert guards.was_skipped(1) and not (tmp_path / SKIPPED).exists()


def test_too_many_in_a_row_end_the_run_and_are_forgotten(tmp_path):
    guards = guard(tmp_path, max_nonfinite=3)
    bad(guards, 2)
    feed(guards, 3, 6)
    bad(guards, 7)
    bad(guards, 8)
    with pytest.raises(FloatingPointError, match=r"step 9: loss nan.*3 steps in a row.*lower optimizer.lr"):
        bad(guards, 9)
    assert [step for step in range(1, 12) if guard(tmp_path).was_skipped(step)] == [2]


def test_nothing_left_out_leaves_no_file(tmp_path):
    guards = guard(tmp_path, max_nonfinite=2)
    bad(guards, 8)
    assert (tmp_path / SKIPPED).exists()
    with pytest.raises(FloatingPointError):
        bad(guards, 9)
    assert not (tmp_path / SKIPPED).exists() and not guard(tmp_path).was_skipped(8)


def test_a_count_goes_on_over_a_restart(tmp_path):
    guards = guard(tmp_path, max_nonfinite=2)
    bad(guards, 5)
    later = guard(tmp_path, max_nonfinite=2)
    later.load_state(json.loads(json.dumps(guards.state())))
    assert later.last_step_skipped
    with pytest.raises(FloatingPointError):
        bad(later, 6)


def test_what_is_a_spike(tmp_path):
    guards = guard(tmp_path, spike=2.0)
    feed(guards, 1, 15)
    assert not guards.is_spike(99.0)  # too little to compare with
    feed(guards, 16, 40)
    assert guards.is_spike(5.5) and not guards.is_spike(4.9)
    assert not guards.is_spike(math.nan)
    assert not guard(tmp_path, spike=None).is_spike(99.0)


def test_noisy_losses_rise_without_alarm(tmp_path):
    guards = guard(tmp_path, spike=0.5)
    for step in range(1, 65):
        guards.record(step, step_of(3.0 + (-1) ** step))
    assert not guards.is_spike(6.0)


def test_suspects_get_other_samples_which_no_other_step_sees(tmp_path):
    guards = guard(tmp_path)
    feed(guards, 1, 39)
    assert guards.first_suspect(40) == 37
    guards.record_rollback(40, 9.0, 35, lambda number: f"digest {number}")
    numbers = [guards.batch_number(step) for step in range(1, STEPS + 1)]
    assert numbers == [*range(1, 37), *range(137, 141), *range(41, 101)]
    assert [guard(tmp_path).batch_number(step) for step in range(1, STEPS + 1)] == numbers
    (event,) = json.loads((tmp_path / SKIPPED).read_text())
    assert event["skipped"]["40"] == "digest 40" and event["back_to"] == 35
    assert bad(guards, 50) == {"guards/nonfinite": 1, "guards/rollbacks": 1}


def test_what_a_checkpoint_holds_already_is_not_replaced(tmp_path):
    guards = guard(tmp_path)
    feed(guards, 1, 39)
    guards.record_rollback(40, 9.0, 38, str)
    assert [step for step in range(1, STEPS) if guards.batch_number(step) != step] == [39, 40]


def test_a_jump_that_other_samples_make_too_is_lived_with(tmp_path, capsys):
    guards = guard(tmp_path)
    feed(guards, 1, 39)
    guards.record_rollback(40, 9.0, 35, str)
    assert guards.first_suspect(40) is None
    assert "with other samples too" in capsys.readouterr().out
    assert not guards.is_spike(9.0)  # what comes is compared with itself


def test_rollbacks_come_to_an_end(tmp_path, capsys):
    guards = guard(tmp_path, max_rollbacks=2)
    for step in (30, 60):
        feed(guards, 1, 20)
        assert guards.first_suspect(step)
        guards.record_rollback(step, 9.0, step - 5, str)
    feed(guards, 61, 90)
    assert guards.first_suspect(90) is None
    assert "after 2 rollbacks" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["[", '[{"kind": "spike"}]', "3", '[{"kind": "nonfinite", "step": 1}]'])
def test_a_damaged_memory_is_refused(text, tmp_path):
    (tmp_path / SKIPPED).write_text(text)
    with pytest.raises(UserError, match=r"skipped.json: cannot be read"):
        guard(tmp_path)


def test_the_slowest_rank():
    from qwen_shared.training.ranks import RankReports, gather_reports

    reports = RankReports(False, False, [1.0, 1.0, 3.0, 1.0])
    assert reports.timing(4.0) == {"time/slowest_rank": 2, "time/slowest_share": 0.75, "time/median_share": 0.25}
    assert gather_reports(True, False, 1.5) == RankReports(True, False, [1.5]) and not gather_reports(
        True, False, 1.5
    ).timing(2.0)
