"""The keys of a recipe, for error messages and `--keys`."""

from __future__ import annotations

import difflib
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

# Other usual names; they come before similar spellings.
_ALIASES = {
    "learning_rate": "optimizer.lr",
    "max_lr": "optimizer.lr",
    "max_steps": "training.steps",
    "train_iters": "training.steps",
    "iterations": "training.steps",
    "batch_size": "training.global_batch_size",
    "gbs": "training.global_batch_size",
    "mbs": "training.micro_batch_size",
    "max_length": "data.seq_length",
    "context_length": "data.seq_length",
    "n_layers": "model.num_layers",
    "n_heads": "model.num_attention_heads",
    "intermediate_size": "model.ffn_hidden_size",
    "rope_theta": "model.rope_base",
    "vocab_size": "model.padded_vocab_size",
    "dtype": "training.precision",
    "save_interval": "checkpoint.interval",
    "eval_interval": "evaluation.interval",
    "tp": "parallel.tensor_parallel",
    "pp": "parallel.pipeline_parallel",
    "warmup": "schedule.warmup_steps",
}


def leaf_fields(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted key, field) of every value; a list of sections yields itself and its items' keys."""
    for name, field in schema.model_fields.items():
        inner = inner_section(field.annotation)
        if inner is None or _is_list(field.annotation):
            yield prefix + name, field
        if inner is not None:
            yield from leaf_fields(inner, f"{prefix}{name}{'.N' if _is_list(field.annotation) else ''}.")


def leaf_keys(schema: type[BaseModel]) -> list[str]:
    """Every dotted key; `N` stands for a list index."""
    return [key for key, _ in leaf_fields(schema)]


def field_at(schema: type[BaseModel], path: list[str]) -> FieldInfo | None:
    """The path may contain list indices."""
    section: type[BaseModel] | None = schema
    field = None
    for part in path:
        if whole_number(part) is not None and field is not None and _is_list(field.annotation):
            continue
        if section is None or part not in section.model_fields:
            return None
        field = section.model_fields[part]
        section = inner_section(field.annotation)
    return field


def is_text(field: FieldInfo | None) -> bool:
    """Whether a field takes text as typed: `name=007` is text, not a number."""
    if field is None:
        return False
    options = [o for o in _options(field.annotation) if o is not type(None)]
    return all(o is str or (get_origin(o) is Literal and isinstance(get_args(o)[0], str)) for o in options)


def whole_number(text: str) -> int | None:
    """The number if `text` is at most 18 ASCII digits, else None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word most likely meant: by alias, by the dotted key, or by its last part."""
    words = list(valid)
    tail = word.rpartition(".")[2]
    if _ALIASES.get(tail) in words:
        return _ALIASES[tail]
    # The right last part in a wrong or missing section: `lr` for `optimizer.lr`.
    same_tail = [w for w in words if w.rpartition(".")[2] == tail]
    if same_tail:
        return (difflib.get_close_matches(word, same_tail, n=1, cutoff=0.0) or same_tail)[0]
    if close := difflib.get_close_matches(word, words, n=1, cutoff=0.72):
        return close[0]
    by_tail = {w.rpartition(".")[2]: w for w in reversed(words)}
    if close := difflib.get_close_matches(tail, by_tail, n=1, cutoff=0.6):
        return by_tail[close[0]]
    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=0.3)), None)


def print_keys(schema: type[BaseModel]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("key", no_wrap=True)
    for title in ("type", "default", "meaning"):
        table.add_column(title)
    for key, field in leaf_fields(schema):
        default = "(required)" if field.is_required() else _show(field.default)
        table.add_row(key, _type_name(field), default, field.description or "")
    # If stdout is not a terminal, its width must not cut words.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 180).print(table)


def inner_section(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation is or contains."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = inner_section(argument)
        if found is not None:
            return found
    return None


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list


def _options(annotation: Any) -> tuple:
    """Members of a union, without `Annotated`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(option for part in get_args(annotation) for option in _options(part))
    if hasattr(annotation, "__metadata__"):
        return _options(get_args(annotation)[0])
    return (annotation,)


def _type_name(field: FieldInfo) -> str:
    names = []
    for option in _options(field.annotation):
        if get_origin(option) is Literal:
            names += [str(word) for word in get_args(option)]
        elif _is_list(option):
            item = _options(get_args(option)[0])[0]
            names.append(f"list of {'sources' if inner_section(item) else item.__name__}")
        elif option is not type(None):
            names.append({int: "int", float: "float", str: "text", bool: "true | false"}.get(option, str(option)))
    return " | ".join(names)


def _show(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:_}" if isinstance(value, int) and not isinstance(value, bool) and value > 9999 else str(value)
