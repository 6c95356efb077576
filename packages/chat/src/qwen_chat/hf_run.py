"""The frame of a run that trains a model in its Hugging Face form, where generation, trl and DeepSpeed are at home: the
run directory, the model it starts from, tracking, and the export. Megatron has no part in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from qwen_shared.backend import device, join_processes
from qwen_shared.cli import Invocation
from qwen_shared.convert.hf_files import weights_hash
from qwen_shared.errors import Stopped, UserError
from qwen_shared.files import replace_directory
from qwen_shared.job.parent import keep_parent
from qwen_shared.launched import is_worker
from qwen_shared.log import say
from qwen_shared.recipe import RunRecipe
from qwen_shared.report import refresh_report
from qwen_shared.run import Manifest, open_run
from qwen_shared.run.lock import lock_run
from qwen_shared.run.paths import list_checkpoints
from qwen_shared.tokenizer import Tokenizer, load_tokenizer
from qwen_shared.tracking import NoTracker, Tracker

_SHARD_BYTES = 4 << 30


@dataclass
class HfRun:
    """What a job of this kind works with; every rank has one."""

    recipe: RunRecipe
    run_dir: Path
    start: Path  # the Hugging Face directory of the model that the run starts from
    rank: int
    world_size: int
    manifest: Manifest | None = None  # on rank 0 only
    tracker: Tracker | NoTracker = field(default_factory=NoTracker)

    def track(self, total_steps: int, samples_per_step: int, resume_step: int) -> Tracker | NoTracker:
        """Metrics, W&B and console from here on. Neither pairs nor responses are packed: no two steps have as many
        tokens, and none are counted."""
        if self.manifest is not None:
            self.tracker = Tracker(
                self.run_dir,
                self.recipe.model_dump(mode="json"),
                self.recipe.tracking,
                self.manifest,
                total_steps,
                None,
                samples_per_step,
                resume_step,
            )
        return self.tracker

    def keep_results(self, results: dict[str, float]) -> None:
        """Final figures, into the manifest and W&B's summary."""
        if self.manifest is not None:
            self.manifest.results = self.manifest.results | results
            self.manifest.write(self.run_dir)
            self.tracker.summary(results)


@contextlib.contextmanager
def hf_run(invocation: Invocation, kind: str) -> Iterator[HfRun]:
    """Make or go on with a run; its manifest says how that ended. Every process enters this.

    Raises UserError where the run or its start cannot be used.
    """
    recipe, run_dir, parent = invocation.recipe, invocation.run_dir, invocation.parent
    with contextlib.ExitStack() as stack:
        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed looks for a GPU's driver otherwise
        rank, world_size = _join(stack)
        manifest = None
        if rank == 0:
            stack.enter_context(lock_run(run_dir))
            start = parent.fetch()
            manifest = open_run(run_dir, recipe, invocation.command, kind)[1]
            began = bool(list_checkpoints(run_dir / "checkpoints"))
            if began and manifest.parent and manifest.parent.hash not in (None, weights_hash(start)):
                raise UserError(f"--from {parent} changed since {run_dir} began: put back what was")
            keep_parent(parent, None if began else start, run_dir, manifest)
            manifest.tokenizer = load_tokenizer(recipe.tokenizer).fingerprint
            manifest.write(run_dir)
        if world_size > 1:
            torch.distributed.barrier()
        run = HfRun(recipe, run_dir, parent.fetch(), rank, world_size, manifest)
        status = "failed"
        try:
            yield run
            if manifest is not None:
                run.tracker.model(run_dir / "export", final=True)
            status = "finished"
        except BaseException as error:
            if isinstance(error, Stopped | KeyboardInterrupt):
                status = "stopped"
            if manifest is not None:
                manifest.break_off(error)
            raise
        finally:
            run.tracker.finish(status)
            if manifest is not None:
                manifest.status = status
                # What ended the run must not be hidden by a full disk's second complaint.
                with contextlib.suppress(*() if status == "finished" else (OSError,)):
                    manifest.write(run_dir)
                refresh_report(run_dir)


def _join(stack: contextlib.ExitStack) -> tuple[int, int]:
    """Rank and world size. A process that is alone joins nothing: libraries would take it for one of several."""
    if not is_worker():
        return 0, 1
    joined = join_processes()
    stack.push(_leave)
    return joined


def _leave(kind: type[BaseException] | None, *_) -> None:
    # A rank that fails keeps its connections until it has said why: the others fail of losing them.
    if kind is None or issubclass(kind, Stopped | UserError):
        torch.distributed.destroy_process_group()


def export_hf(model: torch.nn.Module, tokenizer: Tokenizer, run_dir: Path, step: int) -> None:
    """Write RUN/export from a whole model, and prove that what is read from it is that model: every tensor bit-equal,
    and the same outputs for the same ids. Rank 0 calls this.

    Raises RuntimeError where the proof fails; then the run's last export stays as it was.
    """
    target = run_dir / "export"
    temporary = target.with_name(".export.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    say(f"exporting to {target}, and proving it")
    model.save_pretrained(temporary, max_shard_size=_SHARD_BYTES)
    tokenizer.save_hf(temporary)
    for path in temporary.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner reads
    certificate = {"checkpoint": f"step-{step:08d}", "step": step} | _prove(model, temporary, tokenizer)
    (temporary / "certificate.json").write_text(json.dumps(certificate, indent=2) + "\n")
    replace_directory(temporary, target)


@torch.no_grad()
def _prove(model: torch.nn.Module, directory: Path, tokenizer: Tokenizer) -> dict:
    read = type(model).from_pretrained(directory, dtype=model.dtype, use_safetensors=True, local_files_only=True)
    read = read.to(device()).eval()
    ours, theirs = model.state_dict(), read.state_dict()
    for name, tensor in ours.items():
        if not torch.equal(theirs[name], tensor.to(device())):
            raise RuntimeError(f"export: {name} did not come back bit-equal from {directory}")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(tokenizer.vocab_size, (2, 32), generator=generator).to(device())
    was_training = model.training
    difference = (model.eval()(ids).logits - read(ids).logits).abs().max().item()
    model.train(was_training)
    if difference > 1e-3:
        raise RuntimeError(f"export: outputs of the model read from {directory} differ by {difference:.1e}")
    return {"tensors": {"compared": len(ours), "bit_equal": True}, "logits": {"max_difference": difference}}
