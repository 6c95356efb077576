"""What code adds to the verb `evaluate`, and says of the sandbox."""

from argparse import ArgumentParser
from types import SimpleNamespace

import pytest
from stand_in import Always, ask

from code_qwen import sandbox
from code_qwen.cli import RECIPES, VERBS
from code_qwen.evaluation import command, tasks
from code_qwen.recipe import CodeEvaluation, CodeSftRecipe
from code_qwen.sandbox import Guarantee
from qwen_shared.cli import evaluate_verb
from qwen_shared.errors import UserError
from qwen_shared.generation.sampling import Completion
from qwen_shared.recipe import load_recipe

pytestmark = pytest.mark.heavy  # programs run in the sandbox


def test_without_isolation_it_refuses_if_it_must(monkeypatch):
    parser = ArgumentParser()
    command.isolation_option(parser)

    def refuse():
        raise UserError("this machine cannot isolate programs")

    monkeypatch.setattr(sandbox, "require_isolation", refuse)
    monkeypatch.setattr(evaluate_verb, "main", lambda invocation: pytest.fail("the model is looked for"))
    recipe = SimpleNamespace(tasks=["functions"])
    with pytest.raises(UserError, match="cannot isolate"):
        command.main(SimpleNamespace(options=parser.parse_args(["--require-isolation"]), recipe=recipe))


def test_what_the_machine_cannot_keep_a_program_from_is_said(monkeypatch, capsys):
    open_door = Guarantee("network", held=False, how="nothing stops it", needed=True)
    tasks.isolation_facts.cache_clear()
    monkeypatch.setattr(sandbox, "isolation", lambda: [open_door])
    model = Always(Completion([5], stopped=True))
    results = ask(model, ["functions", "compositions"], CodeEvaluation(interval=1, limit=1, timeout=5.0))
    tasks.isolation_facts.cache_clear()
    assert results["functions"].facts == {"isolation": {"network": None}}
    assert capsys.readouterr().out.count("does not guarantee network here: nothing stops it") == 1


def test_a_model_from_elsewhere_is_not_asked_as_our_tiny_ones_are():
    (verb,) = [verb for verb in VERBS if verb.name == "evaluate"]
    recipe = load_recipe(CodeSftRecipe, "tiny", [], RECIPES / "sft", verb.own_keys)
    assert recipe.data.system is None and recipe.evaluation.max_new_tokens == 512
