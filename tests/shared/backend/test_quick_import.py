"""What is left out at start-up is left out, and changes nothing else."""

import json
import subprocess
import sys

IMPORT = "from qwen_shared.backend.quick_import import quick_import\nwith quick_import():\n    import megatron.core\n"
STEPS = """
import copy, json, sys
import torch

torch.manual_seed(0)
found = []
for kind in (torch.optim.Adam, torch.optim.AdamW):
    layer = torch.nn.Linear(3, 2)
    optimizer = kind(layer.parameters(), lr=0.1, weight_decay=0.3)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.2})
    for number in range(3):
        optimizer.zero_grad()
        layer(torch.arange(6.0).view(2, 3) - number).pow(2).sum().backward()
        optimizer.step()
        assert torch.is_grad_enabled()
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    found += [p.tolist() for p in layer.parameters()]
loaded = [name for name in ("torch._dynamo", "wandb") if name in sys.modules]
print(json.dumps([found, loaded]))
"""


def said(script: str):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_optimizers_do_the_same_without_the_compiler():
    (plain, loaded), (quick, left) = said(STEPS), said(IMPORT + STEPS)
    assert quick == plain
    assert "torch._dynamo" in loaded, "torch has learnt it: delete _leave_optimizers_alone"
    assert left == []


def test_what_was_hidden_is_there_again():
    script = IMPORT + ("import json, torch, wandb\nprint(json.dumps([wandb.__name__, torch.compile.__module__]))")
    assert said(script) == ["wandb", "torch"]
