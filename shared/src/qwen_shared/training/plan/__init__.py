"""What a recipe would do, in seconds and without a GPU, Megatron or torch.

memory     bytes of a rank, by part
machines   GPUs, and this machine
sources    what there is to learn from
fit        which knob makes it fit
run        the plan of a run, as text and as figures
lines      how plans are printed, whatever they are of
"""

from qwen_shared.training.plan.formatting import PlanOptions
from qwen_shared.training.plan.run import RunPlan, plan_run

__all__ = ["PlanOptions", "RunPlan", "plan_run"]
