"""Reports of all ranks after a step, so that all decide alike and slow ranks are seen."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class RankReports:
    stop: bool  # any rank was asked to stop
    spike: bool  # any rank saw a loss spike
    seconds: list[float]  # each rank's own work

    def timing(self, step_seconds: float) -> dict[str, float]:
        """The slowest rank, and the slowest and the median rank's work as shares of the step; {} for one rank."""
        if len(self.seconds) == 1:
            return {}
        slowest = max(range(len(self.seconds)), key=self.seconds.__getitem__)
        return {
            "time/slowest_rank": slowest,
            "time/slowest_share": self.seconds[slowest] / step_seconds,
            "time/median_share": statistics.median(self.seconds) / step_seconds,
        }


def gather_reports(stop: bool, spike: bool, seconds: float) -> RankReports:
    """All ranks call this once a step."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return RankReports(stop, spike, [seconds])
    # A CPU tensor goes over gloo, which runs beside nccl: no wait for the GPU.
    rows = torch.zeros(torch.distributed.get_world_size(), 3, dtype=torch.float64)
    rows[torch.distributed.get_rank()] = torch.tensor([stop, spike, seconds], dtype=torch.float64)
    torch.distributed.all_reduce(rows)
    stops, spikes, times = rows.T.tolist()
    return RankReports(any(stops), any(spikes), times)
