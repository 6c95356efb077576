"""Suggestions: what is said to fit does, and the cheapest knob comes first."""

from qwen_shared.recipe import PretrainRecipe, check_layout
from qwen_shared.training.plan.fit import suggest
from qwen_shared.training.plan.memory import rank_memory

ROWS = 1024


def recipe(**sections) -> PretrainRecipe:
    training = {"steps": 9, "global_batch_size": 64, "micro_batch_size": 8}
    return PretrainRecipe.model_validate(
        {
            "name": "x",
            "model": {"num_layers": 8, "hidden_size": 256, "num_attention_heads": 8, "ffn_hidden_size": 512},
            "data": {"sources": "stdlib", "seq_length": 512},
            "training": training,
            "optimizer": {"lr": 1e-2},
            "checkpoint": {"interval": 1},
            "evaluation": {"interval": 1},
            **sections,
        }
    )


def need(recipe, layout) -> float:
    return rank_memory(recipe, layout, ROWS, "bf16").total


def suggestions(share: float, ranks: int = 1, nodes: int = 1, **sections):
    """For a machine with this share of what is needed."""
    made = recipe(**sections)
    layout = check_layout(made, ranks)
    capacity = share * need(made, layout)
    return suggest(made, layout, need, capacity, nodes), capacity


def test_each_knob_alone_is_enough_and_the_cheapest_comes_first():
    found, capacity = suggestions(0.9)
    assert [str(one) for one in found[:2]] == ["training.micro_batch_size=4", "parallel.recompute=selective"]
    assert all(one.fits and one.bytes <= capacity for one in found)


def test_what_is_suggested_is_what_would_be_needed():
    found, capacity = suggestions(0.9)
    tree = recipe().model_dump(mode="json")
    for one in found:
        changed = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
        for key, value in one.change.items():
            if not key.startswith("--"):
                section, _, name = key.partition(".")
                changed[section][name] = value
        made = PretrainRecipe.model_validate(changed)
        assert need(made, check_layout(made, one.change.get("--nproc", 1))) == one.bytes <= capacity


def test_several_knobs_where_one_is_not_enough():
    found, capacity = suggestions(0.05)
    (together,) = found
    assert together.fits and together.bytes <= capacity and len(together.change) > 1
    assert together.change["training.micro_batch_size"] == 1


def test_what_comes_nearest_where_nothing_is_enough():
    found, capacity = suggestions(1e-4)
    (nearest,) = found
    assert not nearest.fits and nearest.bytes > capacity


def test_a_knob_that_is_turned_already_is_not_suggested():
    found, _ = suggestions(0.95, training={"steps": 9, "global_batch_size": 64}, parallel={"recompute": "full"})
    assert not any("micro_batch_size" in one.change or "parallel.recompute" in one.change for one in found)


def test_more_processes_are_so_many_on_each_host():
    """Four in all, one way or the other."""
    for nodes, nproc in ((1, 4), (2, 2)):
        found, _ = suggestions(0.5, 2, nodes)
        assert [one.change["--nproc"] for one in found if "--nproc" in one.change] == [nproc, nproc]
