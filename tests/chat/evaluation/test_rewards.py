"""Where a reward model reads an answer, and which ones there are."""

import pytest

from qwen_chat.evaluation.rewards import judged_ids, reward_directory
from qwen_shared.errors import UserError
from qwen_shared.run import Manifest
from qwen_shared.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("default")
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]


def test_the_last_id_is_the_end_token():
    ids = judged_ids(TURNS, "", TOKENIZER)
    whole, _ = TOKENIZER.render([{"role": "system", "content": ""}, *TURNS])
    assert ids[-1] == TOKENIZER.special_tokens["<|im_end|>"]
    assert whole[: len(ids)] == ids and TOKENIZER.decode(whole[len(ids) :]) == "\n"


def test_a_system_turn_of_its_own_stays():
    turns = [{"role": "system", "content": "Be kind."}, *TURNS]
    assert judged_ids(turns, "", TOKENIZER) == judged_ids(turns, None, TOKENIZER)
    assert judged_ids(TURNS, "", TOKENIZER) != judged_ids(TURNS, None, TOKENIZER)


def test_what_is_no_reward_model_is_told_early(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        reward_directory(str(tmp_path / "nothing"))
    (tmp_path / "recipe.yaml").write_text("name: tiny\n")
    manifest = Manifest.create("qwen-chat sft", "chat-sft", "tiny")
    manifest.write(tmp_path)
    with pytest.raises(UserError, match="of kind chat-sft"):
        reward_directory(str(tmp_path))
    Manifest.create("qwen-chat reward", "chat-reward", "tiny").write(tmp_path)
    with pytest.raises(UserError, match="not been exported"):
        reward_directory(str(tmp_path))
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "config.json").write_text("{}")
    (tmp_path / "export" / "certificate.json").write_text('{"step": 9}')
    assert reward_directory(str(tmp_path)) == tmp_path / "export"
