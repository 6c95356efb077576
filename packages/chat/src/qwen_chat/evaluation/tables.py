"""Two models' answers for people, in 80 columns."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from qwen_chat.evaluation.compare import MEASURES, Comparison, samples
from qwen_shared.evaluation.metrics import percent
from qwen_shared.evaluation.results import TABLE_ROWS, cells_table, flat
from qwen_shared.evaluation.task import Cells, Metrics, Row
from qwen_shared.text import escape_control_characters

_SHOWN = 4  # pairs of answers on the console
_LONGEST = 600  # characters of an answer there
_NAMES = {"right": "right answer"}


def comparison_table(comparison: Comparison, title: str) -> Table:
    """Wins, ties and losses by each measure."""
    rows = {_NAMES.get(measure, measure): _cells(metrics) for measure, metrics in comparison.metrics.items()}
    return cells_table(rows, title, "better by")


def _cells(metrics: Metrics) -> Cells:
    in_std = {"in std": f"{metrics['difference_in_std']:+.2f}"} if "difference_in_std" in metrics else {}
    return {
        "win": f"{metrics['wins']:,}",
        "tie": f"{metrics['ties']:,}",
        "loss": f"{metrics['losses']:,}",
        "win rate": percent(metrics["win_rate"]),
        "95 %": f"{100 * metrics['win_rate_low']:.1f} … {100 * metrics['win_rate_high']:.1f}",
        "difference": f"{metrics['difference']:+.3f}",
        **in_std,
    }


def side_by_side(comparison: Comparison, ours: str, theirs: str) -> Table:
    """A few pairs of answers, to be read."""
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_lines=True, expand=True)
    for column in ("prompt", ours, theirs):
        shown.add_column(Text(column), overflow="fold", ratio=1)
    for row in samples(comparison, _SHOWN):
        shown.add_row(_for_people(_last_words(row)), _judged(row["ours"]), _judged(row["theirs"]))
    return shown


def pair_rows(comparison: Comparison) -> list[Row]:
    """The first pairs of answers, for a W&B table."""
    return [
        flat(row) | {f"{side}_{key}": value for side in ("ours", "theirs") for key, value in row[side].items()}
        for row in comparison.rows[:TABLE_ROWS]
    ]


def _last_words(row: Row) -> str:
    """The last turn, with a system turn before it; of other tasks the whole prompt."""
    if "messages" not in row:
        return row["prompt"]
    turns = row["messages"]
    system = [turns[0]["content"]] if turns[0]["role"] == "system" else []
    return "\n".join([*(f"({text})" for text in system), *(["…"] if len(turns) > 2 else []), turns[-1]["content"]])


def _judged(answer: Row) -> Text:
    text = _for_people(answer["completion"])
    said = [_value(measure, answer[key]) for measure, key in MEASURES.items() if answer.get(key) is not None]
    if not answer["stopped"]:
        said.append("cut")
    return text + Text("\n" + ", ".join(said), style="dim") if said else text


def _value(measure: str, value: float) -> str:
    return ("right" if value else "wrong") if measure == "right" else f"{measure} {value:.2f}"


def _for_people(text: str) -> Text:
    return Text(escape_control_characters(text if len(text) <= _LONGEST else text[:_LONGEST] + " …"))
