"""`math-qwen sample`: rejection sampling (RFT, report section 2): right answers of a model become training data.

The verifier must find an answer right, and all its `<<…>>` equations true. Of answers with the same equations one is
kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from math_qwen.equations import check, distinct_key, equations
from math_qwen.evaluation.tasks import GSM8K, Item, gold_answer
from qwen_shared.cli import Invocation
from qwen_shared.cli.model_argument import hf_directory, is_run
from qwen_shared.errors import UserError
from qwen_shared.evaluation.progress import counting
from qwen_shared.evaluation.prompts import style_of
from qwen_shared.evaluation.task import Conditions
from qwen_shared.evaluation.work import Work
from qwen_shared.generation.sampling import Generate, Progress, Sampling, truncate_at
from qwen_shared.log import say
from qwen_shared.tokenizer import Tokenizer

_AT_ONCE = 128  # problems between two saves
_EMBEDDED = 1000  # problems by default


@dataclass(frozen=True)
class SampledAnswers:
    """How many answers were drawn, right, and sound (right, all equations true); and those kept."""

    sampled: int
    verified: int
    sound: int
    kept: list[str]


def select(answers: Sequence[str], right: Sequence[bool]) -> SampledAnswers:
    """One answer for each distinct list of equations among the right and sound ones: the farthest from the other kept
    answers (sum of edit distances).
    """
    sound = [a for a, good in zip(answers, right, strict=True) if good and all(check(e).ok for e in equations(a))]
    paths: dict[tuple[str, ...], str] = {}
    for answer in sound:
        key = distinct_key(answer)
        others = [kept for other, kept in paths.items() if other != key]
        if key not in paths or _distance_to(others, answer) > _distance_to(others, paths[key]):
            paths[key] = answer
    return SampledAnswers(len(answers), sum(map(bool, right)), len(sound), list(paths.values()))


def _distance_to(others: list[str], answer: str) -> int:
    return sum(edit_distance(answer, other) for other in others)


def edit_distance(a: str, b: str) -> int:
    """Levenshtein, by Myers' bit vectors."""
    if not a or not b:
        return len(a) + len(b)
    places: dict[str, int] = {}
    for i, character in enumerate(a):
        places[character] = places.get(character, 0) | 1 << i
    every, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    rises, falls, distance = every, 0, len(a)
    for character in b:
        equal = places.get(character, 0)
        diagonal = ((((equal | falls) & rises) + rises) ^ rises) | equal | falls
        right_rises = falls | ~(diagonal | rises) & every
        right_falls = rises & diagonal
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = (right_rises << 1 | 1) & every
        right_falls = right_falls << 1 & every
        rises = right_falls | ~(diagonal | right_rises) & every
        falls = right_rises & diagonal
    return distance


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--problems",
        metavar="FILE",
        help="problems with solutions: GSM8K's or MATH's form, messages (default: ours)",
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help=f"the first N problems (default: all; of ours {_EMBEDDED})"
    )
    parser.add_argument("--k", type=int, default=8, metavar="K", help="answers to each (default: 8; the report's 100)")
    parser.add_argument("--to", type=Path, metavar="FILE", required=True, help="file for the kept answers, .jsonl")


