"""README.md and docs/ against the code: every metric has its line, every command, key, file and link is right."""

import ast
import importlib
import re
import shlex
from collections import defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from glossary import explained_names, pattern, unexplained

from qwen_shared.cli import Tool, Verb
from qwen_shared.cli.parser import RENAMED_FLAGS, parse_tool, parse_verb
from qwen_shared.errors import UserError
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Conditions
from qwen_shared.family.schema import Family
from qwen_shared.launch.slurm import SlurmSettings
from qwen_shared.recipe import check_layout, load_recipe
from qwen_shared.recipe.keys import field_at, leaf_keys
from qwen_shared.recipe.load import RENAMED

ROOT = Path(__file__).parents[2]
DOCS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "packages/*/README.md", "benchmarks/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # it speaks of old names, too
)
MODEL = "model={num_layers: 2, hidden_size: 64, num_attention_heads: 8, ffn_hidden_size: 64}"
LOGGED = re.compile(r"(train|val|ppo|time|data|guards|export)/[a-z0-9_@]+")
SHARED = ROOT / "shared" / "src" / "qwen_shared"
SUFFIXES = ("py", "md", "yaml", "json", "jsonl", "html", "txt")  # a file, no recipe key
READERS = ("report", "publish")  # rooms that read metrics and log none


@pytest.fixture(scope="module")
def commands(members):
    """command → (its verbs and tools, its folder of recipes)."""
    found = {}
    for member in members:
        for name in member.project.get("scripts", {}):
            if name != "qwen-family":
                cli = importlib.import_module(f"{member.package.name}.cli")
                found[name] = ({verb.name: verb for verb in cli.VERBS}, cli.RECIPES)
    return found


# ---- metrics and results


@pytest.fixture(scope="module")
def written(members):
    """Strings in the source by room: names of metrics among them, and templates of names with `*`."""
    rooms = defaultdict(set)
    for member in members:
        for path in member.package.rglob("*.py"):
            room = path.relative_to(member.package).parts[0]
            if room not in READERS:
                rooms[member.package / room] |= set(_strings(path))
    return rooms


def _strings(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)


@pytest.fixture(scope="module")
def declared(commands):
    """Names of results that the verbs declare for every recipe; `*` is what only the data tell."""
    found = set()
    for verbs, recipes in commands.values():
        for verb in verbs.values():
            if isinstance(verb, Verb) and verb.results:
                for path in sorted((recipes / verb.recipes).glob("*.yaml")):
                    found.update(verb.results(_load(verb, path, [])))
                    if "tasks" in verb.schema.model_fields:  # several answers to a problem have more metrics
                        drawn = ["evaluation.samples=4", "evaluation.temperature=0.5"]
                        found.update(verb.results(_load(verb, path, drawn)))
    return found


def _load(verb, path, overrides):
    """A recipe, with a model and data if it leaves them to its user."""
    text = path.read_text(encoding="utf-8")
    given = [] if "sources:" in text else ["data.sources=stdlib"]
    if "stage: both" in text:
        given.append("data.pmp_sources=stdlib")
    if verb.default_parent:
        given.append(MODEL)
    return load_recipe(verb.schema, str(path), [*given, *overrides], path.parent)


def test_every_logged_name_has_a_line(written):
    names = {text for texts in written.values() for text in texts if LOGGED.fullmatch(text)} - {
        "val/samples"
    }  # a table
    assert len(names) > 30
    assert unexplained(names) == []


def test_every_result_has_a_line(declared):
    shown = {name.replace("*", "some") for name in declared}
    assert len(shown) > 100
    assert unexplained(shown) == []


def test_every_line_has_a_name(written, declared):
    assert [name for name in explained_names() if not _is_logged(name, written, declared)] == []


def _is_logged(explained, written, declared) -> bool:
    """A verb declares it, or a room's source has it: whole, or as a template that fits and a word for its last part."""
    wanted = pattern(explained)
    example = re.sub(r"\b(NAME|TASK|GROUP|MODEL|K)(?=\b|_)", "some", explained).replace("…", "some")
    last = example.rpartition("/")[2]
    if any(wanted.fullmatch(name.replace("*", "some")) for name in declared):
        return True
    for texts in written.values():
        templates = [text for text in texts if re.match(r"\w+/.*\*", text) and fnmatchcase(example, text)]
        ends = [text for text in texts if "*" in text and "/" not in text and text.strip("*")]
        known_end = last in texts | {"some"} or any(fnmatchcase(last, end) for end in ends)
        if any(wanted.fullmatch(text) for text in texts) or (templates and known_end):
            return True
    return False


# ---- commands


def _texts():
    return {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in DOCS}


def _shell_lines():
    """(file, words) of every command in a block of shell."""
    for path, text in _texts().items():
        for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield path, words[2:] if words[:2] == ["uv", "run"] else words


