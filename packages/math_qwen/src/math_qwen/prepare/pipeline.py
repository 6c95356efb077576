"""All samples: checked one by one, then duplicates, overlaps with evaluation sets, verification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from math_qwen.decontaminate import EvaluationNgrams, Match
from math_qwen.prepare.boxed import check_boxed
from math_qwen.prepare.forms import Sample
from math_qwen.prepare.gsm8k import ANSWER_MARK, KEPT, REJECTED, REPAIRED, CheckedSolution, check_solution
from math_qwen.problems.problem import normalise


@dataclass
class Prepared:
    samples: list[tuple[Sample, CheckedSolution]] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "messages": [*sample.messages, {"role": "assistant", "content": checked.solution}],
                "answer": checked.answer,
                "source": sample.source,
                "id": sample.id,
                "equations": checked.equations,
                "status": checked.status,
                "reason": "; ".join(checked.reasons),
                **sample.extra,
            }
            for sample, checked in self.samples
            if checked.status != REJECTED
        ]

    def counts(self) -> dict[str, int]:
        found = Counter(checked.status for _, checked in self.samples)
        return {status: found[status] for status in (KEPT, REPAIRED, REJECTED)}

    def reasons(self) -> dict[str, dict[str, int]]:
        """Samples by kind of reason; a sample may have several."""
        found: dict[str, Counter[str]] = {REPAIRED: Counter(), REJECTED: Counter()}
        for _, checked in self.samples:
            if checked.status in found:
                found[checked.status].update({kind(reason) for reason in checked.reasons})
        return {status: dict(counter.most_common()) for status, counter in found.items()}

    def supports(self) -> dict[str, int]:
        return dict(Counter(e.support for _, e in self.samples if e.status != REJECTED).most_common())

    def report(self) -> dict[str, Any]:
        return {
            "samples": len(self.samples),
            "counts": self.counts(),
            "reasons": self.reasons(),
            "answers_rest_on": self.supports(),
            "equations": sum(e.equations for _, e in self.samples if e.status != REJECTED),
            "overlaps": [vars(match) for match in self.matches],
            "changed": [
                {"where": sample.where, "id": sample.id, "status": checked.status, "reasons": checked.reasons}
                for sample, checked in self.samples
                if checked.status != KEPT
            ],
        }


def kind(reason: str) -> str:
    return reason.partition(":")[0]


def prepare(
    samples: Iterable[Sample],
    evaluation: EvaluationNgrams | None = None,
    max_characters: int = 4000,
    workers: int | None = None,
    seen: Callable[[int], None] | None = None,
) -> Prepared:
    """`seen` gets the number of samples checked so far."""
    result = Prepared()
    first_with: dict[str, str] = {}
    pending: list[tuple[int, tuple[str, str]]] = []
    for number, sample in enumerate(samples, start=1):
        reason = _reason_to_reject(sample, max_characters)
        match = None if reason or evaluation is None else evaluation.match(sample.id, sample.question, sample.solution)
        if match:
            reason = f"overlaps an evaluation problem: {match.evaluation_id}: {match.ngram}"
            result.matches.append(match)
        if not reason:
            text = normalise(sample.question)
            if text in first_with:
                reason = f"duplicate question: of {first_with[text]}"
            else:
                first_with[text] = sample.where
        if reason:
            checked = CheckedSolution(sample.solution, "", REJECTED, [reason])
        elif ANSWER_MARK in sample.solution or ("\\boxed" not in sample.solution and sample.gold is None):
            checked = check_solution(sample.solution, sample.gold, sample.question)
        else:
            checked, pair = check_boxed(sample.solution, sample.gold)
            if pair:
                pending.append((number - 1, pair))
        result.samples.append((sample, checked))
        if seen:
            seen(number)
    if pending:
        _verify(result, pending, workers)
    return result


def _reason_to_reject(sample: Sample, max_characters: int) -> str | None:
    if not sample.question.strip():
        return "empty question"
    if not sample.solution.strip():
        return "empty solution"
    size = len(sample.question) + len(sample.solution)
    return f"too long: {size:,} characters, more than {max_characters:,}" if size > max_characters else None


def _verify(result: Prepared, pending: list[tuple[int, tuple[str, str]]], workers: int | None) -> None:
    from math_qwen.verify import verify_many

    verdicts = (
        verify_many([pair for _, pair in pending], workers=workers)
        if workers
        else verify_many([pair for _, pair in pending])
    )
    for (index, (gold, prediction)), verdict in zip(pending, verdicts, strict=True):
        if verdict.outcome == "right":
            continue
        sample, checked = result.samples[index]
        if verdict.outcome == "wrong" and sample.gold is not None:
            reason = f"answer contradicts the gold answer: {prediction[-60:]}, not {gold[:60]}"
        else:
            reason = f"answer cannot be verified: {verdict.outcome}, {verdict.reason}"
        result.samples[index] = (sample, CheckedSolution(checked.solution, "", REJECTED, [reason]))
