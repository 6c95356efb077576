"""`qwen-base evaluate`: loss, bits per byte and perplexity of held-out text, at one or more context lengths."""

from __future__ import annotations

import json

from qwen_shared.cli import Invocation
from qwen_shared.cli.model_argument import hf_directory, is_run


def main(invocation: Invocation) -> None:
    from rich.console import Console
    from rich.table import Table

    from qwen_shared.data import ValidationText, prepare
    from qwen_shared.files import write_atomic
    from qwen_shared.generation.load import load_model
    from qwen_shared.generation.score import score_text
    from qwen_shared.log import say
    from qwen_shared.run.paths import cache_dir
    from qwen_shared.tokenizer import load_tokenizer
    from qwen_shared.tracking import data_progress

    recipe = invocation.recipe
    directory = hf_directory(invocation)
    tokenizer = load_tokenizer(str(directory))
    with data_progress() as progress:
        prepared = prepare(recipe.data, str(directory), cache_dir(), progress, for_training=False)
    model = load_model(directory)
    figures = {}
    table = Table(title=f"{directory}", title_justify="left")
    for column in ("context length", "loss", "perplexity", "bits per byte"):
        table.add_column(column, justify="right")
    for length in recipe.evaluation.lengths or [recipe.data.seq_length]:
        text = ValidationText(prepared, tokenizer, length)
        figures[length] = score_text(model, text, recipe.data.isolate_documents)
        table.add_row(
            f"{length:,}", *(f"{figures[length][name]:.4f}" for name in ("loss", "perplexity", "bits_per_byte"))
        )
    gzip = text.gzip_bits_per_byte()
    Console().print(table)
    say(f"{text.num_bytes:,} bytes of held-out text; gzip -9 needs {gzip:.4f} bits per byte")
    if is_run(invocation):
        report = {
            "model": str(directory),
            "sources": [source.name for source in prepared],
            "bytes": text.num_bytes,
            "gzip_bits_per_byte": gzip,
            "lengths": figures,
        }
        write_atomic(invocation.run_dir / "evaluation.json", json.dumps(report, indent=2) + "\n")


def plan(invocation: Invocation) -> str:
    recipe = invocation.recipe
    sources = ", ".join(source.path for source in recipe.data.sources)
    lengths = ", ".join(map(str, recipe.evaluation.lengths or [recipe.data.seq_length]))
    model = invocation.from_model or invocation.run_dir
    return f"{invocation.command} would measure {model} on held-out text of {sources}, at context lengths {lengths}"
