"""Which prompts go to which model."""

import json

from qwen_shared.evaluation.style import style_of
from qwen_shared.run import Manifest


def test_prompts_by_the_kind_of_model(tmp_path):
    run, foreign = tmp_path / "run", tmp_path / "foreign"
    run.mkdir()
    foreign.mkdir()
    assert style_of("base", foreign, run) == "base" and style_of("chat", foreign, None) == "chat"
    Manifest.create("code-qwen pretrain", "code-pretrain", "tiny").write(run)
    assert style_of("auto", foreign, run) == "base"
    Manifest.create("code-qwen sft", "code-sft", "tiny").write(run)
    assert style_of("auto", foreign, run) == "chat"
    assert style_of("auto", foreign, None) == "base"
    (foreign / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"}))
    assert style_of("auto", foreign, None) == "chat"
