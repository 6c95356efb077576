"""The card says what was measured, where the model comes from, and what nobody said."""

import json
import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from qwen_shared.publish.card import CardFacts, card
from qwen_shared.publish.checkpoint import find_checkpoint
from qwen_shared.publish.evaluation import Quantised, Variant, by_length, results_of, tokens_of
from qwen_shared.publish.provenance import DataRow, ParentRow, data_rows, parent_rows
from qwen_shared.recipe.yaml_text import parse_yaml
from qwen_shared.run import Manifest, Parent
from qwen_shared.run.lineage import describe_parent

CERTIFICATE = {
    "hash": "ab" * 32,
    "parity": {
        "tensors": {"compared": 31, "bit_equal": True},
        "logits": {"max_difference": 3e-6, "precision": "fp32", "tolerance": 1e-4, "layers": 4},
        "tokenizer": {"texts": 10, "ids": 396},
    },
}
SOURCE = {
    "name": "/home/somebody/secret-project/essays.jsonl",
    "source": {"path": "/home/somebody/secret-project/essays.jsonl"},
    "train": {"documents": 1234, "tokens": 567_890, "sha256": "cd" * 32},
    "validation": {"documents": 12, "tokens": 3456},
}
RECIPE = {
    "model": {"max_positions": 64},
    "data": {"seq_length": 128, "system": "", "sources": [{"path": SOURCE["name"]}]},
    "training": {"global_batch_size": 16},
    "optimizer": {"lr": 1e-3},
    "schedule": {"kind": "cosine", "warmup_steps": 2},
    "reward": {"model": "/home/somebody/runs/chat-reward/tiny"},
    "tracking": {"project": "qwen"},
}
MATH = {
    "val/loss": 0.25,
    "before/val/loss": 5.0,
    "tokens": 1_000_000,
    "seconds": 3661.0,
    "eval/level1/problems": 400,
    "eval/level1/accuracy": 0.9325,
    "eval/level1/accuracy_low": 0.9036,
    "eval/level1/accuracy_high": 0.9532,
    "before/eval/level1/accuracy": 0.0,
    "nearest/level1/accuracy": 0.12,
    "eval/level2/problems": 400,
    "eval/level2/accuracy": 0.02,
    "eval/level2/accuracy_low": 0.01,
    "eval/level2/accuracy_high": 0.04,
    "eval/level2/cut": 0.5,
}


@pytest.fixture
def facts(make_run):
    def make(kind="math-sft", results=MATH, licence=None, quantised=None, recipe=RECIPE, **said):
        run = make_run("tiny", kind=kind, command="math-qwen sft", results=results, recipe=recipe, **said)
        checkpoint = find_checkpoint(str(run))
        parents, data, results = parent_rows(checkpoint), data_rows(checkpoint), results_of(checkpoint)
        return CardFacts(checkpoint, results, parents, data, 7_410_944, "bf16", licence, CERTIFICATE, quantised)

    return make


def section(text: str, title: str) -> str:
    text = text.replace("\u00a0", " ")
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def test_figures_with_their_intervals(facts):
    shown = section(card(facts()), "Evaluation")
    assert "| level1 | accuracy | 0.0 % | **93.2 %** | 90.4 … 95.3 % | 400 | 12.0 % |" in shown
    assert "| level2 | accuracy |  | **2.0 %** | 1.0 … 4.0 % | 400 |  |" in shown
    assert "| the run's own | loss | 5.0000 | **0.2500** |" in shown
    assert "`eval/level2/cut` | 0.5 |" in shown


def test_limits_name_what_it_fails_at(facts):
    shown = section(card(facts()), "Limits")
    assert "It fails at level2: 2.0 % (1.0 … 4.0 %)." in shown
    assert "7,410,944 parameters and saw 1,000,000 tokens in all, 0.1 per parameter" in shown
    assert "at most 64 tokens at a time" in shown  # its positions, not the packed samples
    good = {name: value for name, value in MATH.items() if "level2" not in name}
    assert "fails at" not in section(card(facts(results=good)), "Limits")


def test_gains_of_ppo(facts):
    results = {
        "before/val/reward": 0.5,
        "val/reward": 2.5,
        "gain/reward": 2.0,
        "gain/reward_low": 1.5,
        "gain/reward_high": 2.5,
        "before/val/checked": 0.9,
        "val/checked": 0.8,
        "gain/checked": -0.1,
        "gain/checked_low": -0.15,
        "gain/checked_high": -0.05,
    }
    text = card(facts("chat-ppo", results))
    assert "| reward | 0.500 | **2.500** | +2.000 | +1.500 … +2.500 |" in section(text, "Evaluation")
    assert "PPO made checked worse: -0.100 (-0.150 … -0.050)." in section(text, "Limits")


def test_nothing_measured_is_said(facts):
    assert "Nobody measured" in section(card(facts(results={})), "Evaluation")


