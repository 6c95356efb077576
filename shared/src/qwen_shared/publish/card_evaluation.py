"""What was measured, as the card tells it. No torch."""

from __future__ import annotations

from qwen_shared.publish.evaluation import Figures, Measured, by_length, gains, held_out_text, with_intervals
from qwen_shared.publish.markdown import code, folded, interval, plain, share, table
from qwen_shared.publish.subject import Subject

_COUNTED = {
    "code-sft": "A problem counts where the program passes all its tests, run in a sandbox.",
    "math-sft": "A problem counts where the answer is proved equal to the known one.",
    "chat-sft": "A dialogue counts where the answer passes the check that comes with it.",
    "chat-ppo": "A dialogue counts where the answer passes the check that comes with it.",
    "chat-reward": "A pair counts where the preferred answer gets the higher number; a tie is half right.",
}


def evaluation_section(subject: Subject, figures: Figures) -> str:
    parts = []
    if rows := with_intervals(figures):
        header = ["task", "metric", "before", "this model", "95 % interval", "problems", "nearest training example"]
        cells = [
            [
                plain(row.task),
                plain(row.metric),
                share(row.before),
                f"**{share(row.value)}**",
                interval(row.low, row.high),
                f"{row.problems:,}" if row.problems else "",
                share(row.nearest),
            ]
            for row in rows
        ]
        counted = _COUNTED.get(subject.kind, "")
        said = "*Before*: the model that training began from, asked the same." if any(r[2] for r in cells) else ""
        if any(row[-1] for row in cells):
            said += " *Nearest training example*: what repeating that one's answer would get."
        told = " ".join(filter(None, (counted, said, "Intervals are Wilson's.")))
        parts.append(f"{table(header, cells)}\n\n{told}")
    if rows := gains(figures):
        parts.append(_gains(rows, figures))
    if (text := held_out_text(figures)) and (shown := _text_table(text)):
        parts.append(shown)
    if lengths := by_length(subject):
        cells = [[length, *(f"{found[k]:.4f}" for k in _BY_LENGTH)] for length, found in lengths.items()]
        parts.append("By context length:\n\n" + table(["tokens", *_BY_LENGTH.values()], cells))
    if not parts:
        return "Nothing was measured of this model. Whoever published it knows that, and so should you."
    if more := _more(figures):
        parts.append(more)
    return "\n\n".join(parts)


_BY_LENGTH = {"loss": "loss", "perplexity": "perplexity", "bits_per_byte": "bits per byte"}


def _gains(rows: list[Measured], figures: Figures) -> str:
    cells = [
        [
            plain(row.task),
            f"{row.before:.3f}" if row.before is not None else "",
            f"**{figures[f'val/{row.task}']:.3f}**" if f"val/{row.task}" in figures else "",
            f"{row.value:+.3f}",
            f"{row.low:+.3f}\u00a0…\u00a0{row.high:+.3f}",
        ]
        for row in rows
    ]
    header = ["measure of answers", "before", "this model", "gain", "95 % interval of the gain"]
    return (
        table(header, cells) + "\n\nThe same held-out prompts before and after, compared pair by pair. `reward` is "
        "what PPO was given."
    )


def _text_table(text: dict[str, dict[str, float]]) -> str:
    cells = []
    for place, found in text.items():
        for metric, shown in _BY_LENGTH.items():
            if metric in found:
                gzip = found.get("gzip_bits_per_byte") if metric == "bits_per_byte" else None
                before, value, other = (_number(c) for c in (found.get(f"before {metric}"), found[metric], gzip))
                cells.append([plain(place) or "the run's own", shown, before, f"**{value}**", other])
    return table(["held-out data", "metric", "before", "this model", "gzip -9"], cells) if cells else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4f}"


def _more(figures: Figures) -> str:
    """Everything else that was counted, to be unfolded."""
    told = {"_low", "_high"}
    names = [n for n in figures if n.startswith("eval/") and not any(n.endswith(end) for end in told)]
    shown = {f"eval/{row.task}/{row.metric}" for row in with_intervals(figures)}
    rows = [[code(n), f"{figures[n]:g}"] for n in names if n not in shown]
    return folded("Every other figure", table(["name", "value"], rows)) if rows else ""
