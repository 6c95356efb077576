"""The plan of a run on the Megatron-core trainer: pretraining and fine-tuning."""

from __future__ import annotations

import argparse
import math
import shutil
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from qwen_shared.job.parent import carries_optimizer
from qwen_shared.job.spec import RunSpec
from qwen_shared.model.sizes import flops_per_token, pad_vocab_size, parameter_count
from qwen_shared.recipe import Layout, Recipe, SftRecipe
from qwen_shared.recipe.schema import Schedule
from qwen_shared.run.paths import list_checkpoints
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.training.plan.fit import suggest
from qwen_shared.training.plan.formatting import GIB, PlanOptions, cost, cost_lines, gib, table
from qwen_shared.training.plan.machines import (
    HOLES,
    PROCESS_BYTES,
    Machine,
    cpu_precision,
    gpu,
    named_machine,
    this_cpu,
    this_gpu,
)
from qwen_shared.training.plan.memory import RECOMPUTE, Memory, checkpoint_bytes, rank_memory
from qwen_shared.training.plan.sources import SourceFacts, inspect_sources

_MAX_SOURCE_LINES = 5
_DEFAULT_GPU = "H100"  # if this machine has no GPU and the run is too large for its CPU


def plan_run(spec: RunSpec[Recipe], options: argparse.Namespace | None = None) -> RunPlan:
    """Raises UserError, in milliseconds, if the run is impossible.

    `options` are the command's flags, of which `PlanOptions` reads some.
    """
    return RunPlan(spec, PlanOptions.of(options or argparse.Namespace()))


