"""The options of plans, how plans are printed, and what the work costs on each machine."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.gpus import GPUS
from qwen_shared.training.plan.machines import CPU, Machine, gpu, named_machine, this_cpu

GIB = 2**30
DEFAULT_MFU = 0.40


@dataclass(frozen=True)
class PlanOptions:
    gpu: str | None = None  # default: this machine, if the run fits
    mfu: float = DEFAULT_MFU  # share of the peak that the FLOPs of training reach
    price: float | None = None  # dollars a GPU hour
    nodes: int = 1  # hosts that share the processes evenly

    @classmethod
    def of(cls, options: argparse.Namespace) -> PlanOptions:
        """From a command's flags. Raises UserError for impossible values."""
        mfu = getattr(options, "mfu", None)
        price = getattr(options, "price", None)
        nodes = getattr(options, "nodes", 1)
        terms = cls(getattr(options, "gpu", None), DEFAULT_MFU if mfu is None else mfu, price, nodes)
        if not 0 < terms.mfu <= 1:
            raise UserError(f"--mfu {terms.mfu:g}: a share of the peak, above 0 and up to 1; 0.4 is a good run's")
        if price is not None and not 0 <= price < 1e6:
            raise UserError(f"--price {price:g}: dollars a GPU hour, 0 or more")
        if terms.gpu:
            named_machine(terms.gpu)
        return terms

    def machines(self) -> list[Machine]:
        """The named one, else all."""
        return [named_machine(self.gpu)] if self.gpu else [*map(gpu, GPUS), this_cpu()]


@dataclass(frozen=True)
class TextPlan:
    """A plan whose text is complete."""

    text: str
    data: dict[str, Any]

    def __str__(self) -> str:
        return self.text

    def as_dict(self) -> dict[str, Any]:
        return self.data


def table(lines: dict[str, str]) -> str:
    """Names on the left, texts in a column beside them."""
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in lines.items())


def cost(flops: float, ranks: int, machine: Machine, terms: PlanOptions) -> dict[str, Any]:
    """Wall time in seconds, hours and dollars of all GPUs. Processes of a host share its CPU."""
    seconds = flops / (machine.flops * terms.mfu * (terms.nodes if machine.is_cpu else ranks))
    hours = None if machine.is_cpu else seconds * ranks / 3600
    dollars = None if terms.price is None or hours is None else hours * terms.price
    return {
        "name": machine.name,
        "flops_per_second": machine.flops,
        "seconds": seconds,
        "gpu_hours": hours,
        "dollars": dollars,
    }


def cost_lines(flops: float, machines: list[dict[str, Any]], terms: PlanOptions) -> list[str]:
    """A table with a row per machine, from the values of `cost` and, if known, the text `memory`."""
    price = f", ${terms.price:g} a GPU hour (--price)" if terms.price is not None else ""
    title = f"compute   {flops:.3g} FLOPs, at {terms.mfu:.0%} of peak (--mfu){price}"
    header = ["", "peak TFLOP/s", "memory", "time", "GPU hours", "cost"]
    rows = [header]
    for machine in machines:
        hours, dollars = machine["gpu_hours"], machine["dollars"]
        rows.append(
            [
                "this CPU" if machine["name"] == CPU else machine["name"],
                f"{peak:,.0f}" if (peak := machine["flops_per_second"] / 1e12) >= 10 else f"{peak:,.2f}",
                machine.get("memory", ""),
                duration(machine["seconds"]),
                "" if hours is None else f"{hours:,.0f}" if hours >= 100 else f"{hours:,.2f}",
                "" if dollars is None else f"${dollars:,.0f}" if dollars >= 100 else f"${dollars:,.2f}",
            ]
        )
    shown = [k for k in range(len(header)) if k == 0 or any(row[k] for row in rows[1:])]
    widths = {k: max(len(row[k]) for row in rows) for k in shown}
    return [title, *("  " + "  ".join(_aligned(row[k], widths[k], k) for k in shown).rstrip() for row in rows)]


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def duration(seconds: float) -> str:
    for limit, size, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h"), (1e5 * 86400, 86400, "days")):
        if seconds < limit:
            return f"{seconds / size:,.0f} {name}" if seconds / size >= 10 else f"{seconds / size:.2g} {name}"
    return f"{seconds / 86400 / 365:,.0f} years"


def gib(size: float) -> str:
    return f"{size / GIB:,.2f} GiB"
