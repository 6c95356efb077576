"""What the packages' verb `sft` has in common."""

import json
from types import SimpleNamespace

import pytest

from qwen_shared.cli import sft_verb
from qwen_shared.cli.sft_verb import generated_source, plan_sft
from qwen_shared.data import Meter
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Section


class Settings(Section):
    languages: list[str]


@pytest.fixture
def generator(tmp_path):
    """Stands for a package that makes examples: two to train on, and one of each held-out set in each language."""
    (tmp_path / "__init__.py").write_text("")
    return SimpleNamespace(
        __file__=str(tmp_path / "__init__.py"),
        HELD_OUT=("a", "b"),
        held_out=lambda name, languages: [f"{name} {language}" for language in languages],
        messages=lambda one: [{"role": "user", "content": one}],
    )


def test_generated_conversations_are_on_their_side(generator):
    source = generated_source("made", generator, lambda: ["x", "y"], Settings(languages=["en", "zh"]), seed=1)
    found = [(json.loads(d.text)[0]["content"], d.held_out) for d in source["made"].read(Meter())]
    assert found == [("x", False), ("y", False), *((f"{n} {la}", True) for n in "ab" for la in ("en", "zh"))]


def test_settings_seed_and_code_decide_it(generator, tmp_path):
    def identity(language="en", seed=1):
        source = generated_source("made", generator, list, Settings(languages=[language]), seed)
        return source["made"].settings["conversations"]

    first = identity()
    assert identity() == first
    others = {identity("zh"), identity(seed=2)}
    (tmp_path / "more.py").write_text("x = 1\n")
    assert len({first, identity(), *others}) == 4


def test_a_plan_asks_whether_the_tasks_can_be_asked(monkeypatch):
    monkeypatch.setattr(sft_verb, "plan_run", lambda *_: "the plan")
    asked = []
    monkeypatch.setattr(sft_verb, "find_tasks", lambda names, settings: asked.append(names))

    def plan(**recipe) -> str:
        given = {"command": "toy sft", "layout": object(), "run_dir": None, "parent": None, "options": None}
        return plan_sft(SimpleNamespace(recipe=SimpleNamespace(evaluation=None, **recipe), **given))

    assert plan(tasks=[], export="none") == "the plan" and asked == []
    assert plan(tasks=["a"], export="final") == "the plan" and asked == [["a"]]
    with pytest.raises(UserError, match="export=none leaves no model to ask"):
        plan(tasks=["a"], export="none")
