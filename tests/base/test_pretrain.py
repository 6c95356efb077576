"""The whole way of a base run through the real command: train, validate, save, export, look at it."""

import math

import pytest


def test_a_run_learns_and_says_what_it_did(finished_run, read, results_are_declared):
    records, manifest = read.records(finished_run), read.manifest(finished_run)
    assert [record["step"] for record in records] == list(range(1, 21))
    assert records[-1]["train/loss"] < records[0]["train/loss"] - 1.0
    assert records[0]["train/loss"] == pytest.approx(math.log(8192), abs=0.1)  # a fresh model knows nothing
    assert manifest["status"] == "finished"
    results = manifest["results"]
    assert results["val/bits_per_byte"] == records[-1]["val/bits_per_byte"]
    assert results["val/gzip_bits_per_byte"] > 0 and results["val/bytes"] > 1000
    assert results["export/max_logit_difference"] <= 1e-4
    results_are_declared(finished_run)
    assert {path.name for path in finished_run.iterdir()} >= {"recipe.yaml", "manifest.json", "log.txt", "export"}


def test_the_loss_leaves_out_what_follows_the_end_of_a_document(finished_run, read):
    """Fewer tokens are in the loss than were seen: the positions whose input is `<|endoftext|>`."""
    for record in read.records(finished_run):
        assert 0.9 * 8 * 64 < record["train/loss_tokens"] < 8 * 64


def test_the_export_is_the_model_in_plain_transformers(finished_run, megatron):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from qwen_shared.convert.checkpoint import read_checkpoint
    from qwen_shared.model.builder import build_model
    from qwen_shared.model.weights import fill
    from qwen_shared.recipe import PretrainRecipe, load_recipe
    from qwen_shared.recipe.schema import Parallel

    recipe = load_recipe(PretrainRecipe, str(finished_run / "recipe.yaml"), [], finished_run)
    whole = read_checkpoint(finished_run / "checkpoints/step-00000020", recipe.model)
    (ours,) = chunks = build_model(recipe.model, 8192, Parallel(), "fp32")
    fill(chunks, lambda name, shape: whole[name])
    ours.eval()
    theirs = AutoModelForCausalLM.from_pretrained(finished_run / "export", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(finished_run / "export")
    tokens = tokenizer("the model reads a line", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)
    assert theirs.config.model_type == "qwen2"


def test_the_same_command_again_says_it_is_finished(finished_run, qwen_base):
    before = (finished_run / "metrics.jsonl").read_bytes()
    done = qwen_base("pretrain", "--run-dir", finished_run)
    assert "is finished" in done.stdout
    assert (finished_run / "metrics.jsonl").read_bytes() == before


def test_another_recipe_on_the_run_is_refused(finished_run, qwen_base):
    done = qwen_base("pretrain", "--run-dir", finished_run, "optimizer.lr=1e-4", check=2)
    assert "optimizer.lr: 0.003 → 0.0001" in done.stderr and "--run-dir" in done.stderr
    assert done.stderr.count("\n") == 1


def test_evaluate_agrees_with_the_trainer(finished_run, qwen_base, read):
    """Two forms of one model, two code paths, one figure."""
    import json

    qwen_base("evaluate", "--run-dir", finished_run, "evaluation.lengths=[32,64]")
    report = json.loads((finished_run / "evaluation" / "evaluation.json").read_text())["tasks"]["held-out text"]
    lengths = report["by"]["length"]
    trained = read.manifest(finished_run)["results"]
    assert lengths["64"]["loss"] == pytest.approx(trained["val/loss"], rel=1e-5)
    assert lengths["64"]["bits_per_byte"] == pytest.approx(trained["val/bits_per_byte"], rel=1e-5)
    assert report["metrics"]["gzip_bits_per_byte"] == trained["val/gzip_bits_per_byte"]
    assert set(lengths) == {"32", "64"}


def test_generate_continues_a_prompt(finished_run, qwen_base):
    said = qwen_base("generate", "--run-dir", finished_run, "--prompt", "the model reads", "--max-tokens", 8).stdout
    assert said.startswith("the model reads")
    assert len(said.strip()) > len("the model reads")


def test_export_of_an_earlier_step_replaces_nothing(finished_run, qwen_base, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/thesis.txt").write_text("mine")
    done = qwen_base("export", "--from", f"{finished_run}@15", "--to", tmp_path / "precious", check=2)
    assert "holds something that is not an export" in done.stderr
    assert (tmp_path / "precious/thesis.txt").read_text() == "mine"
    last = (finished_run / "export/certificate.json").read_text()
    qwen_base("export", "--from", f"{finished_run}@15")
    assert (finished_run / "export-00000015/model.safetensors").is_file()
    assert (finished_run / "export/certificate.json").read_text() == last
    done = qwen_base("export", "--from", f"{finished_run}@7", check=2)
    assert "no checkpoint of step 7; there are 15, 20" in done.stderr


def test_the_console_is_quiet(finished_run, qwen_base, tmp_path):
    """Nothing on stderr, no library's warning on stdout: what is seen there is meant."""
    done = qwen_base("pretrain", "--run-dir", tmp_path / "run", "training.steps=4", "export=none")
    assert done.stderr == ""
    assert "arn" not in done.stdout.replace("learn", ""), done.stdout


def test_plan_builds_nothing(qwen_base, tmp_path):
    done = qwen_base("pretrain", "--run-dir", tmp_path / "run", "--plan")
    assert "parameters" in done.stdout and "of a rank" in done.stdout
    assert not (tmp_path / "run").exists()


def test_bad_data_leaves_no_run_that_holds_on_to_its_recipe(qwen_base, corpus, tmp_path):
    """The first typo must not cost the run's name."""
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "fine"}\n{"text": \n')
    words = ("pretrain", "--run-dir", tmp_path / "run", "training.steps=4", "export=none")
    done = qwen_base(*words, f"data.sources={bad}", check=2)
    assert f"{bad} line 2" in done.stderr and done.stderr.count("\n") == 1
    qwen_base(*words, f"data.sources={corpus}")


def test_a_loss_that_is_not_finite_ends_the_run_with_a_hint(qwen_base, read, tmp_path):
    done = qwen_base("pretrain", "--run-dir", tmp_path / "run", "optimizer.lr=1e30", "export=none", check=1)
    assert "failed: step" in done.stderr and "lower optimizer.lr" in done.stderr and "Traceback" not in done.stderr
    assert read.manifest(tmp_path / "run")["status"] == "failed"


def test_a_reader_that_goes_away_does_not_end_the_run(qwen_base, read, tmp_path):
    """`… | head` and a lost terminal take the console, not the work."""
    process = qwen_base.start("pretrain", "--run-dir", tmp_path / "run", "export=none")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=200) == 0
    assert read.manifest(tmp_path / "run")["status"] == "finished"