def test_paths_are_nobody_s_business(facts):
    text = card(facts(data=[SOURCE]))
    assert "somebody" not in text and "secret" not in text
    assert (
        "| essays.jsonl | 1,234 documents, 567,890 tokens; held out 12 with 3,456 | `cdcdcdcdcdcdcdcd` | not stated |"
        in text
    )
    recipe = parse_yaml(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1], "the card")
    assert recipe["data"]["sources"] == [{"path": "essays.jsonl"}] and recipe["reward"] == {"model": "tiny"}
    assert "tracking" not in recipe


def test_nothing_in_a_recipe_ends_its_block(facts):
    prompt = "```python\n\n# Heading\n````"
    text = card(facts(recipe=RECIPE | {"evaluation": {"prompts": [prompt]}}))
    block = re.search(r"^(`{5,})yaml\n(.*?)^\1$", text, re.MULTILINE | re.DOTALL)
    assert parse_yaml(block[2], "the card")["evaluation"]["prompts"] == [prompt]


HOSTILE = (
    "[click](javascript:x) ![see](http://e/x.png) <script>x</script> & **b** `c` | d \\| e\x1b[31m\n\n# Pwned\n\n- f"
)


def test_words_of_others_are_no_markup(facts):
    """As a renderer of Markdown reads it: the headings and links of a card are its own, and its cells in place."""
    plain, hostile = (
        facts(),
        facts(results=MATH | {f"eval/{HOSTILE}/accuracy{end}": 0.5 for end in ("", "_low", "_high")}),
    )
    hostile = replace(hostile, data=[DataRow(HOSTILE, "1 document", None, HOSTILE)])
    hostile = replace(hostile, parents=[ParentRow(HOSTILE, 1, "ab" * 32, False, None, None, False, HOSTILE)])
    rendered = [
        MarkdownIt("commonmark").enable("table").parse(card(facts).partition("\n---\n")[2])
        for facts in (plain, hostile)
    ]
    inline = [[child.type for token in tokens for child in token.children or []] for tokens in rendered]
    headings = [
        [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open"] for tokens in rendered
    ]
    assert headings[0] == headings[1]
    assert not {"link_open", "image", "html_inline"} & set(inline[1])
    assert [t.type for t in rendered[1]].count("html_block") == [t.type for t in rendered[0]].count("html_block")
    assert "\x1b" not in card(hostile)
    lines = section(card(hostile), "Data").strip().splitlines()
    cells = MarkdownIt("commonmark").enable("table").parse("\n".join(lines))
    assert [t.type for t in cells].count("td_open") == 3  # source, amount, licence


def test_prompts_are_no_paths(facts):
    prompts = {"evaluation": {"prompts": ["/usr/bin/env python", "../../a b"]}}
    shown = section(card(facts(recipe=RECIPE | prompts)), "Training")
    assert "- /usr/bin/env python\n" in shown and "- ../../a b\n" in shown


def test_front_matter(facts):
    head = parse_yaml(re.match(r"---\n(.*?)---\n", card(facts(licence="apache-2.0")), re.DOTALL)[1], "the card")
    assert head == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["math-sft"],
        "license": "apache-2.0",
    }
    text = card(facts("chat-reward", {"eval/accuracy": 0.9, "eval/accuracy_low": 0.8, "eval/accuracy_high": 0.95}))
    assert "pipeline_tag: text-classification" in text and "license" not in text.split("---")[1]
    assert "named no licence" in section(text, "Licence")
    assert "AutoModelForSequenceClassification" in section(text, "Use")
    assert "| held-out pairs | accuracy | **90.0 %** | 80.0 … 95.0 % |" in section(text, "Evaluation")


def test_the_system_turn_it_was_taught_with(facts):
    assert '{"role": "system", "content": ""}' in section(card(facts()), "Use")
    without = RECIPE | {"data": {"seq_length": 128, "system": None, "sources": []}}
    assert '"system"' not in section(card(facts(recipe=without)), "Use")


def test_variants(facts):
    quantised = Quantised(2.0, 5000, 14_800_000, [Variant("int4", 10_100_000, 2.0123)])
    shown = section(card(facts(quantised=quantised)), "Quantised variants")
    assert "| unquantised | 14.8 MB | 2.0000 |  |" in shown
    assert "| [int4](int4) | 10.1 MB | 2.0123 | +0.0123 |" in shown
    assert 'subfolder="int4"' in shown and "5,000 held-out tokens" in shown


def test_lineage(facts, make_run):
    base = make_run("base", results={"tokens": 500, "val/bits_per_byte": 2.0})
    code = make_run(
        "code", kind="code-pretrain", results={"tokens": 400}, parent={"run": str(base), "step": 20, "hash": "11" * 32}
    )
    text = card(facts(parent={"run": str(code), "step": 20, "hash": "22" * 32}))
    assert section(text, "Lineage").strip().splitlines() == [
        "1. Random weights",
        "2. base-pretrain/base at step 20, 500 tokens, weights `1111111111111111`",
        "3. code-pretrain/code at step 20, 400 tokens, weights `2222222222222222`",
        "4. **math-sft/tiny** at step 20, weights `abababababababab`",
    ]
    assert "| tokens | 1,000,000, after 900 of the models before it |" in text


