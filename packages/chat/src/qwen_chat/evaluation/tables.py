"""An evaluation's figures for people, in 80 columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from qwen_chat.evaluation.compare import MEASURES, Comparison, samples
from qwen_chat.evaluation.run import Result
from qwen_chat.evaluation.tasks import GROUPS
from qwen_shared.data.conversations import Messages
from qwen_shared.evaluation.results import figures_table, percent
from qwen_shared.terminal import escape_control_characters

_ROWS = 1000  # of a W&B table
_SHOWN = 4  # pairs of answers on the console
_LONGEST = 600  # characters of an answer there
_NAMES = {"right": "right answer"}

Columns = dict[str, Callable[[dict[str, float]], str]]


def table(results: dict[str, Result], title: str) -> Group:
    """Right and ended answers, preference score and reward; how long and how varied answers are; and by kind and
    language."""
    figures = {name: result.figures for name, result in results.items()}
    main: Columns = {
        "right": lambda f: percent(f["accuracy"]),
        "95 %": lambda f: f"{100 * f['accuracy_low']:.1f} … {100 * f['accuracy_high']:.1f}",
        "ended": lambda f: percent(f["ended"]),
        "preference": lambda f: f"{f['preference']:.2f} ± {f['preference_std']:.2f}",
        "reward": lambda f: f"{f['reward']:.2f} ± {f['reward_std']:.2f}",
        "problems": lambda f: f"{f['problems']:,}",
    }
    texts: Columns = {
        "tokens": lambda f: f"{f['tokens']:.1f}",
        "characters": lambda f: f"{f['characters']:.1f}",
        "distinct-1": lambda f: f"{f['distinct_1']:.3f}",
        "distinct-2": lambda f: f"{f['distinct_2']:.3f}",
        "repeated-4": lambda f: f"{f['repeated_4']:.3f}",
    }
    tables = [figures_table(figures, _known(main, figures), title), figures_table(figures, texts, None)]
    if groups := _by_group(results):
        shown: Columns = {
            "right": main["right"],
            "ended": main["ended"],
            "preference": lambda f: f"{f['preference']:.2f}",
            "reward": lambda f: f"{f['reward']:.2f}",
            "tokens": texts["tokens"],
            "problems": main["problems"],
        }
        tables.append(figures_table(groups, _known(shown, groups), None))
        tables[-1].columns[0].header = "of these"
    return Group(*tables)


def comparison_table(comparison: Comparison, title: str) -> Table:
    """Wins, ties and losses by each measure."""
    rows = {_NAMES.get(measure, measure): figures for measure, figures in comparison.figures.items()}
    columns: Columns = {
        "win": lambda f: f"{f['wins']:,}",
        "tie": lambda f: f"{f['ties']:,}",
        "loss": lambda f: f"{f['losses']:,}",
        "win rate": lambda f: percent(f["win_rate"]),
        "95 %": lambda f: f"{100 * f['win_rate_low']:.1f} … {100 * f['win_rate_high']:.1f}",
        "difference": lambda f: f"{f['difference']:+.3f}",
        "in std": lambda f: f"{f['difference_in_std']:+.2f}" if "difference_in_std" in f else "",
    }
    shown = figures_table(rows, columns, title)
    shown.columns[0].header = "better by"
    return shown


def side_by_side(comparison: Comparison, ours: str, theirs: str) -> Table:
    """A few pairs of answers, to be read."""
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_lines=True, expand=True)
    for column in ("prompt", ours, theirs):
        shown.add_column(Text(column), overflow="fold", ratio=1)
    for row in samples(comparison, _SHOWN):
        shown.add_row(_for_people(_last_words(row["prompt"])), _judged(row["ours"]), _judged(row["theirs"]))
    return shown


def answer_rows(result: Result) -> list[dict[str, Any]]:
    """The first answers, for a W&B table: the prompt as text."""
    return [row | {"prompt": _as_text(row["prompt"])} for row in result.rows[:_ROWS]]


def pair_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The first pairs of answers, for a W&B table."""
    rows = []
    for row in comparison.rows[:_ROWS]:
        flat = {key: row[key] for key in GROUPS if key in row} | {"prompt": _as_text(row["prompt"])}
        for side in ("ours", "theirs"):
            flat |= {f"{side}_{key}": value for key, value in row[side].items()}
        rows.append(flat)
    return rows


def _known(columns: Columns, rows: dict[str, dict[str, float]]) -> Columns:
    """Only those that some row has figures for; empty where another has not."""

    def show(column: Callable[[dict[str, float]], str]) -> Callable[[dict[str, float]], str]:
        def shown(figures: dict[str, float]) -> str:
            try:
                return column(figures)
            except KeyError:
                return ""

        return shown

    columns = {name: show(column) for name, column in columns.items()}
    return {name: column for name, column in columns.items() if any(column(figures) for figures in rows.values())}


def _by_group(results: dict[str, Result]) -> dict[str, dict[str, float]]:
    return {
        f"{task}/{value}" if len(results) > 1 else value: figures
        for task, result in results.items()
        for groups in result.groups.values()
        for value, figures in groups.items()
    }


def _as_text(turns: Messages) -> str:
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def _last_words(turns: Messages) -> str:
    """The last turn, with a system turn before it."""
    system = [turns[0]["content"]] if turns[0]["role"] == "system" else []
    return "\n".join([*(f"({text})" for text in system), *(["…"] if len(turns) > 2 else []), turns[-1]["content"]])


def _judged(answer: dict[str, Any]) -> Text:
    text = _for_people(answer["answer"])
    said = [_value(key, answer[key]) for key in MEASURES if key in answer]
    if not answer["ended"]:
        said.append("cut")
    return text + Text("\n" + ", ".join(said), style="dim") if said else text


def _value(measure: str, value: float) -> str:
    return ("right" if value else "wrong") if measure == "right" else f"{measure} {value:.2f}"


def _for_people(text: str) -> Text:
    return Text(escape_control_characters(text if len(text) <= _LONGEST else text[:_LONGEST] + " …"))
