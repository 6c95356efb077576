"""Kinds of runs are their packages' own: shared names none of them, nor a package."""

import importlib
import re
from importlib.metadata import entry_points

from qwen_shared.cli import Verb
from qwen_shared.family.cli import RECIPES
from qwen_shared.family.schema import Family
from qwen_shared.recipe import load_recipe


def kinds_of(member):
    (point,) = [p for p in entry_points(group="qwen.kinds") if p.value.startswith(f"{member.package.name}.")]
    return {kind.name for kind in point.load()}


def test_shared_names_no_package_and_no_kind(members):
    packages = [member for member in members if member.package.name != "qwen_shared"]
    names = [name for m in packages for name in (m.package.name, m.project["name"], *kinds_of(m))]
    pattern = re.compile(rf"(?<![\w-])({'|'.join(names)})(?!\w)|endswith\(.-(pretrain|sft)")
    (shared,) = [member for member in members if member.package.name == "qwen_shared"]
    for path in shared.package.rglob("*"):
        if path.suffix in (".py", ".jinja", ".css"):
            found = pattern.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path} names {found[0]}"


def test_every_verb_s_runs_have_a_kind(members):
    for member in members:
        if member.package.name != "qwen_shared":
            verbs = importlib.import_module(f"{member.package.name}.cli").VERBS
            assert {verb.kind for verb in verbs if isinstance(verb, Verb)} == kinds_of(member)


def test_a_family_s_stages_have_a_kind(members):
    known = {name for member in members if member.package.name != "qwen_shared" for name in kinds_of(member)}
    for path in RECIPES.glob("*.yaml"):
        assert {stage.kind for stage in load_recipe(Family, path.stem, [], RECIPES).stages} <= known
