"""From `--config NAME|FILE key=value …` to a checked recipe, or a one-line error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from qwen_shared.errors import UserError
from qwen_shared.recipe.keys import field_at, inner_section, is_text, leaf_fields, leaf_keys, nearest, whole_number
from qwen_shared.recipe.yaml_text import dump_yaml, parse_yaml

_TOKENIZERS = ("default", "dashscope")

# Old → new. An old key is refused, except in a run's stored recipe.
RENAMED = {
    "data.validation_share": "data.validation_fraction",
    "model.vocab_rows": "model.padded_vocab_size",
    "data.fill_in_middle.rate": "data.fim_rate",
    "data.fill_in_middle.spm_share": "data.fim_spm_rate",
    "data.filters.near_duplicates": "data.filters.near_duplicate_threshold",
}


def load_recipe[R: BaseModel](
    schema: type[R], config: str, overrides: list[str], recipes: Path, defaults: tuple[str, ...] = ()
) -> R:
    """The validated recipe `config` (a name in `recipes` or a YAML file) with `key=value` overrides. Keys with a prefix
    in `defaults` take the schema's default, if it has one, instead of the file's value.

    Raises UserError with the key, its value and the nearest valid key.
    """
    return validate(schema, _tree(schema, config, overrides, recipes, defaults), f"recipe {config}")


def recipe_name(schema: type[BaseModel], config: str, overrides: list[str], recipes: Path) -> str:
    """The name of a recipe that may be incomplete, to locate its run."""
    name = _tree(schema, config, overrides, recipes).get("name")
    if not isinstance(name, str):
        raise UserError(f"recipe {config}: name={_short(name)}: expected text")
    return name


def raw_section(schema: type[BaseModel], config: str, recipes: Path, key: str) -> dict[str, Any]:
    """A section of the recipe's file, unchecked, without defaults."""
    section = _tree(schema, config, [], recipes).get(key)
    return section if isinstance(section, dict) else {}


def load_settings[S: BaseModel](schema: type[S], values: Iterable[str], flag: str) -> S:
    """Settings from values of `flag`, each a YAML file or key=value; later ones override. Raises UserError."""
    tree: dict = {}
    for value in values:
        if "=" in value:
            _apply(tree, value, schema)
            continue
        read = parse_yaml(_read(Path(value), f"{flag} {value}"), f"{flag} {value}") or {}
        if not isinstance(read, dict):
            raise UserError(f"{flag} {value}: expected keys and values, found {_kind(read)}")
        tree |= read
    return validate(schema, tree, flag)


def _tree(
    schema: type[BaseModel], config: str, overrides: list[str], recipes: Path, defaults: tuple[str, ...] = ()
) -> dict:
    tree = _read_tree(find_config(config, recipes), f"recipe {config}")
    for key, field in leaf_fields(schema):
        if key.startswith(defaults) and not field.is_required():
            _forget(tree, key.split("."))
    for override in overrides:
        _apply(tree, override, schema)
    return tree


def _read_tree(path: Path, where: str) -> dict[str, Any]:
    tree = parse_yaml(_read(path, where), where)
    if tree is None:
        raise UserError(f"{where}: the file is empty")
    if not isinstance(tree, dict):
        raise UserError(f"{where}: expected keys and values, found {_kind(tree)}")
    return tree


def read_stored(path: Path) -> dict[str, Any]:
    """A run's stored recipe as data, with the new names of renamed keys. Raises UserError."""
    tree = _read_tree(path, f"recipe {path}")
    for old, new in RENAMED.items():
        *sections, key = old.split(".")
        if (node := _section(tree, sections)) and key in node:
            section, _, new_key = new.rpartition(".")
            target = _section(tree, section.split("."))
            assert target is not None, "a key moves within its section, or to the section above"
            target[new_key] = node.pop(key)
            if not node:  # all its keys have moved
                _forget(tree, sections)
    return tree


def validate_with[R: BaseModel](schema: type[R], tree: dict[str, Any], overrides: Iterable[str], where: str) -> R:
    """The recipe `tree` with `key=value` overrides. Raises UserError."""
    for override in overrides:
        _apply(tree, override, schema)
    return validate(schema, tree, where)


