"""Which way arrows run: packages → shared, never between packages, and inside shared from high rooms to low ones."""

import graphlib
from collections import defaultdict

# Low to high. A room imports from its own line and the lines above it here; two rooms never import each other.
ROOMS = [
    ["errors", "entry", "gpus", "launched", "files", "text", "faults"],
    ["log", "recipe"],
    ["backend", "launch"],
    ["tokenizer", "model", "run"],
    ["convert", "data", "generation", "tracking"],
    ["report"],
    ["job"],
    ["evaluation", "training"],
    ["sft", "publish"],
    ["cli"],
    ["family"],
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def test_packages_know_shared_only(members):
    packages = {member.package.name for member in members}
    for member in members:
        allowed = {member.package.name} | ({"qwen_shared"} if member.package.name != "qwen_shared" else set())
        for path, module in member.imports():
            top = module.partition(".")[0]
            assert top not in packages or top in allowed, f"{path} imports {module}"


def test_rooms_know_lower_rooms_only(members):
    (shared,) = [member for member in members if member.package.name == "qwen_shared"]
    graph = defaultdict(set)
    for path, module in shared.imports():
        if not module.startswith("qwen_shared."):
            continue
        room = path.relative_to(shared.package).parts[0].removesuffix(".py")
        other = module.split(".")[1]
        if room == "__init__" or room == other:
            continue
        assert room in LEVEL, f"{path} is in no room of the house"
        assert other in LEVEL, f"{path} imports {module}, which is in no room of the house"
        assert LEVEL[other] <= LEVEL[room], f"{path} imports {module}: {room} is below {other}"
        graph[room].add(other)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError
