"""The foundation of all packages.

Anybody's pickle can run code, so torch.load reads only data, also when Megatron, DeepSpeed or trl ask for more.
"""

import os

os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
