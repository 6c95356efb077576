"""`qwen-base evaluate`: loss, bits per byte and perplexity of held-out text, at one or more context lengths."""

from __future__ import annotations

from qwen_shared.cli import Invocation
from qwen_shared.cli.evaluate_verb import output_directory
from qwen_shared.cli.model_argument import hf_directory, is_run, step_of
from qwen_shared.recipe import PretrainRecipe

TASK = "held-out text"


def main(invocation: Invocation[PretrainRecipe]) -> None:
    run_dir = invocation.run_dir if is_run(invocation) else None
    output = output_directory(invocation.options.to, run_dir, step_of(invocation), invocation.overrides)

    from rich.console import Console

    from qwen_shared.convert.hf_files import weights_hash
    from qwen_shared.data import ValidationText, prepare
    from qwen_shared.evaluation.metrics import decimals
    from qwen_shared.evaluation.results import cells_table, write_report
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
    lengths = recipe.evaluation.lengths or [recipe.data.seq_length]
    texts = {length: ValidationText(prepared, tokenizer, length) for length in lengths}
    found = {str(n): score_text(model, text, recipe.data.isolate_documents) for n, text in texts.items()}
    columns = ("loss", "perplexity", "bits_per_byte")
    cells = {f"{n:,}": {c.replace("_", " "): decimals(found[str(n)][c], 4) for c in columns} for n in lengths}
    Console().print(cells_table(cells, str(directory), "context length"))
    text = texts[lengths[-1]]
    gzip = text.gzip_bits_per_byte()
    say(f"{text.num_bytes:,} bytes of held-out text; gzip -9 needs {gzip:.4f} bits per byte")
    if output:
        task = {
            "place": ", ".join(source.name for source in prepared),
            "metrics": {"bytes": text.num_bytes, "gzip_bits_per_byte": gzip},
            "by": {"length": found},
        }
        report = {"model": str(directory), "weights": weights_hash(directory), "tasks": {TASK: task}, "results": {}}
        write_report(output, report)


def plan(invocation: Invocation) -> str:
    recipe = invocation.recipe
    sources = ", ".join(source.path for source in recipe.data.sources)
    lengths = ", ".join(map(str, recipe.evaluation.lengths or [recipe.data.seq_length]))
    model = invocation.from_model or invocation.run_dir
    return f"{invocation.command} would measure {model} on held-out text of {sources}, at context lengths {lengths}"
