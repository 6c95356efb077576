"""The reward is read at the end token, for any padding."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, Qwen2Config, Qwen2ForCausalLM

from qwen_chat.reward.model import RewardModel, length_batches, load_module, load_reward_model, padded, read_at_end
from qwen_shared.errors import UserError

END, PAD = 7, 7  # one id for both, as some vocabularies have it


def small(**changes) -> Qwen2Config:
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return Qwen2Config(**sizes | heads | {"pad_token_id": PAD} | changes)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(small()).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def module(language_model):
    loaded = load_module(language_model, torch.float32, seed=3)
    torch.nn.init.normal_(loaded.score.weight)  # so that rewards are of the size that trained ones have
    return read_at_end(loaded).eval()


ROWS = [[1, 2, 3, END], [4, 5, 6, 8, 9, 10, END], [11, END, 12, END], [END]]


def by_hand(module, row: list[int]) -> float:
    """The head on the hidden state of the row's last id, in a batch of its own."""
    with torch.no_grad():
        hidden = module.base_model(torch.tensor([row]), use_cache=False).last_hidden_state
        return float(module.score(hidden[0, -1]))


def test_padding_on_either_side_and_more_of_it_changes_nothing(module):
    expected = torch.tensor([by_hand(module, row) for row in ROWS])
    for extra in (0, 1, 9):
        width = max(map(len, ROWS)) + extra
        for left in (False, True):
            ids, mask = torch.full((len(ROWS), width), PAD), torch.zeros(len(ROWS), width, dtype=torch.long)
            for i, row in enumerate(ROWS):
                place = slice(width - len(row), width) if left else slice(0, len(row))
                ids[i, place], mask[i, place] = torch.tensor(row), 1
            with torch.no_grad():
                found = module(ids, attention_mask=mask).logits[:, 0]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_no_mask_means_no_padding(module):
    with torch.no_grad():
        found = module(torch.tensor([ROWS[1]])).logits[0, 0]
    assert float(found) == pytest.approx(by_hand(module, ROWS[1]), abs=1e-5)


def test_padding_changes_no_reward(module):
    one, other = (RewardModel(module, pad_id).score(ROWS) for pad_id in (PAD, 40))
    assert one == pytest.approx(other, abs=1e-5)


def test_scores_do_not_depend_on_the_batch(module):
    model = RewardModel(module, PAD)
    expected = [by_hand(module, row) for row in ROWS]
    for budget in (1, 8, 1000):
        assert model.score(ROWS, budget) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="row 1 is empty"):
        model.score([[1], []])


def test_transformers_own_rule_agrees_where_the_end_does_not_pad(module, language_model):
    plain = load_module(language_model, torch.float32)
    plain.load_state_dict(module.state_dict())
    plain.config.pad_token_id = 40
    ids, mask = padded(ROWS, 40)
    with torch.no_grad():
        torch.testing.assert_close(
            plain.eval()(ids, attention_mask=mask).logits, module(ids, attention_mask=mask).logits, atol=1e-5, rtol=0
        )


def test_a_new_head_is_decided_by_the_seed(language_model):
    torch.manual_seed(1)
    one = load_module(language_model, torch.float32, seed=5).score.weight
    torch.manual_seed(2)
    assert torch.equal(one, load_module(language_model, torch.float32, seed=5).score.weight)
    assert not torch.equal(one, load_module(language_model, torch.float32, seed=6).score.weight)


def test_a_head_that_is_there_is_kept(module, tmp_path):
    module.save_pretrained(tmp_path)
    assert torch.equal(load_module(tmp_path, torch.float32, seed=9).score.weight, module.score.weight)
    found = load_reward_model(tmp_path)
    assert found.score(ROWS) == pytest.approx([by_hand(module, row) for row in ROWS], abs=1e-5)
    others = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert others.config.num_labels == 1


def test_the_embedding_grows_for_ids_that_were_added(language_model):
    grown = load_module(language_model, torch.float32, seed=1, rows=70)
    assert grown.get_input_embeddings().num_embeddings == 70
    again = load_module(language_model, torch.float32, seed=1, rows=70)
    assert torch.equal(grown.get_input_embeddings().weight, again.get_input_embeddings().weight)


def test_a_language_model_is_no_reward_model(language_model, tmp_path):
    with pytest.raises(UserError, match="no reward head"):
        load_reward_model(language_model)
    with pytest.raises(UserError, match="no reward model there"):
        load_reward_model(tmp_path)


def test_batches_hold_every_row_once_and_keep_to_the_budget():
    lengths = [3, 9, 1, 5, 5, 30, 2]
    batches = length_batches(lengths, 20)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 20 for batch in batches)