class RunPlan:
    """`str` is a table for people, `as_dict` the same for programs. Only these two read data and measure the CPU."""

    def __init__(self, spec: RunSpec[Recipe], terms: PlanOptions):
        self._command, self._run_dir, self._parent = spec.command, spec.run_dir, spec.parent
        self._layout, self._terms, recipe = spec.layout, terms, spec.recipe
        if spec.parent:
            recipe = recipe.model_copy(update={"tokenizer": spec.parent.tokenizer})  # the run may not have it yet
        self._recipe = recipe
        self._tokenizer = load_tokenizer(recipe.tokenizer)
        self.rows = pad_vocab_size(recipe.model, self._tokenizer.vocab_size, recipe.parallel.tensor_parallel)
        self.parameters = parameter_count(recipe.model, self.rows)
        saved = list_checkpoints(spec.run_dir / "checkpoints")
        self._done = saved[-1] if saved else 0
        training = recipe.training
        self.tokens_per_step = training.global_batch_size * recipe.data.seq_length
        self.steps = training.steps - self._done  # that are left
        per_token = flops_per_token(recipe.model, self.rows, recipe.data.seq_length)
        self.flops = per_token * self.steps * self.tokens_per_step

    # ---- memory

    def memory(self, machine: Machine, recipe: Recipe | None = None, layout: Layout | None = None) -> Memory:
        """Of the rank that needs most."""
        recipe = recipe or self._recipe
        return rank_memory(recipe, layout or self._layout, self.rows, self._precision(machine), machine.is_cpu)

    def need(self, machine: Machine, recipe: Recipe | None = None, layout: Layout | None = None) -> float:
        """Bytes of the machine's memory: one rank on a GPU, all ranks and programs of a host on a CPU."""
        total = self.memory(machine, recipe, layout).total
        ranks = -(-(layout or self._layout).world_size // self._terms.nodes)
        return ranks * (total * (1 + HOLES) + PROCESS_BYTES) if machine.is_cpu else total

    def _precision(self, machine: Machine) -> str:
        precision = self._recipe.training.precision
        return cpu_precision(precision) if machine.is_cpu else "bf16" if precision == "auto" else precision

    @cached_property
    def machine(self) -> Machine:
        """The named one; else this machine, if the run fits; else an H100."""
        if self._terms.gpu:
            return named_machine(self._terms.gpu)
        if here := this_gpu():
            return here
        cpu = this_cpu()
        return cpu if self.need(cpu) <= cpu.usable else gpu(_DEFAULT_GPU)

    # ---- data and disk

    @cached_property
    def sources(self) -> list[SourceFacts]:
        return inspect_sources(self._recipe, self._tokenizer)

    def _seen(self, source: SourceFacts) -> float | None:
        """How often the run reads a source's tokens; None if it is unknown."""
        recipe = self._recipe
        parts, stages = recipe.data.parts, isinstance(recipe, SftRecipe) and recipe.stages
        if len(parts) > 1 or stages or not source.tokens or not all(fact.tokens for fact in self.sources):
            return None
        weights = [fact.tokens or 0 if fact.weight is None else fact.weight for fact in self.sources]
        own = source.tokens if source.weight is None else source.weight
        return recipe.training.steps * self.tokens_per_step * own / sum(weights) / source.tokens

    def _disk(self) -> dict[str, Any]:
        """Bytes of a run's files, and the most at one time."""
        recipe, precision = self._recipe, self._precision(self.machine)
        checkpoint = checkpoint_bytes(self.parameters, precision)
        settings = recipe.checkpoint
        saves = math.ceil(recipe.training.steps / settings.interval)
        kept = min(settings.keep_last, saves)
        if settings.keep_every:
            kept += max(0, recipe.training.steps // settings.keep_every - settings.keep_last)
        export = 0 if recipe.export == "none" else self.parameters * (2 if precision == "bf16" else 4)
        existing = next(path for path in (self._run_dir, *self._run_dir.absolute().parents) if path.exists())
        return {
            "checkpoint_bytes": checkpoint,
            "checkpoints_kept": kept,
            "export_bytes": export,
            "most_bytes": checkpoint * (kept + (saves > kept)) + export,  # one is written before one is deleted
            "free_bytes": shutil.disk_usage(existing).free,
        }

    # ---- output

    def as_dict(self) -> dict[str, Any]:
        """The content of the text, in bytes, seconds, FLOPs and dollars."""
        machine = self.machine
        memory, capacity = self.memory(machine), machine.usable
        return {
            "command": self._command,
            "run_dir": str(self._run_dir),
            "from": str(self._parent) if self._parent else None,
            "steps_done": self._done,
            "model": {
                "parameters": self.parameters,
                "vocabulary_rows": self.rows,
                "vocabulary_ids": self._tokenizer.vocab_size,
            },
            "data": [asdict(source) | {"seen": self._seen(source)} for source in self.sources],
            "training": {
                "steps": self.steps,
                "tokens_per_step": self.tokens_per_step,
                "tokens": self.steps * self.tokens_per_step,
                "flops": self.flops,
            },
            "layout": asdict(self._layout),
            "memory": {
                "machine": machine.name,
                "precision": self._precision(machine),
                "stage": memory.stage,
                "parameters": memory.parameters,
                **memory.parts,
                "total": memory.total,
                "needed": self.need(machine),
                "usable": capacity,
                "fits": self.need(machine) <= capacity,
                "activations_with_recompute": {name: self._recomputed(machine, name).activations for name in RECOMPUTE},
                "total_with_recompute": {name: self._recomputed(machine, name).total for name in RECOMPUTE},
            },
            "suggestions": [
                {"change": s.change, "needed": s.bytes, "fits": s.fits} for s in self._suggestions(machine)
            ],
            "machines": [self._cost(other) for other in self._terms.machines()],
            "mfu": self._terms.mfu,
            "price": self._terms.price,
            "disk": self._disk(),
        }

    def _recomputed(self, machine: Machine, recompute: str) -> Memory:
        parallel = self._recipe.parallel.model_copy(update={"recompute": recompute})
        return self.memory(machine, self._recipe.model_copy(update={"parallel": parallel}))

    def _suggestions(self, machine: Machine) -> list:
        if self.need(machine) <= machine.usable:
            return []
        return suggest(self._recipe, self._layout, partial(self.need, machine), machine.usable, self._terms.nodes)

    def _cost(self, machine: Machine) -> dict[str, Any]:
        needed = self.need(machine)
        return {
            **cost(self.flops, self._layout.world_size, machine, self._terms),
            "needed": needed,
            "usable": machine.usable,
            "fits": needed <= machine.usable,
        }

    # ---- text

    def __str__(self) -> str:
        recipe, layout, terms = self._recipe, self._layout, self._terms
        what = f"go on with {self._run_dir} after step {self._done}" if self._done else f"make {self._run_dir}"
        if not self.steps:
            what = f"find {self._run_dir} trained to its end; name=… or --run-dir plans a new run"
        if self._parent:
            what += f" from {self._parent}"
            if carries_optimizer(recipe) and not self._done:
                what += " and its optimizer's state"
        model, training = recipe.model, recipe.training
        left = " left" if self._done else ""
        lines = {
            "model": f"{self.parameters:,} parameters: {model.num_layers} layers of {model.hidden_size}, "
            f"{model.num_attention_heads} heads, {self.rows:,} vocabulary rows ({self._tokenizer.vocab_size:,} ids)",
            **self._source_lines(),
            "training": f"{self.steps:,} steps{left} × {training.global_batch_size:,} samples of "
            f"{recipe.data.seq_length:,} = {self.tokens_per_step:,} tokens a step, "
            f"{self.steps * self.tokens_per_step:,} in all",
            **_rates(recipe),
            "layout": _layout(recipe, layout),
            "disk": self._disk_line(),
        }
        machine = self.machine
        machines = [
            row | {"memory": _against(row["needed"], row["usable"])} for row in map(self._cost, terms.machines())
        ]
        return "\n".join(
            [
                f"{self._command} would {what}",
                table(lines),
                "",
                *self._memory_lines(machine),
                *self._suggestion_lines(machine),
                "",
                *cost_lines(self.flops, machines, terms),
            ]
        )

    def _source_lines(self) -> dict[str, str]:
        lines = {}
        for number, source in enumerate(self.sources):
            if number == _MAX_SOURCE_LINES:
                lines[" " * 4] = f"and {len(self.sources) - number} more"
                break
            lines["data" if not number else " " * (number - 1)] = self._source_text(source)
        return lines

    def _source_text(self, source: SourceFacts) -> str:
        said = []
        if source.files and source.bytes is not None:
            said.append(f"{source.files:,} file{'s' * (source.files > 1)} of {_bytes(source.bytes)}")
        if source.tokens:
            said.append(f"{source.tokens:,} tokens" if source.counted else f"about {_rounded(source.tokens):,} tokens")
        if seen := self._seen(source):
            said.append(f"seen {seen:,.2g} times" if seen < 100 else f"seen {seen:,.0f} times")
        name = source.path if source.key == "sources" else f"{source.key}: {source.path}"
        return f"{name}: {', '.join(said)}" if said else name

    def _disk_line(self) -> str:
        disk = self._disk()
        text = f"{_bytes(disk['most_bytes'])} at most: {disk['checkpoints_kept']:,} checkpoints kept, one every "
        text += f"{self._recipe.checkpoint.interval:,} steps, {_bytes(disk['checkpoint_bytes'])} each"
        free = f"{_bytes(disk['free_bytes'])} free"
        return f"{text}; {free}" + ("" if disk["free_bytes"] > disk["most_bytes"] else ", TOO LITTLE")

    def _memory_lines(self, machine: Machine) -> list[str]:
        memory, needed = self.memory(machine), self.need(machine)
        where = "this CPU" if machine.is_cpu else machine.name
        stages = self._layout.pipeline_parallel
        stage = f", pipeline stage {memory.stage + 1} of {stages}" if stages > 1 else ""
        lines = {f"  {name}": f"{size / GIB:>9,.2f} GiB" for name, size in memory.parts.items()}
        others = [
            f"{name} {self._recomputed(machine, name).activations / GIB:,.2f}"
            for name in RECOMPUTE
            if name != self._recipe.parallel.recompute
        ]
        lines["  activations"] += f"   with recompute={', '.join(others)}"
        lines["  logits"] += "   and their gradient"
        lines["  buffers"] += "   at the peak: a matrix's gradient, messages, the optimizer's step"
        verdict = "fits" if needed <= machine.usable else f"{gib(needed - machine.usable)} TOO MUCH"
        of = f"of {machine.usable / GIB:,.1f} usable: {verdict}"
        lines["  total"] = f"{memory.total / GIB:>9,.2f} GiB" + ("" if machine.is_cpu else f"   {of}")
        if machine.is_cpu:
            nodes = self._terms.nodes
            here = self._layout.world_size // nodes
            ranks = (f", × {here} processes" if here > 1 else "") + (f" on each of {nodes} hosts" if nodes > 1 else "")
            lines["  resident"] = f"{needed / GIB:>9,.2f} GiB   {of}; with the heap's holes and the program{ranks}"
        return [f"memory    of a rank on {where} in {self._precision(machine)}{stage}", *table(lines).splitlines()]

    def _suggestion_lines(self, machine: Machine) -> list[str]:
        found = self._suggestions(machine)
        if not found:
            return []
        if not found[0].fits:
            return ["", "to fit    nothing does; this comes nearest", f"  {found[0]}: {gib(found[0].bytes)}"]
        title = "to fit    any one of" if len(found) > 1 else "to fit"
        width = max(len(str(s)) for s in found)
        return ["", title, *(f"  {s!s:<{width}}  {gib(s.bytes)}" for s in found)]


def _against(needed: float, usable: float) -> str:
    sign = "fits" if needed <= usable else "no"
    return f"{needed / GIB:,.1f} of {usable / GIB:,.0f} GiB {sign:<4}"


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "B" or size >= 100 else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def _rounded(count: int) -> int:
    """To two digits."""
    scale = 10 ** max(0, len(str(count)) - 2)
    return round(count / scale) * scale


def _rates(recipe: Recipe) -> dict[str, str]:
    stages = recipe.stages if isinstance(recipe, SftRecipe) else []
    if not stages:
        return {"rate": _rate(recipe.schedule, recipe.optimizer.lr)}
    said = {}
    for number, stage in enumerate(stages, start=1):
        sources = ", ".join(stage.sources or ["all sources"])
        rate = _rate(stage.schedule or recipe.schedule, stage.lr or recipe.optimizer.lr)
        said[f"stage {number}"] = f"{stage.name}: {stage.steps:,} steps of {sources}; {rate}"
    return said


def _rate(schedule: Schedule, peak: float) -> str:
    return f"{schedule.kind}, peak {peak:g}, warm-up {schedule.warmup_steps:,} steps"


def _layout(recipe: Recipe, layout: Layout) -> str:
    parallel = recipe.parallel
    if layout.world_size == 1:
        sizes = "1 process"
    else:
        parts = {
            "tensor": layout.tensor_parallel,
            "pipeline": layout.pipeline_parallel,
            "context": layout.context_parallel,
            "data": layout.data_parallel,
        }
        divided = " × ".join(f"{name} {size}" for name, size in parts.items() if size > 1)
        sizes = f"{layout.world_size} processes = {divided}"
    size = recipe.training.micro_batch_size
    more = [f"{layout.num_microbatches:,} micro-batch{'es' * (layout.num_microbatches > 1)} of {size} a step"]
    if layout.pipeline_parallel > 1:
        idle = (layout.pipeline_parallel - 1) / (layout.num_microbatches * parallel.virtual_pipeline)
        more.append(f"bubble {idle / (1 + idle):.0%}")
    if parallel.virtual_pipeline > 1:
        more.append(f"{parallel.virtual_pipeline} chunks a stage")
    if parallel.sequence_parallel:
        more.append("sequence parallel")
    if parallel.recompute != "none":
        more.append(f"{parallel.recompute} recompute")
    return f"{sizes}; {', '.join(more)}"
