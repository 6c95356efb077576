"""Loading a model from a directory that somebody else made."""

import json

import pytest

from qwen_shared.errors import UserError


def test_code_beside_a_model_is_neither_run_nor_asked_about(tmp_path, monkeypatch):
    """transformers would ask on standard input whether to run it; a `y` waiting there must change nothing."""
    from qwen_shared.generation.load import load_model

    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')\nclass Config: pass\n"
    (tmp_path / "strange.py").write_text(code)
    auto_map = {"AutoConfig": "strange.Config", "AutoModelForCausalLM": "strange.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "strange", "auto_map": auto_map}))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(tmp_path)
    assert not ran.exists()
