"""Padding does not matter, and the models' outputs are taken at the right columns."""

from dataclasses import fields

import pytest
import torch

from qwen_chat.ppo.math.batch import Rollout, join, pad

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 5]]
RESPONSES = [[3, 4], [6, 7, 8, 2], [2]]
SIDES = [(p, r, extra) for p in ("left", "right") for r in ("left", "right") for extra in (0, 3)]


def padded(rows, side, extra, garbage=99):
    """Like `pad`, with more padding and other ids in it."""
    ids, mask = pad(rows, side)
    more = torch.zeros(len(rows), extra, dtype=torch.bool)
    mask = torch.cat((mask, more) if side == "right" else (more, mask), dim=1)
    wide = torch.full(mask.shape, garbage)
    wide[mask] = ids[ids != 0]
    return wide, mask


def rollout_of(prompt_side="left", response_side="right", extra=0):
    prompts, prompt_mask = padded(PROMPTS, prompt_side, extra)
    responses, mask = padded(RESPONSES, response_side, extra)
    count = int(mask.sum())
    columns = []
    for start in (1.0, 2.0, 3.0):
        column = torch.full(mask.shape, float("nan"))
        column[mask] = start + torch.arange(count) / count
        columns.append(column)
    ended = torch.tensor([False, True, True])
    return Rollout(prompts, prompt_mask, responses, mask, ended, *columns, torch.tensor([0.5, -1.0, 2.0]))


def test_pad_marks_real_tokens_that_equal_the_padding_id():
    ids, mask = pad([[0, 1], [2, 0, 0]], "left")
    assert ids.tolist() == [[0, 0, 1], [2, 0, 0]]
    assert mask.tolist() == [[False, True, True], [True, True, True]]
    assert pad([[0, 1], [2, 0, 0]])[1].tolist() == [[True, True, False], [True, True, True]]


@pytest.mark.parametrize("layout", SIDES)
def test_rollouts_that_differ_in_padding_alone_align_to_the_same_bits(layout):
    expected, aligned = rollout_of().align(), rollout_of(*layout).align()
    for field in fields(Rollout):
        assert torch.equal(getattr(aligned, field.name), getattr(expected, field.name)), field.name
    assert aligned.prompts.tolist() == [[5, 6, 7, 0, 0], [8, 0, 0, 0, 0], [9, 10, 11, 12, 5]]
    assert aligned.responses.tolist() == [[3, 4, 0, 0], [6, 7, 8, 2], [2, 0, 0, 0]]


@pytest.mark.parametrize("layout", SIDES)
def test_rows_hold_prompt_and_response_without_a_gap(layout):
    rollout = rollout_of(*layout)
    rows = join(rollout.prompts, rollout.prompt_mask, rollout.responses, rollout.mask)
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        assert rows.input_ids[i][rows.attention_mask[i]].tolist() == prompt + response
        assert rows.attention_mask[i].tolist() == sorted(rows.attention_mask[i].tolist(), reverse=True)
    assert rows.input_ids.shape == (3, 6)
    # What follows the token at a response token's column is that response token.
    followers = rows.of_responses(rows.input_ids.roll(-1, dims=1))
    assert torch.equal(followers[rollout.mask], rollout.responses[rollout.mask])


def test_select_takes_rows():
    rollout = rollout_of().align()
    some = rollout.select(torch.tensor([2, 0]))
    assert some.responses.tolist() == [[2, 0, 0, 0], [3, 4, 0, 0]]
    assert some.scores.tolist() == [2.0, 0.5]
    assert rollout.select(rollout.ended).scores.tolist() == [-1.0, 2.0]


def test_a_rollout_must_fit_together():
    good = rollout_of()
    parts = {field.name: getattr(good, field.name) for field in fields(Rollout)}
    with pytest.raises(ValueError, match="values has shape"):
        Rollout(**(parts | {"values": good.values[:, :-1]}))
    with pytest.raises(ValueError, match="no token"):
        Rollout(**(parts | {"mask": good.mask & good.ended[:, None]}))
