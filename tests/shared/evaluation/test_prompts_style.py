"""Which prompts go to which model."""

import json

from qwen_shared.evaluation.prompts import style_of


def test_prompts_by_the_kind_of_model(tmp_path):
    run, foreign = tmp_path / "run", tmp_path / "foreign"
    run.mkdir()
    foreign.mkdir()
    assert style_of("base", foreign, run) == "base" and style_of("chat", foreign, None) == "chat"
    (run / "recipe.yaml").write_text("data: {seq_length: 8}\n")
    assert style_of("auto", foreign, run) == "base"
    (run / "recipe.yaml").write_text("data: {seq_length: 8, system: null}\n")
    assert style_of("auto", foreign, run) == "chat"
    assert style_of("auto", foreign, None) == "base"
    (foreign / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"}))
    assert style_of("auto", foreign, None) == "chat"
