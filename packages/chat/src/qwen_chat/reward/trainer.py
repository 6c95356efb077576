"""One stage on trl's `RewardTrainer`, with our order of pairs, learning rate, logging and checkpoints."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
import trl
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback

from qwen_chat.reward.recipe import RewardRecipe
from qwen_chat.reward.stages import Stage
from qwen_shared import faults
from qwen_shared.errors import UserError
from qwen_shared.files import flush
from qwen_shared.job.frame import Run
from qwen_shared.job.signals import StopRequest
from qwen_shared.run.integrity import write_hashes
from qwen_shared.run.paths import checkpoint_path
from qwen_shared.run.saving import prune_checkpoints, room_refusal
from qwen_shared.training.schedule import learning_rate

PROGRESS = "progress.json"


class Trainer(trl.RewardTrainer):
    """With the recipe's schedule, without model cards and telemetry."""

    def __init__(self, *args, rate: Callable[[int], float], **kwargs):
        self._rate = rate
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None):
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer
            assert optimizer is not None
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda done: self._rate(done + 1) / self.args.learning_rate
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def create_model_card(self, *args, **kwargs) -> None: ...

    def _send_telemetry(self) -> None: ...


def make_trainer(
    recipe: RewardRecipe,
    stage: Stage,
    module: torch.nn.Module,
    arguments: trl.RewardConfig,
    pairs: Dataset,
    tokenizer,
    callback: StepCallback,
) -> Trainer:
    """`pairs` in the order of training; `tokenizer` is transformers', with the padding token set."""

    def rate(step: int) -> float:
        return learning_rate(recipe.schedule, stage.lr, min(step, stage.steps), stage.steps)

    return Trainer(module, arguments, train_dataset=pairs, processing_class=tokenizer, callbacks=[callback], rate=rate)


def arguments_of(
    recipe: RewardRecipe, stage: Stage, writing: Path, precision: str, world_size: int, deepspeed: dict | None
) -> trl.RewardConfig:
    """Turns off everything that trl would do on its own. `deepspeed`: settings, None for none."""
    training, optimizer = recipe.training, recipe.optimizer
    on_gpu = torch.cuda.is_available()
    return trl.RewardConfig(
        output_dir=str(writing),
        per_device_train_batch_size=training.micro_batch_size,
        gradient_accumulation_steps=training.global_batch_size // (training.micro_batch_size * world_size),
        max_steps=stage.steps,
        learning_rate=stage.lr,
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        adam_epsilon=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.clip_grad,
        optim="adamw_torch",
        bf16=precision == "bf16",
        gradient_checkpointing=training.recompute == "full",
        max_length=None,
        train_sampling_strategy="sequential",
        dataloader_pin_memory=on_gpu,
        ddp_find_unused_parameters=False,
        use_cpu=not on_gpu,
        seed=recipe.seed,
        # The callback below logs and saves.
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        deepspeed=deepspeed,
    )


class StepCallback(TrainerCallback):
    """After each step: validate, log, save and stop."""

    def __init__(
        self,
        run: Run,
        recipe: RewardRecipe,
        stage: Stage,
        stop: StopRequest,
        validate: Callable[[], dict[str, float]],
        alive: Callable[[], None],
    ):
        self.run, self.recipe, self.stage, self.stop, self.validate, self.alive = (
            run,
            recipe,
            stage,
            stop,
            validate,
            alive,
        )
        self.stopped = False
        self._validation: dict[str, float] = {}
        self._tokens = 0.0

    def on_step_begin(self, args, state, control, **_):
        self.alive()
        faults.reach("training", self.stage.first + state.global_step + 1)
        self._began = time.perf_counter()

    def on_substep_end(self, *_, **__):
        self.alive()

    def on_step_end(self, args, state, control, **_):
        self._seconds = time.perf_counter() - self._began
        step, final = state.global_step, state.global_step >= self.stage.steps
        asked = self.stop.agreed()
        self.stopped = asked and not final
        if step % self.recipe.evaluation.interval == 0:
            self._validation = {f"val/{name}": value for name, value in self.validate().items()}
        control.should_log = bool(self._validation) or step % self.recipe.tracking.log_interval == 0 or final
        control.should_save = step % self.recipe.checkpoint.interval == 0 or final or self.stopped
        if control.should_save and self.run.rank == 0:
            refusal = room_refusal(self.run.checkpoints, self.stage.first + step)
            if refusal:
                raise UserError(refusal)
        control.should_training_stop = control.should_training_stop or self.stopped
        return control

    def on_log(self, args, state, control, **given):
        logs = given["logs"]
        state.log_history.clear()  # it would grow with every checkpoint
        if "loss" not in logs:  # trl's own summary, at the end
            return
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs.get("grad_norm", 0.0)):
            raise FloatingPointError(
                f"step {self.stage.first + state.global_step}: loss {logs['loss']}, gradient norm "
                f"{logs.get('grad_norm')}; the last checkpoint is from before. A lower optimizer.lr may help"
            )
        tokens, self._tokens = logs["num_tokens"] - self._tokens, logs["num_tokens"]
        metrics = {
            "train/loss": logs["loss"],
            "train/grad_norm": logs.get("grad_norm", 0.0),
            "train/lr": logs["learning_rate"],
            "train/accuracy": logs["accuracy"],
            "train/margin": logs["margin"],
            "train/reward": logs["mean_reward"],
            "train/tokens_per_second": tokens / (self._seconds * self.recipe.tracking.log_interval),
        }
        self.run.tracker.log(self.stage.first + state.global_step, metrics | self._validation)
        self._validation = {}

    def on_save(self, args, state, control, **_):
        """Makes transformers' files a checkpoint by one rename."""
        written = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self._all_here()
        if self.run.rank == 0:
            step = self.stage.first + state.global_step
            progress = {"step": step, "stage": self.stage.name, "world_size": self.run.world_size}
            (written / PROGRESS).write_text(json.dumps(progress) + "\n")
            write_hashes(written)
            final = checkpoint_path(self.run.checkpoints, step)
            shutil.rmtree(final, ignore_errors=True)
            written.replace(final)
            flush(self.run.checkpoints)
            prune_checkpoints(self.run.checkpoints, self.recipe.checkpoint)
        self._all_here()

    def _all_here(self) -> None:
        if self.run.world_size > 1:
            torch.distributed.barrier()
