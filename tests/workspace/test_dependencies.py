"""Every dependency is declared where it is used, used where it is declared, and pinned."""

import importlib.metadata
import re
import sys
import sysconfig
import tomllib

OURS = {"qwen-suite", "qwen-base", "code-qwen", "math-qwen", "qwen-chat", "qwen-shared"}


def test_declared_is_imported_and_imported_is_declared(members):
    distributions = importlib.metadata.packages_distributions()  # import name → distributions
    distributions |= {member.package.name: [member.project["name"]] for member in members}
    wrong = []
    for member in members:
        declared = {_name(requirement) for requirement in member.project["dependencies"]}
        imported: dict[str, str] = {}
        for path, module in member.imports():
            top = module.partition(".")[0]
            if top == member.package.name or top in sys.stdlib_module_names:
                continue
            if (path.parent / f"{top}.py").is_file():  # of a file that is started by itself: its neighbour
                continue
            providers = {_name(d) for d in distributions.get(top, [])} or {f"(not installed: {top})"}
            # A namespace has several providers; any declared one will do.
            for provider in providers & declared or providers:
                imported.setdefault(provider, str(path))
        wrong += [f"{member} declares {name} and never imports it" for name in declared - imported.keys()]
        wrong += [f"{member} does not declare {n}, imported in {imported[n]}" for n in imported.keys() - declared]
    assert not wrong


def test_every_member_needs_the_python_of_the_workspace(members, root):
    wanted = _pyproject(root)["project"]["requires-python"]
    assert {member.project["requires-python"] for member in members} == {wanted}


def test_what_is_installed_is_what_is_pinned(root):
    pins = dict(pin.split("==") for pin in _pins(root))
    site = sysconfig.get_path("purelib")  # not sys.path: setuptools adds what it carries inside
    installed = {_name(d.metadata["Name"]): d.version for d in importlib.metadata.distributions(path=[site])}
    unpinned = {name: version for name, version in installed.items() if name not in OURS and pins.get(name) != version}
    assert not unpinned, "scripts/pin.py writes the pins, `uv sync` installs them"


def test_pins_are_names_and_versions_only(root):
    for pin in _pins(root):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9A-Za-z.+]*", pin)


def _pins(root):
    pins = _pyproject(root)["tool"]["uv"]["constraint-dependencies"]
    assert pins
    return [pin.partition(" ;")[0] for pin in pins]


def _pyproject(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def _name(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")
