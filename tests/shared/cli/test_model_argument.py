"""The model that a reading verb looks at."""

from types import SimpleNamespace

from qwen_shared.cli import model_argument as model_of


def test_a_run_of_the_same_name_does_not_stand_in_for_the_model_of_from(tmp_path, monkeypatch):
    run, foreign = tmp_path / "run", tmp_path / "foreign"
    for directory in (run, foreign):
        directory.mkdir()
    (run / "recipe.yaml").write_text("name: x")
    monkeypatch.setattr(model_of.job_parent, "exported", lambda run_dir, step: run_dir / f"export-{step}")
    at = lambda text: SimpleNamespace(from_model=text, run_dir=run)
    assert model_of.hf_directory(at(str(foreign))) == foreign and not model_of.is_run(at(str(foreign)))
    assert model_of.hf_directory(at(f"{run}@7")) == run / "export-7"
    assert model_of.hf_directory(at(None)) == run / "export-None"