def find_config(config: str, recipes: Path) -> Path:
    path = Path(config)
    if path.suffix in (".yaml", ".yml") or "/" in config:
        if not path.is_file():
            raise UserError(f"--config {config}: {'a directory, not a file' if path.is_dir() else 'no such file'}")
        return path
    names = sorted(p.stem for p in recipes.glob("*.yaml"))
    if config not in names:
        raise UserError(f"--config {config}: no such recipe{_hint(config, names)} (there are: {', '.join(names)})")
    return recipes / f"{config}.yaml"


def validate[R: BaseModel](schema: type[R], tree: dict, where: str) -> R:
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(schema, error)}") from None


def recipe_text(recipe: BaseModel) -> str:
    return dump_yaml(recipe.model_dump(mode="json"))


def differing_keys(old: BaseModel, new: BaseModel) -> list[tuple[str, Any, Any]]:
    """(dotted key, old value, new value) of every difference."""
    a, b = flatten(old.model_dump()), flatten(new.model_dump())
    return [(key, a.get(key), b.get(key)) for key in [*b, *(a.keys() - b.keys())] if a.get(key) != b.get(key)]


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Dotted key → value; items of lists of sections by index."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(i): item for i, item in enumerate(value)}
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UserError(f"{where}: {error.strerror}") from None


def _apply(tree: dict, override: str, schema: type[BaseModel]) -> None:
    """Sets one dotted key; a number indexes a list: `data.sources.0.weight=2`."""
    key, equals, text = override.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key:
        raise UserError(f"'{override}' is neither a flag nor key=value{_hint(key or override, leaf_keys(schema))}")
    path = key.split(".")
    field = field_at(schema, path)
    if field is None:
        raise UserError(f"unknown key '{key}' (={_short(text)}){_key_hint(key, schema)}")
    value = text if is_text(field) and not _is_quoted(text) else parse_yaml(text, f"{key}={_short(text)}")
    if inner_section(field.annotation) is not None and value is None and type(None) not in get_args(field.annotation):
        raise UserError(f"{key}= is empty: a section needs its keys, for example {key}.…=VALUE")
    node: Any = tree
    for i, part in enumerate(path[:-1]):
        here = ".".join(path[: i + 1])
        if isinstance(node, list):
            node = node[_index(node, part, key)]
        else:
            if node.get(part) is None:
                node[part] = {}
            if _holds_sources(schema, path[: i + 1]):
                node[part] = _sources_in_full(node[part])
            node = node[part]
        if not isinstance(node, dict | list):
            raise UserError(f"{override}: '{here}' is a value, it has no keys below it")
    if isinstance(node, list):
        node[_index(node, path[-1], key)] = value
    else:
        node[path[-1]] = value


def _section(tree: dict[str, Any], path: list[str]) -> dict[str, Any] | None:
    node: Any = tree
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def _forget(tree: dict[str, Any], path: list[str]) -> None:
    if (node := _section(tree, path[:-1])) is not None:
        node.pop(path[-1], None)


def _holds_sources(schema: type[BaseModel], path: list[str]) -> bool:
    field = field_at(schema, path)
    section = inner_section(field.annotation) if field else None
    return section is not None and "path" in section.model_fields and whole_number(path[-1]) is None


def _sources_in_full(sources: Any) -> list:
    """Sources as sections instead of paths."""
    items = sources if isinstance(sources, list) else [sources] if sources else []
    return [{"path": item} if isinstance(item, str) else item for item in items]


def _is_quoted(text: str) -> bool:
    """Whether a text key's value is YAML: "quoted", or null."""
    return text[:1] in ("'", '"') or text in ("null", "~")


def _index(items: list, part: str, key: str) -> int:
    index = whole_number(part)
    if index is None or index >= len(items):
        raise UserError(f"{key}: '{part}' is not an index into a list of {len(items)} (the first is 0)")
    return index


# ---- messages

