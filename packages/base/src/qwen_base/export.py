"""`qwen-base export`: a run's checkpoint in Hugging Face form, with the proof that it is the same model."""

from __future__ import annotations

from qwen_shared.errors import UserError
from qwen_shared.launch import Invocation


def main(invocation: Invocation) -> None:
    from qwen_shared.backend import start_processes, stop_processes
    from qwen_shared.tracking import say
    from qwen_shared.training.export import export_run

    target = invocation.options.to or invocation.run_dir / "export"
    start_processes()
    try:
        certificate = export_run(invocation.run_dir, invocation.recipe, _step(invocation), target)
    finally:
        stop_processes()
    say(
        f"exported step {certificate['step']} to {target}: {certificate['tensors']['compared']} tensors bit-equal, "
        f"logits within {certificate['logits']['max_difference']:.1e} of the Megatron model in fp32"
    )


def plan(invocation: Invocation) -> str:
    step = _step(invocation) or "the last"
    target = invocation.options.to or invocation.run_dir / "export"
    return f"would export {step} checkpoint of {invocation.run_dir} to {target}"


def _step(invocation: Invocation) -> int | None:
    """The STEP of --from RUN@STEP."""
    start = invocation.start or ""
    _, at, step = start.rpartition("@")
    if not at:
        return None
    if not step.isdigit():
        raise UserError(f"--from {start}: '{step}' is not a step; write RUN@STEP, for example {start.partition('@')[0]}@100")
    return int(step)
