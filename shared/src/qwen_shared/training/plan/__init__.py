"""The plan of a run, in seconds and without a GPU, Megatron or torch.

run         the plan, as text and as data
memory      bytes of a rank, by part
machines    GPUs, and this machine
sources     size of the training data
fit         settings that make a run fit into memory
formatting  options, costs, and how plans are printed
"""

from qwen_shared.training.plan.formatting import PlanOptions
from qwen_shared.training.plan.run import RunPlan, plan_run

__all__ = ["PlanOptions", "RunPlan", "plan_run"]
