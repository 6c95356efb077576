"""Generates training tasks from a seed, and held-out sets that share no prompt and no parameters with them.

The split depends on no seed or wording, only on family and parameters (`Family.is_held_out`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from textwrap import indent

from code_qwen.problems import lists, numbers, records, strings
from code_qwen.problems.check import check_text, run_check
from code_qwen.problems.compositions import COMPOSITIONS
from code_qwen.problems.family import Family, Parameters, spaced
from code_qwen.problems.task import Task, normalise
from code_qwen.problems.vocabulary import ARGUMENTS, DOCSTRINGS, LAYOUTS, NOUNS, PLAIN_NAMES, REQUESTS
from qwen_shared.errors import UserError

FAMILIES = (*numbers.FAMILIES, *lists.FAMILIES, *strings.FAMILIES, *records.FAMILIES)
HELD_OUT = ("functions", "compositions")
LANGUAGES = ("en", "zh")
FORMS = ("instruction", "docstring")

_PLAIN_NAMES_SHARE = 0.15
_TRIES = 1000


def training(
    seed: int, count: int, languages: Sequence[str] = LANGUAGES, forms: Sequence[str] = FORMS
) -> Iterator[Task]:
    """`count` training tasks with distinct prompts, the same on every machine, none with held-out parameters.

    Families, languages and forms are equally frequent. Every solution has passed its test. A longer sequence begins
    with the shorter one of the same seed. Raises UserError for an unknown language or form.
    """
    _check_known("language", languages, LANGUAGES)
    _check_known("form", forms, FORMS)
    return _training(seed, count, languages, forms)


def _training(seed: int, count: int, languages: Sequence[str], forms: Sequence[str]) -> Iterator[Task]:
    seen: set[str] = set()
    for index in range(count):
        rng = Random(f"training {seed} {index}")
        yield _draw(rng, rng.choice(FAMILIES), rng.choice(languages), rng.choice(forms), seen, held_out=False)


def held_out(name: str, per_family: int = 24, languages: Sequence[str] = LANGUAGES) -> list[Task]:
    """A held-out set: `per_family` tasks of each family, languages and forms equally frequent.

    `functions`: trained families with parameters that no training task has. `compositions`: combinations of two trained
    families. Raises UserError for an unknown name or language.
    """
    if name not in HELD_OUT:
        raise UserError(f"held-out set '{name}': there are {', '.join(HELD_OUT)}")
    _check_known("language", languages, LANGUAGES)
    seen: set[str] = set()
    asked: set[tuple[str, Parameters]] = set()
    tasks = []
    for family in FAMILIES if name == "functions" else COMPOSITIONS:
        for index in range(per_family):
            rng = Random(f"{name} {family.name} {index}")
            language, form = languages[index % len(languages)], FORMS[index // len(languages) % 2]
            for _ in range(_TRIES):  # avoid repeated parameters while there are new ones
                task = _draw(rng, family, language, form, seen, held_out=True)
                if (family.name, task.parameters) not in asked:
                    break
            asked.add((family.name, task.parameters))
            tasks.append(task)
    return tasks


def is_held_out(task: Task) -> bool:
    """Whether no training task has this family and these parameters."""
    families = {family.name: family for family in FAMILIES}
    return task.family not in families or families[task.family].is_held_out(task.parameters)


def _draw(rng: Random, family: Family, language: str, form: str, seen: set[str], held_out: bool) -> Task:
    for _ in range(_TRIES):
        parameters = family.draw(rng)
        if family not in COMPOSITIONS and family.is_held_out(parameters) != held_out:
            continue
        x = rng.choice(ARGUMENTS[family.argument])
        name = _function_name(rng, family)
        prompt = _prompt(rng, form, language, name, x, family.describe(rng, language, x, parameters))
        key = normalise(prompt)
        if key in seen:
            continue
        seen.add(key)
        solution = f"def {name}({x}):\n{indent(family.body(x, *parameters), '    ')}\n"
        test = check_text(family, parameters)
        run_check(solution, name, test)
        return Task(family.name, form, language, prompt, name, solution, test, parameters)
    raise UserError(f"tasks of family {family.name}: no further one with a new prompt; ask for fewer")


def _function_name(rng: Random, family: Family) -> str:
    if rng.random() < _PLAIN_NAMES_SHARE:
        return rng.choice(PLAIN_NAMES)
    return f"{rng.choice(family.verbs)}_{rng.choice(NOUNS[family.argument])}"


def _prompt(rng: Random, form: str, language: str, name: str, x: str, what: str) -> str:
    if form == "docstring":
        doc = rng.choice(DOCSTRINGS[language]).format(what=what)
        return rng.choice(LAYOUTS).format(name=name, x=x, doc=spaced(doc))
    return spaced(rng.choice(REQUESTS[language]).format(name=name, x=x, what=what))


def _check_known(what: str, values: Sequence[str], there_are: Sequence[str]) -> None:
    for value in values or ("",):
        if value not in there_are:
            raise UserError(f"{what} '{value}' of the embedded tasks: there are {', '.join(there_are)}")