_EXPECTED = {
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "int_parsing_size": "too large",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "string_type": "expected text (in quotes if it looks like another type)",
    "string_too_short": "must not be empty",
    "list_type": "expected a list, [a, b]",
    "model_type": "expected a section, {key: value}",
    "model_attributes_type": "expected a section, {key: value}",
    "dict_type": "expected a section, {key: value}",
    "too_short": "the list is empty",
}


def _explain(schema: type[BaseModel], error: ValidationError) -> str:
    """One line for one problem; a misspelt key comes before a missing one."""
    problems = error.errors(include_url=False)
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    also = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    key, value, kind = ".".join(str(part) for part in problem["loc"]), problem["input"], problem["type"]
    if kind == "extra_forbidden":
        return f"unknown key '{key}' (={_short(value)}){_key_hint(key, schema, value)}{also}"
    if kind == "missing":
        return f"key '{key}' is missing{also}"
    if kind == "value_error":  # from our own check of a value or a section
        message = problem["msg"].removeprefix("Value error, ")
        if isinstance(value, dict | BaseModel):
            return f"{key + ': ' if key else ''}{message}{also}"
        return f"{key}={_short(value)}: {message}{also}"
    if kind == "literal_error":
        valid = [word.strip("'") for word in re.split(r", | or ", problem["ctx"]["expected"])]
        return f"{key}={_short(value)}: expected {', '.join(valid)}{_hint(str(value), valid)}{also}"
    if kind == "string_pattern_mismatch":
        return f"{key}={_short(value)}: only letters, digits, '.', '_' and '-', beginning with a letter or digit{also}"
    message = _EXPECTED.get(kind) or problem["msg"][0].lower() + problem["msg"][1:].replace("input should", "must")
    if message.startswith("input should"):
        message = "must" + message.removeprefix("input should")
    return f"{key}={_short(value)}: {message}{also}"


def _key_hint(key: str, schema: type[BaseModel], value: Any = None) -> str:
    """The new name of a renamed key, else the nearest key, with the user's list indices."""
    if renamed := _new_names(key, schema, value):
        return "; renamed: " + ", ".join(f"'{old}' is now '{new}'" for old, new in renamed.items())
    indices = re.findall(r"\.(\d+)(?=\.|$)", key)
    near = nearest(re.sub(r"\.\d+(?=\.|$)", ".N", key), leaf_keys(schema))
    if near is None:
        return "; --keys lists the valid ones"
    for index in indices:
        near = near.replace(".N", f".{index}", 1)
    return f"; nearest valid key: '{near.replace('.N', '.0')}'"


def _new_names(key: str, schema: type[BaseModel], value: Any = None) -> dict[str, str]:
    """Old → new of a renamed key, or of a removed section's keys: those in `value`, else all.

    The schema may be one section (see `load_settings`), whose keys lack the section's name.
    """
    known, found = set(leaf_keys(schema)), {}
    for old, new in RENAMED.items():
        while new not in known and "." in new and old.partition(".")[0] == new.partition(".")[0]:
            old, new = old.partition(".")[2], new.partition(".")[2]
        if new in known and (old == key or old.startswith(f"{key}.")):
            found[old] = new
    given = {f"{key}.{name}" for name in flatten(value)} if isinstance(value, dict) else set()
    return {old: new for old, new in found.items() if old in given} or found


def _hint(word: str, valid: list[str]) -> str:
    near = nearest(word, valid)
    return f"; nearest: '{near}'" if near and near != word else ""


def _kind(value: Any) -> str:
    return {"list": "a list", "str": "text"}.get(type(value).__name__, "a single value")


def _short(value: Any) -> str:
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_tokenizer(tokenizer: str) -> None:
    """Raises UserError unless `tokenizer` is a known name or an existing path."""
    if tokenizer in _TOKENIZERS or Path(tokenizer).exists():
        return
    near = nearest(tokenizer, _TOKENIZERS)
    raise UserError(
        f"tokenizer={tokenizer}: no such file or directory; the names are {' and '.join(_TOKENIZERS)}"
        + (f"; nearest: '{near}'" if near else "")
    )
