"""The foundation of all packages. Before any library is imported, this sets one rule.

A checkpoint may come from anybody, and a pickle in it can run code. So torch.load reads only data, also when Megatron,
DeepSpeed or trl ask for more.
"""

import os

os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
