"""Metrics against plain counting."""

import json
import math

import datasets
import pytest

from qwen_chat.reward.report import calibration, correlation, length_metrics, pair_metrics, report
from qwen_shared.evaluation.metrics import wilson
from qwen_shared.tokenizer import load_tokenizer


def test_metrics_of_pairs():
    found = pair_metrics([2.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, -1.0])
    margins = [2.0, -1.0, 0.0, 2.0]
    assert found["accuracy"] == 2.5 / 4
    assert (found["accuracy_low"], found["accuracy_high"]) == wilson(2.5, 4)
    assert found["margin"] == pytest.approx(sum(margins) / 4)
    losses = [-math.log(1 / (1 + math.exp(-margin))) for margin in margins]
    assert found["loss"] == pytest.approx(sum(losses) / 4)
    assert pair_metrics([1e6], [-1e6])["loss"] == 0.0
    assert pair_metrics([-1e6], [1e6])["loss"] == 2e6


def test_calibration_compares_confidence_with_accuracy():
    sure = math.log(0.75 / 0.25)  # sigmoid: 0.75
    bins = calibration([sure, sure, sure, -sure, 0.01])
    assert [(b.pairs, round(b.confidence, 2), b.accuracy) for b in bins] == [(1, 0.5, 1.0), (4, 0.75, 0.75)]
    found = pair_metrics([sure] * 4, [0, 0, 0, 2 * sure])
    assert found["calibration_error"] == pytest.approx(0.0, abs=1e-9)
    wrong = pair_metrics([-10.0] * 3, [0.0] * 3)
    assert wrong["calibration_error"] == pytest.approx(1.0, abs=1e-4)


def test_length_bias_is_seen():
    lengths = [(10, 5), (3, 9), (4, 4), (20, 10)]
    by_length = length_metrics([a for a, _ in lengths], [b for _, b in lengths], lengths)
    assert by_length["longer_wins"] == 2.5 / 4
    assert by_length["length_correlation"] == pytest.approx(1.0)
    assert by_length["margin_length_correlation"] == pytest.approx(1.0)
    assert correlation([1, 2, 3], [5, 5, 5]) == 0.0
    assert correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)


def test_every_pair_is_kept_to_be_read(tmp_path):
    tokenizer = load_tokenizer("default")
    ids = [tokenizer.encode(text) for text in ("What? A word.", "What? Another word.")]
    shared = next(i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b)
    columns = {"chosen_ids": ids[:1] * 2, "rejected_ids": ids[1:] * 2, "shared": [shared] * 2}
    pairs = datasets.Dataset.from_dict(columns | {"tag": ["x", "y"], "reason": [None, None]})
    path = tmp_path / "evaluation" / "pairs.jsonl"
    metrics, rows = report(pairs, [1.0, 0.0], [0.0, 1.0], tokenizer, path, "pairs")
    assert (metrics["tag/x/accuracy"], metrics["tag/y/accuracy"]) == (1.0, 0.0)
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows
    assert rows[0]["prompt"] + rows[0]["chosen"] == "What? A word."
    assert rows[0]["prompt"] + rows[0]["rejected"] == "What? Another word."
