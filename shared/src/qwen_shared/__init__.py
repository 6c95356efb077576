"""What the packages share. Nothing is imported here; one rule is made, before any library is.

A checkpoint may come from anybody, and a pickle in it could run his code. torch.load reads data alone: in this suite,
and in Megatron, DeepSpeed and trl, which ask for more by themselves.
"""

import os

os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
