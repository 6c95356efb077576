"""A module's tests are in files of its name: those of `data/split.py` in `tests/shared/data/test_split.py`, or in
`test_split_ASPECT.py` beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = {"qwen_shared": "shared", "qwen_base": "base", "qwen_chat": "chat"}  # other packages: their own name

# Proofs that no single module can give.
ACROSS = {
    "base/test_damage.py": "damaged files, full disks",
    "base/test_from.py": "--from a run or another's model",
    "base/test_guards.py": "spikes, hangs and lost ranks in real runs",
    "base/test_layouts.py": "the same run on several processes",
    "base/test_resume.py": "stopped and killed runs",
    "base/test_tracking.py": "what W&B is told of a run",
    "chat/ppo/math/test_bandit.py": "the algorithm finds the best arm",
    "chat/ppo/math/test_padding.py": "padding changes nothing",
    "code_qwen/problems/test_sandboxed.py": "generated problems in the sandbox",
    "code_qwen/sandbox/test_forgery.py": "programs that forge their verdict",
    "code_qwen/sandbox/test_hostile.py": "programs that break out",
    "code_qwen/sandbox/test_run_tests.py": "the sandbox from outside",
    "code_qwen/sandbox/test_standalone.py": "the sandbox alone",
    "code_qwen/test_training.py": "pretrain and sft from end to end",
    "shared/generation/test_stream.py": "a streamed answer is the batched one",
    "shared/sft/test_layouts.py": "fine-tuning on several processes",
    "shared/training/test_layouts.py": "one step on several processes",
}


def homes() -> set[str]:
    """Where the tests of each module, and of each room as a whole, may be."""
    found = set()
    for package in [ROOT / "shared/src/qwen_shared", *ROOT.glob("packages/*/src/*/")]:
        tests = Path(TESTS.get(package.name, package.name))
        for module in package.rglob("*.py"):
            place = module.relative_to(package)
            found.add(str(tests / place.with_name(f"test_{place.name}")))
            if place.name == "__init__.py" and place.parent != Path():
                found.add(str(tests / place.parent.with_name(f"test_{place.parent.name}.py")))
                found.add(str(tests / place.parent / f"test_{place.parent.name}.py"))
    return found


def unfindable() -> set[str]:
    found, names = set(), homes()
    for path in (ROOT / "tests").rglob("test_*.py"):
        file = path.relative_to(ROOT / "tests")
        parts = file.stem.split("_")
        stems = ["_".join(parts[:n]) for n in range(2, len(parts) + 1)]
        if file.parts[0] != "workspace" and not names & {str(file.with_name(f"{stem}.py")) for stem in stems}:
            found.add(str(file))
    return found


def test_tests_are_found_by_the_name_of_what_they_test():
    assert len(homes()) > 300
    assert unfindable() == set(ACROSS)
