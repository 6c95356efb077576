"""The card's section on the evaluation. No torch."""

from __future__ import annotations

from qwen_shared.publish.checkpoint import Checkpoint
from qwen_shared.publish.evaluation import Measured, Results, by_length, gains, held_out_text, with_intervals
from qwen_shared.publish.markdown import code, folded, interval, plain, share, table


def evaluation_section(checkpoint: Checkpoint, results: Results) -> str:
    parts = []
    if rows := with_intervals(results):
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
        said = "*Before*: the parent model, asked the same." if any(r[2] for r in cells) else ""
        if any(row[-1] for row in cells):
            said += " *Nearest training example*: the score of repeating its answer."
        notes = " ".join(filter(None, (checkpoint.kind.counts, said, "Intervals are Wilson's.")))
        parts.append(f"{table(header, cells)}\n\n{notes}")
    if rows := gains(results):
        parts.append(_gains(rows, results, checkpoint.kind.method))
    if (text := held_out_text(results)) and (shown := _text_table(text)):
        parts.append(shown)
    if lengths := by_length(checkpoint):
        cells = [[length, *(f"{found[k]:.4f}" for k in _BY_LENGTH)] for length, found in lengths.items()]
        parts.append("By context length:\n\n" + table(["tokens", *_BY_LENGTH.values()], cells))
    if not parts:
        return "Nobody measured how good this model is. It was published all the same."
    if more := _more(results):
        parts.append(more)
    return "\n\n".join(parts)


_BY_LENGTH = {"loss": "loss", "perplexity": "perplexity", "bits_per_byte": "bits per byte"}


def _gains(rows: list[Measured], results: Results, method: str) -> str:
    cells = [
        [
            plain(row.task),
            f"{row.before:.3f}" if row.before is not None else "",
            f"**{results[f'val/{row.task}']:.3f}**" if f"val/{row.task}" in results else "",
            f"{row.value:+.3f}",
            f"{row.low:+.3f}\u00a0…\u00a0{row.high:+.3f}",
        ]
        for row in rows
    ]
    header = ["measure of answers", "before", "this model", "gain", "95 % interval of the gain"]
    return (
        table(header, cells) + "\n\nThe same held-out prompts before and after, compared pair by pair. `reward` is "
        f"what {method} maximised."
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


def _more(results: Results) -> str:
    names = [n for n in results if n.startswith("eval/") and not n.endswith(("_low", "_high"))]
    shown = {f"eval/{row.task}/{row.metric}" for row in with_intervals(results)}
    rows = [[code(n), f"{results[n]:g}"] for n in names if n not in shown]
    return folded("All other results", table(["name", "value"], rows)) if rows else ""