def main(invocation: Invocation) -> None:
    chosen, settings = invocation.options, invocation.recipe.evaluation
    if chosen.k < 1 or (chosen.count is not None and chosen.count < 1):
        raise UserError(f"--k {chosen.k}, --count {chosen.count}: both must be at least 1")
    if chosen.to.suffix != ".jsonl" or not chosen.to.parent.is_dir():
        raise UserError(f"--to {chosen.to}: must be a .jsonl file in an existing directory")
    if chosen.k > 1 and not settings.temperature:
        raise UserError(
            f"--k {chosen.k} at evaluation.temperature=0 repeats one answer: give evaluation.temperature=0.7"
        )
    if chosen.problems and not chosen.problems.startswith("hf:"):
        from math_qwen.prepare.forms import source_files

        if chosen.to.resolve() in [path.resolve() for path in source_files(chosen.problems)]:
            raise UserError(f"--to {chosen.to}: would overwrite a file it reads; choose another")
    problems = list(_problems(invocation))
    if not problems:
        raise UserError(f"--problems {chosen.problems}: holds no problem")

    from qwen_shared.convert.hf_files import weights_hash
    from qwen_shared.generation.decode import load_generator
    from qwen_shared.tokenizer import load_tokenizer

    directory = hf_directory(invocation)
    tokenizer = load_tokenizer(str(directory))
    run_dir = invocation.run_dir if is_run(invocation) else None
    conditions = Conditions.of(invocation.recipe, style_of(settings.prompt, directory, run_dir))
    # A base model gets GSM8K's few-shot text.
    prompts = [GSM8K.prompt(item, conditions, tokenizer) for _, item in problems]
    golds = [item.gold for _, item in problems]
    sampling = Sampling(
        settings.max_new_tokens,
        settings.temperature,
        settings.top_p,
        stop_texts=GSM8K.stop_texts() if conditions.style == "base" else (),
    )
    decided_by = [weights_hash(directory), tokenizer.fingerprint, prompts, golds, asdict(sampling)]
    work = Work(chosen.to, json.dumps([*decided_by, chosen.k, settings.seed]))
    say(f"{len(problems):,} problems, {chosen.k} answers each, at temperature {settings.temperature:g}")
    if work.done:
        say(f"{len(work.done):,} of them are already done")
    if len(work.done) < len(problems):
        generate = load_generator(directory, tokenizer, settings.batch_size)
        with counting("sampling") as progress:
            for part, drawn in _draw(generate, tokenizer, prompts, sampling, settings.seed, chosen.k, work, progress):
                work.add([asdict(of_problem) for of_problem in _graded(golds[part], drawn, chosen.k)])
    done = [SampledAnswers(**problem) for problem in work.done]
    rows = [row for (turns, item), drawn in zip(problems, done, strict=True) for row in _rows(turns, item, drawn)]
    work.finish("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    _report(done, chosen.to)


def _draw(
    generate: Generate,
    tokenizer: Tokenizer,
    prompts: list[list[int]],
    sampling: Sampling,
    seed: int,
    k: int,
    work: Work,
    progress: Progress,
) -> Iterator[tuple[slice, list[str]]]:
    while (first := len(work.done)) < len(prompts):
        part = slice(first, first + _AT_ONCE)
        asked = [prompt for prompt in prompts[part] for _ in range(k)]
        # A restart draws the same from each part's seed.
        own = replace(sampling, seed=(seed << 24) + first // _AT_ONCE)
        completions = generate(asked, own, _progress(progress, first, k, len(prompts)))
        yield part, [truncate_at(tokenizer.decode(c.ids), sampling.stop_texts).strip() for c in completions]


def _progress(progress: Progress, first: int, k: int, total: int) -> Progress:
    return lambda done, _: progress(first + done // k, total)


def _problems(invocation: Invocation) -> Iterator[tuple[list[dict[str, str]], Item]]:
    chosen = invocation.options
    if chosen.problems is None:
        from math_qwen.recipe import training_problems

        for problem in islice(training_problems(invocation.recipe), chosen.count or _EMBEDDED):
            turns = [{"role": "user", "content": problem.question}]
            yield turns, Item(problem.id, problem.question, problem.answer)
        return
    from math_qwen.prepare.forms import read_samples

    for sample, _ in islice(read_samples(chosen.problems, "auto"), chosen.count):
        gold = gold_answer(sample.solution if sample.gold is None else sample.gold)
        yield sample.messages, Item(sample.id, sample.question, gold)


def _graded(golds: list[str], answers: list[str], k: int) -> list[SampledAnswers]:
    from math_qwen.verify import verify_many

    verdicts = verify_many([(golds[i // k], answer) for i, answer in enumerate(answers)])
    right = [verdict.outcome == "right" for verdict in verdicts]
    return [select(answers[i : i + k], right[i : i + k]) for i in range(0, len(answers), k)]


def _rows(turns: list[dict[str, str]], item: Item, drawn: SampledAnswers) -> list[dict[str, Any]]:
    return [
        {
            "messages": [*turns, {"role": "assistant", "content": answer}],
            "answer": item.gold,
            "source": "sampled",
            "id": f"{item.id}-sample-{number}",
            "equations": len(equations(answer)),
        }
        for number, answer in enumerate(drawn.kept, start=1)
    ]


def _report(done: list[SampledAnswers], target: Path) -> None:
    sampled, verified = sum(d.sampled for d in done), sum(d.verified for d in done)
    sound, kept = sum(d.sound for d in done), sum(len(d.kept) for d in done)
    solved = sum(bool(d.kept) for d in done)
    say(
        f"{sampled:,} answers drawn, {verified:,} verified right, {sound:,} of them with true equations, {kept:,} of "
        f"these distinct and kept; {solved:,} of {len(done):,} problems have one"
    )
    say(f"{target}: {kept:,} conversations")
