"""A report of every kind of run: what it shows, and that nothing a model wrote can do anything on it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from qwen_shared.errors import UserError
from qwen_shared.report import refresh_report, write_report


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words, self.inside = [], [], [], []
        self.style = self.policy = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside.append(tag)
        self.attributes += attributes
        values = dict(attributes)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside and self.inside[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def report(run_dir):
    return Page(write_report(run_dir).read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["base-pretrain", "chat-reward", "chat-ppo"])
def test_every_kind_of_run(kind, make_run):
    page = report(make_run(kind))
    for words in (kind, "small", "finished", "Learning", "Evaluation", "75.0 %", "50.0 … 87.5 %", "from 2.5"):
        assert words in page.text
    for words in ("Samples", "step 40", "Answers", "before training", "Lineage", "model", "Environment", "Recipe"):
        assert words in page.text
    assert page.tags.count("figure") >= 4
    assert ("wandb" in page.text) and ("7,000,000" in page.text)


def test_what_a_chart_shows(make_run):
    page = report(make_run("base-pretrain"))
    assert "Loss nats per token" in page.text
    for label in ("training", "held out", "held out: text"):
        assert label in page.text
    assert "held out 0.03 from 0.03 to 0.15" in page.text


def test_nothing_on_it_can_run(make_run, hostile):
    run_dir = make_run(text=hostile)
    page, clean = report(run_dir), None
    assert "script" not in page.tags and "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("style", "src", "href")]
    assert "<script>alert(1)</script>" in page.text  # as text, to be read
    assert "{{ 7*7 }}" in page.text
    (run_dir / "tables.jsonl").unlink()
    clean = report(run_dir)
    assert clean.policy == page.policy


def test_what_cannot_be_seen_is_shown(make_run):
    page = write_report(make_run(text="red: \x1b[31m, back: \u202egpj.exe")).read_text()
    assert "red: \u241b[31m, back: \ufffdgpj.exe" in page
    assert not {"\x1b", "\u202e"} & set(page)


def test_the_policy_allows_its_own_style_and_nothing_else(make_run):
    page = report(make_run())
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert page.policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in page.style and "@import" not in page.style


def test_it_asks_nothing_of_a_network(make_run):
    run_dir = make_run()
    assert not re.search(r"https?://", write_report(run_dir).read_text())


def test_a_link_to_wandb(make_run, tmp_path):
    page = report(make_run(wandb_url="https://wandb.test/team/qwen/runs/abc"))
    assert ("href", "https://wandb.test/team/qwen/runs/abc") in page.attributes
    page = report(make_run("chat-ppo", wandb_url="javascript:alert(1)"))
    assert "href" not in dict(page.attributes)


def test_damaged_and_missing_files_are_left_out(make_run):
    run_dir = make_run()
    for name in ("recipe.yaml", "tables.jsonl", "metrics.jsonl", "evaluation/task.jsonl"):
        (run_dir / name).write_bytes(b'\xff{"step"')
    assert "small" in report(run_dir).text
    (run_dir / "tables.jsonl").write_text('{"step": 1, "val/samples": [3, {"prompt": 4}]}\n')
    (run_dir / "metrics.jsonl").write_text(
        '{"step": 1, "train/loss": null}\n{"step": 2, "train/loss": "x", "tokens": "y"}\n'
    )
    assert "small" in report(run_dir).text
    for name in ("recipe.yaml", "tables.jsonl", "metrics.jsonl", "evaluation/task.jsonl"):
        (run_dir / name).unlink()
    assert "small" in report(run_dir).text


def test_long_texts_are_cut(make_run):
    run_dir = make_run(text="x" * 5000)
    assert "… (4,300 more characters)" in report(run_dir).text


def test_no_run_and_no_room(tmp_path):
    with pytest.raises(UserError, match="not a run"):
        write_report(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    refresh_report(tmp_path)  # a run is no worse for having no report
    assert not (tmp_path / "report.html").exists()


def test_the_verb(make_run, capsys):
    from qwen_shared.cli import REPORT, run

    run_dir = make_run()
    assert run("qwen-x", "x", [REPORT], run_dir, argv=["report", str(run_dir)]) == 0
    assert (run_dir / "report.html").is_file()
    assert run("qwen-x", "x", [REPORT], run_dir, argv=["report", str(run_dir / "evaluation")]) == 2
    assert "not a run" in capsys.readouterr().err


def test_a_run_of_one_step(make_run):
    run_dir = make_run(steps=1)
    assert "figure" not in report(run_dir).tags
    assert json.loads((run_dir / "metrics.jsonl").read_text())["step"] == 1