def test_a_parent_is_told_of_as_it_was(facts, make_run):
    """An earlier checkpoint of its run, in whose directory another run lies by now."""
    base = make_run("base", results={"tokens": 500, "val/bits_per_byte": 2.0})
    (base / "metrics.jsonl").write_text('{"step": 10, "tokens": 250}\n{"step": 20, "tokens": 500}\n')
    parent = Parent(run=str(base), step=10, hash="11" * 32)
    run = facts(
        parent=parent.model_dump(), lineage=[describe_parent(parent.run, parent.step, parent.hash).model_dump()]
    )
    assert "1. Random weights\n2. base-pretrain/base at step 10, 250 tokens" in section(card(run), "Lineage")
    another = Manifest.read(base)
    another.created, another.results["tokens"] = "2031-01-01T00:00:00+00:00", 9000
    another.write(base)
    (base / "metrics.jsonl").write_text('{"step": 10, "tokens": 8000}\n{"step": 20, "tokens": 9000}\n')
    assert parent_rows(run.checkpoint) == [replace(run.parents[0], manifest=None)]


def test_lineage_from_elsewhere(facts, tmp_path):
    theirs = tmp_path / "models" / "theirs"
    theirs.mkdir(parents=True)
    (theirs / "README.md").write_text("---\nlicense: llama3\n---\n# theirs\n")
    text = card(facts(parent={"run": str(theirs), "step": None, "hash": "33" * 32}))
    assert section(text, "Lineage").startswith("\n1. theirs, weights `3333333333333333`, licence llama3\n2. **math")
    assert "It started from theirs, licence llama3." in section(text, "Licence")
    assert str(tmp_path) not in text


def test_a_run_that_is_gone_is_still_named(facts, tmp_path):
    text = card(facts(parent={"run": str(tmp_path / "base-pretrain" / "tiny"), "step": 7, "hash": None}))
    assert "1. base-pretrain/tiny at step 7" in text
    assert "tokens in all" not in text  # how many is not known then


def test_who_judged_is_named(facts, make_run):
    reward = make_run("rm", kind="chat-reward", results={"eval/accuracy": 0.9})
    said = {"run": str(reward), "step": 20, "hash": "44" * 32, "kind": "chat-reward", "name": "rm"}
    shown = section(card(facts("chat-ppo", reward_model=said)), "Lineage")
    assert shown.strip().endswith("PPO's rewards came from chat-reward/rm at step 20, weights `4444444444444444`.")


def test_a_text_of_somebody_else_was_measured(make_run):
    """`evaluate RUN data.sources=other.txt` says nothing of what the run held out."""
    run = make_run("tiny", results={"val/bytes": 90.0}, data=[SOURCE])
    name, lengths = SOURCE["name"], {"64": {"loss": 1.0}}

    def report(place=name, size=90):
        task = {"place": place, "metrics": {"bytes": size}, "by": {"length": lengths}}
        return {"model": "runs/tiny/export", "tasks": {"held-out text": task}, "results": {}}

    (run / "evaluation").mkdir()
    for written, expected in ((report(), lengths), (report("other.txt"), {}), (report(size=91), {})):
        (run / "evaluation" / "evaluation.json").write_text(json.dumps(written))
        assert by_length(find_checkpoint(str(run))) == expected
    (run / "evaluation" / "evaluation.json").unlink()
    older = {"model": "runs/tiny/export", "sources": [name], "bytes": 90, "lengths": lengths}
    (run / "evaluation.json").write_text(json.dumps(older))  # of version 0.1
    assert by_length(find_checkpoint(str(run))) == lengths


def test_an_earlier_checkpoint(make_run):
    run = make_run()
    lines = [{"step": 10, "tokens": 1, "val/bits_per_byte": 3.0}, {"step": 20, "tokens": 2, "val/bits_per_byte": 2.0}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert results_of(find_checkpoint(f"{run}@10")) == {"val/bits_per_byte": 3.0}
    assert tokens_of(find_checkpoint(f"{run}@10")) == 1
    assert results_of(find_checkpoint(f"{run}@20")) == {"val/bits_per_byte": 2.0}
    report = {"tasks": {}, "results": {"eval/level1/accuracy": 0.5, "eval/level1/accuracy_low": 0.4}}
    (run / "evaluation-00000010").mkdir()
    (run / "evaluation-00000010" / "evaluation.json").write_text(json.dumps(report))
    assert results_of(find_checkpoint(f"{run}@10"))["eval/level1/accuracy"] == 0.5
    assert find_checkpoint(f"{run}@10").default_target == run / "published-00000010"