def test_every_command_is_one(commands):
    seen = 0
    for path, words in _shell_lines():
        command, *rest = words
        try:
            if command in commands:
                _check_command(command, *commands[command], rest)
                seen += 1
            elif command == "torchrun":
                package = rest[rest.index("-m") + 1].replace("_", "-")
                _check_command(package, *commands[package], rest[rest.index("-m") + 2 :])
            elif command.startswith(("benchmarks/", "scripts/")):
                assert (ROOT / command).is_file()
        except (UserError, AssertionError, ValueError) as error:
            pytest.fail(f"{path}: {' '.join(words)}: {error!r}")
    assert seen > 40


def _check_command(command, verbs, recipes, words):
    assert words and words[0] in verbs, f"verbs: {', '.join(verbs)}"
    verb = verbs[words[0]]
    if isinstance(verb, Tool):
        parse_tool(f"{command} {verb.name}", verb, words[1:])
        return
    folder = recipes / verb.recipes
    args = parse_verb(f"{command} {verb.name}", verb, folder, "tiny", words[1:])
    named = folder / f"{args.config or 'tiny'}.yaml"
    recipe = _load(verb, named if named.is_file() else folder / "tiny.yaml", args.overrides)
    if named.is_file() and not verb.reads_run:
        check_layout(recipe, int(args.nodes or 1) * int(args.nproc or 1))


def test_every_python_block_imports_what_is_there():
    for path, block in _python_blocks():
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert [name.name for name in node.names if not hasattr(module, name.name)] == [], path


def test_what_extending_shows_works(tmp_path):
    found = {}
    for path, block in _python_blocks():
        if path.name == "extending.md":
            exec(compile(block, str(path), "exec"), found)
    assert found["short"]([], ["brief", "long" * 40]) == [1.0, 0.0]
    (tmp_path / "mmlu.jsonl").write_text(
        '{"question": "1 + 1?", "choices": [1, 2, 3, 4], "answer": 1, "subject": "sums"}\n'
    )
    task = found["MMLU"].at(str(tmp_path / "mmlu.jsonl"))
    (item,) = task.items(Conditions(EvaluationSettings(interval=1)))
    assert (item.question, item.gold, item.groups) == (
        "1 + 1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:",
        1,
        {"subject": "sums"},
    )


def _python_blocks():
    for path, text in _texts().items():
        for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            yield path, block


def test_every_verb_in_the_text_is_one(commands):
    for path, text in _texts().items():
        for command, verb in re.findall(r"`(?:uv run )?([a-z]+-[a-z]+) ([a-z]+)\b[^`]*`", text):
            if command in commands:
                assert verb in commands[command][0], f"{path}: `{command} {verb}`"


# ---- recipe keys, files, links


def test_every_key_in_the_text_is_one(commands):
    schemas = [verb.schema for verbs, _ in commands.values() for verb in verbs.values() if isinstance(verb, Verb)]
    schemas += [Family, SlurmSettings]
    sections = {key.partition(".")[0] for schema in schemas for key in leaf_keys(schema) if "." in key}
    wrong = []
    for path, text in _texts().items():
        for key in re.findall(r"`([a-z_]+(?:\.[a-z_0-9]+)+)(?:=[^`]*|\.\*)?`", text):
            first, last = key.partition(".")[0], key.rpartition(".")[2]
            if first not in sections or last in SUFFIXES or _is_module(key):
                continue
            if not any(field_at(schema, key.split(".")) for schema in schemas):
                wrong.append(f"{path}: {key}")
    assert wrong == []


def test_the_changelog_names_every_renamed_key_and_flag():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [name for pair in (RENAMED | RENAMED_FLAGS).items() for name in pair if f"`{name}`" not in text] == []


def _is_module(name):
    """`training.loop`, or what is in it, `training.loop.train`."""
    room, file, *_ = name.split(".")
    return (SHARED / room / f"{file}.py").is_file()


def test_every_file_in_the_text_is_there():
    """Names of files in the repository: from its root, from the source of `shared`, or of a package."""
    wrong = []
    for path, text in _texts().items():
        for name in re.findall(
            r"`([\w./-]+/[\w.-]*\.(?:py|yaml|md|svg)|(?:shared|packages|tests|docs)/[\w./-]+)`", text
        ):
            places = (ROOT, SHARED, SHARED.parent, ROOT / path.parent, *ROOT.glob("packages/*/src/*"))
            if not any((place / name).exists() for place in places):
                wrong.append(f"{path}: {name}")
    assert wrong == []


def test_every_link_leads_somewhere():
    wrong = []
    for path, text in _texts().items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            file, _, anchor = link.partition("#")
            if re.match(r"\w+:", link):
                continue
            target = (ROOT / path.parent / file) if file else ROOT / path
            if not target.exists() or (anchor and anchor not in _anchors(target)):
                wrong.append(f"{path}: {link}")
    assert wrong == []


def _anchors(path):
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_names_every_document():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in ROOT.glob("docs/*.md") if f"docs/{path.name}" not in readme] == []
