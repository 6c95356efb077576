"""What is wrong with a family before any of its stages runs."""

import json

from qwen_shared.family.schema import Family


def test_a_stage_of_other_weights_is_told(tmp_path, monkeypatch):
    import torch
    from safetensors.torch import save_file

    from qwen_shared.family import runner

    monkeypatch.chdir(tmp_path)
    family = Family.model_validate(
        {
            "name": "t",
            "stages": [
                {"name": "base", "command": "toy-qwen pretrain"},
                {"name": "tuned", "command": "toy-qwen sft", "parent": "base"},
            ],
        }
    )
    monkeypatch.setattr(runner, "_program", lambda stage: "true")
    base, tuned = (family.run_dir(stage) for stage in family.stages)
    (base / "export").mkdir(parents=True)
    (base / "export/config.json").write_text("{}")
    save_file({"w": torch.zeros(2)}, base / "export/model.safetensors")
    tuned.mkdir(parents=True)
    fields = {"command": "toy", "kind": "toy", "name": "t", "status": "finished", "created": "", "updated": ""}
    parent = {"run": str(base), "step": 1, "hash": runner.weights_hash(base / "export")}
    (tuned / "manifest.json").write_text(json.dumps(fields | {"parent": parent}))
    assert runner.find_problems(family, []) == []
    save_file({"w": torch.ones(2)}, base / "export/model.safetensors")
    (said,) = runner.find_problems(family, [])
    assert said.startswith("stage tuned: runs/toy-sft/t started from other weights")
