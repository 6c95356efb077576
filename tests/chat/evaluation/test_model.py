"""How models are spoken to: runs as their recipes say, others by defaults, overrides before all."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from qwen_chat.cli import RECIPES, VERBS
from qwen_chat.evaluation import model as models
from qwen_chat.evaluation.model import asked, other
from qwen_chat.recipe import ChatSftRecipe
from qwen_shared.errors import UserError
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.recipe import load_recipe
from qwen_shared.run import Manifest, Parent

TINY = EvaluationSettings(interval=5, max_new_tokens=96, temperature=0.0)


@pytest.fixture
def run(tmp_path):
    """Makes a run of a kind with some recipe."""

    def make(kind, recipe="data: {system: Hm}"):
        directory = tmp_path / kind
        directory.mkdir()
        (directory / "recipe.yaml").write_text(f"name: small\ntokenizer: default\n{recipe}\n")
        Manifest.create("x", kind, "small").write(directory)
        return directory

    return make


def invocation(from_model=None, run_dir="runs/chat-sft/tiny", overrides=(), **evaluation):
    recipe = SimpleNamespace(
        data=SimpleNamespace(system=""), evaluation=TINY.model_copy(update=evaluation), tasks=["dialogues"]
    )
    from_model = str(from_model) if from_model else None
    return SimpleNamespace(recipe=recipe, from_model=from_model, run_dir=Path(run_dir), overrides=list(overrides))


def test_an_sft_run_is_asked_by_its_own_recipe(run):
    directory = run("chat-sft")
    found = asked(invocation(directory, directory))
    assert (found.system, found.settings, found.kind) == ("", TINY, "chat-sft")
    assert found.kept_in and found.label == "chat-sft-chat-sft"


def test_a_ppo_run_is_asked_as_in_training(run):
    directory = run("chat-ppo", "data: {system: Hm}\ngeneration: {max_new_tokens: 77}")
    found = asked(invocation(f"{directory}@5", directory))
    assert (found.system, found.settings.max_new_tokens, found.step) == ("Hm", 77, 5)
    assert found.settings.samples == 1 and found.kept_in and found.label == "chat-ppo-chat-ppo-5"


def test_a_ppo_run_has_the_temperature_of_its_start(run):
    start = run("chat-sft", "data: {}\nevaluation: {temperature: 0.25}")
    directory = run("chat-ppo", "data: {}\nevaluation: {interval: 5}")
    assert asked(invocation(directory, directory)).settings.temperature == 0.8
    manifest = Manifest.read(directory)
    manifest.parent = Parent(run=str(start))
    manifest.write(directory)
    assert asked(invocation(directory, directory)).settings.temperature == 0.25


def test_a_model_from_elsewhere_is_asked_as_the_verb_says(tmp_path):
    found = asked(invocation(tmp_path))
    assert (found.system, found.settings, found.run_dir) == ("", TINY, None)
    assert not found.kept_in and found.label == tmp_path.name


@pytest.mark.parametrize("name", ["evaluate", "talk"])
def test_the_tiny_recipe_does_not_say_how_others_are_asked(name):
    verb = next(verb for verb in VERBS if verb.name == name)
    recipe = load_recipe(ChatSftRecipe, "tiny", [], RECIPES / verb.recipes, verb.own_keys)
    assert (recipe.data.system, recipe.evaluation.max_new_tokens) == (None, 512)


def test_overrides_go_before_all(run):
    directory = run("chat-ppo", "data: {}\ngeneration: {max_new_tokens: 77}")
    found = asked(invocation(directory, directory, overrides=["evaluation.limit=3"], limit=3))
    assert (found.system, found.settings.max_new_tokens, found.settings.limit) == (None, 77, 3)
    overrides = ["evaluation.max_new_tokens=7", "data.system="]
    found = asked(invocation(directory, directory, overrides=overrides, max_new_tokens=7))
    assert (found.system, found.settings.max_new_tokens, found.settings.temperature) == ("", 7, 0.8)


def test_another_model_is_asked_the_same_with_its_own_system_turn(tmp_path, run):
    ours = asked(invocation(tmp_path))
    theirs = other(str(run("chat-sft")), ours, [])
    assert (theirs.system, theirs.settings, theirs.kind) == ("Hm", ours.settings, "chat-sft")
    assert other("org/name", ours, []).system is None
    assert other(str(theirs.run_dir), ours, ["data.system=x"]).system == ours.system
    with pytest.raises(UserError, match="only runs have steps"):
        other(f"{tmp_path}@3", ours, [])


def test_a_base_run_has_no_system_turn_and_keeps_no_results(run):
    directory = run("base-pretrain", "data: {seq_length: 64}")
    found = asked(invocation(directory, directory))
    assert found.system is None and found.kept_in is None


def test_a_ppo_run_without_an_export_is_told(run):
    directory = run("chat-ppo")
    with pytest.raises(UserError, match="has not been exported"):
        asked(invocation(directory, directory)).directory()
    (directory / "export").mkdir()
    (directory / "export" / "config.json").write_text("{}")
    (directory / "export" / "certificate.json").write_text('{"step": 9}')
    assert asked(invocation(directory, directory)).directory() == directory / "export"
    assert models.kind_of(directory) == "chat-ppo"
