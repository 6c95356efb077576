import json


def sft(invocation):
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.sft.job import fine_tune

    i = invocation

    def evaluate(model, when, tracker):
        """Notes that it was called, and with a model that is there."""
        with (i.run_dir / "evaluated.jsonl").open("a") as file:
            file.write(json.dumps([when, str(model), (model / "config.json").is_file()]) + "\n")
        return {f"toy/{when}": 1.0}

    fine_tune(i, evaluate=evaluate)


def plan(invocation):
    from qwen_shared.training.plan import plan_run

    i = invocation
    return plan_run(i)


def show_batch(invocation, count):
    from qwen_shared.sft.show import show_batch

    show_batch(invocation.recipe, invocation.parent.tokenizer, {}, count)
