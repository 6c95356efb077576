"""Rules for all samples together."""

from math_qwen.prepare.forms import sample_of
from math_qwen.prepare.pipeline import prepare


def sample(question="What is 5*4?", solution="<<5*4=20>>20\n#### 20", **columns):
    return sample_of({"question": question, "answer": solution, **columns}, "x.jsonl line 1", "x.jsonl", "x-1")


def test_copies_long_and_empty_ones_are_rejected():
    found = prepare(
        [sample(), sample("what is 5*4"), sample(" "), sample("Long?", "a" * 5000), sample("Other?")],
        max_characters=4000,
    )
    assert [e.reasons[0].partition(":")[0] if e.reasons else e.status for _, e in found.samples] == [
        "kept", "duplicate question", "empty question", "too long", "kept",
    ]  # fmt: skip
    assert found.counts() == {"kept": 2, "repaired": 0, "rejected": 3}
