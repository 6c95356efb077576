"""`qwen-base generate`: continue prompts, from the command line or from the recipe."""

from __future__ import annotations

from qwen_shared.cli import Invocation
from qwen_shared.cli.model_argument import hf_directory
from qwen_shared.errors import UserError


def main(invocation: Invocation) -> None:
    from rich.console import Console
    from rich.text import Text

    prompts = _prompts(invocation)
    options = invocation.options

    from qwen_shared.generation.decode import generate
    from qwen_shared.generation.load import load_model
    from qwen_shared.generation.sampling import Sampling
    from qwen_shared.tokenizer import load_tokenizer

    directory = hf_directory(invocation)
    tokenizer = load_tokenizer(str(directory))
    model = load_model(directory)
    ids = [tokenizer.encode(prompt) or [tokenizer.eod_id] for prompt in prompts]
    console = Console(highlight=False)
    sampling = Sampling(options.max_tokens, options.temperature, seed=options.seed)
    for prompt, answer in zip(prompts, generate(model, tokenizer, ids, sampling), strict=True):
        console.print(Text(prompt, style="bold") + Text(tokenizer.decode(answer.ids), style="not bold"))
        console.print()


def plan(invocation: Invocation) -> str:
    count = len(_prompts(invocation))
    return f"{invocation.command} would continue {count} prompts by up to {invocation.options.max_tokens} tokens each"


def _prompts(invocation: Invocation) -> list[str]:
    options = invocation.options
    if options.max_tokens < 1:
        raise UserError(f"--max-tokens {options.max_tokens}: must be at least 1")
    if not options.temperature >= 0:
        raise UserError(f"--temperature {options.temperature}: must be 0 (greedy) or more")
    prompts = options.prompt or invocation.recipe.evaluation.prompts
    if not prompts:
        raise UserError("nothing to continue: give --prompt TEXT")
    return prompts
