"""The training loop: draw, step, report, judge, save; and what sets it going.

Progress counts in images seen.  Sample n of a run, and what a step draws, are functions of the seed and of n alone, so
resuming is running the same command again: a checkpoint holds all that the next step needs.
"""

import dataclasses
import importlib.util
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from resharp.device import has_fast_bfloat16
from resharp.errors import RecipeError, ResourceError
from resharp.files import refusals_named

from .building import build_cast, build_losses, check_networks, check_stages, noise_of
from .config import Recipe, StageRecipe
from .context import Batch, DivergedError, Report, StepContext, WeightedLosses
from .ending import Stop, ends_named, memory_named
from .health import HealthMonitor, first_non_finite
from .launching import algorithms, held, launched
from .sampler import Sampler, open_sampler
from .state import Stage, TrainerState
from .trainer import Ears, OnStep, Say, Trainer
from .validation import judge_of

_MIX = 0x9E3779B97F4A7C15


def train_weights(
    recipe: Recipe,
    out: str | Path,
    *,
    init: str | Path | None = None,
    device: str = "auto",
    on_step: OnStep | None = None,
    say: Say | None = None,
) -> Path:
    """Train a recipe in the run folder `out` and write its weights there; returns their path, NAME.safetensors.

    Where an earlier validation was better, NAME-best.safetensors beside them holds the weights of that moment.

    The same call again goes on where the last one stopped, and ends in the same bits.  init: weights that the network
    which is judged begins from;  device: "cpu", "cuda", "mps", ..., or "auto" for the machine's accelerator if it has
    one;  `on_step` hears each step's numbers, `say` warnings in one line.  Under a launcher (torchrun, accelerate
    launch) all processes call this.  torch's global random state is left as it was.
    Raises RecipeError, ArgumentError, DatasetError, PhotoError, WeightsError, OutputError, ResourceError; and
    KeyboardInterrupt once a run that was told to stop, by Ctrl-C or SIGTERM, has saved.
    """
    recipe, out = begun_from(recipe, init), Path(out)
    accelerator = launched(device, recipe)
    _check_tracking(recipe)
    with ends_named():
        # Whatever is wrong with these, no folder is made for it.
        sampler, state, losses = prepared(recipe, accelerator.device)
        judge = judge_of(recipe, sampler.held_out, accelerator.device)
    with refusals_named(out):
        out.mkdir(parents=True, exist_ok=True)
    ears = Ears(on_step, say or (lambda _: None))
    slow = [
        f"stages.{i}.precision={_instead_of_bfloat16(one, accelerator.device)}"
        for i, one in enumerate(recipe.stages)
        if one.precision == "bfloat16"
    ]
    if slow and accelerator.is_main_process and not has_fast_bfloat16(accelerator.device):
        ears.say(f"bfloat16 is slow on this processor; {' '.join(slow)} may be several times as fast")
    with ends_named(), held(out, accelerator), algorithms(recipe), Stop() as stop:
        trainer = Trainer(recipe, out, accelerator, stop, sampler, judge, (state, losses), ears)
        try:
            train(trainer)
        finally:
            trainer.close()
        return trainer.write_weights()


def begun_from(recipe: Recipe, init: str | Path | None) -> Recipe:
    """The recipe with `init` as what the judged network begins from."""
    if init is None:
        return recipe
    networks = recipe.networks | {recipe.judged: recipe.networks[recipe.judged].model_copy(update={"init": str(init)})}
    return recipe.model_copy(update={"networks": networks})


def prepared(recipe: Recipe, device: torch.device) -> tuple[Sampler, TrainerState, list[WeightedLosses]]:
    """What a run begins with, tried before anything is written.  Raises what is wrong with it."""
    state = build_cast(recipe, device)
    sampler = open_sampler(recipe, noise_of(state))
    check_stages(recipe, state, sampler.gives)
    check_networks(state, {name: part.to(device) for name, part in sampler.held_out.items()}, recipe)
    return sampler, state, [build_losses(stage.losses, recipe.features, device) for stage in recipe.stages]


def _instead_of_bfloat16(stage: StageRecipe, device: torch.device) -> str:
    """What is fast where bfloat16 is not."""
    return (
        "float16" if device.type == "cuda" and all(one.kind == "adam" for one in stage.trains.values()) else "float32"
    )


def _check_tracking(recipe: Recipe) -> None:
    for tracker in recipe.tracking:
        if importlib.util.find_spec(tracker) is None:
            extra = "train" if tracker == "tensorboard" else tracker
            raise RecipeError(f"tracking: {tracker} is not installed; pip install 'resharp[{extra}]', or leave it out")


def train(trainer: Trainer) -> None:
    """Take a run from where its last checkpoint left it to its end.

    Raises RecipeError for a run that diverges once too often.
    """
    run, divergence, state = trainer.state, trainer.recipe.divergence, trainer.last_saved()
    while True:
        if state is not None:
            run.load(state)
        try:
            return _train_on(trainer, state)
        except DivergedError as error:
            # The step straight after a checkpoint would fail again, at any rate: it is the same one.
            state = trainer.last_saved(before=run.n_seen)
            trainer.wait()  # until every process has read what is about to be written anew
            where = f"after {run.n_seen:,} images: {error}"
            if state is None or run.n_roll_backs >= divergence.roll_backs:
                left = "there is no checkpoint before it" if state is None else "the checkpoint before it is intact"
                raise RecipeError(
                    f"the training diverged {where}; lower the learning rates and start anew, or allow "
                    f"divergence.roll_backs; {left}"
                ) from None
            state = state | {"factor": run.factor * divergence.factor, "n_roll_backs": run.n_roll_backs + 1}
            trainer.save(state)
            trainer.report({"n_seen": state["n_seen"], "rolled_back": where, "factor": state["factor"]})


def _train_on(trainer: Trainer, state: dict[str, Any] | None) -> None:
    run, recipe = trainer.state, trainer.recipe
    for index in range(len(recipe.stages)):
        stage = trainer.stage(index)
        if run.n_seen >= stage.stop:
            continue
        if state is not None and run.n_seen > stage.start:
            stage.load(state["stage"])
        if run.n_seen == stage.start:
            run.monitor = HealthMonitor()  # losses and gradients of other stages are no measure for these
        batches = trainer.draw(stage)
        started, waited, n_steps = time.perf_counter(), 0.0, 0
        while run.n_seen < stage.stop:
            # draw
            drawing = time.perf_counter()
            batch = _drawn(trainer, stage, batches)
            waited += time.perf_counter() - drawing
            # step
            reads = _reads(trainer, stage)
            record = _stepped(trainer, stage, batch, reads=reads)
            before, run.n_seen, n_steps = run.n_seen, run.n_seen + stage.batch_size, n_steps + 1
            if not reads:
                continue
            # report
            record["n_seen"] = run.n_seen
            record["warnings"] = [warning.message for warning in run.monitor.update(run.n_seen, _numbers(record))]
            record |= {"seconds": (time.perf_counter() - started) / n_steps, "waited": waited / n_steps}
            # judge
            is_last, is_best = run.n_seen == recipe.n_images, False
            if is_last or _passed(before, run.n_seen, recipe.judge.every):
                is_best = _judged(trainer)
                record |= _told(run.scores)
            trainer.report(record)
            # save
            stops = trainer.is_told_to_stop()
            if stops or is_best or run.n_seen == stage.stop or _passed(before, run.n_seen, recipe.checkpoints.every):
                trainer.save(run.state() | {"stage": stage.state()})
            if stops:
                trainer.write_weights_so_far()
                raise KeyboardInterrupt
            started, waited, n_steps = time.perf_counter(), 0.0, 0
        state = None  # later stages begin with fresh optimisers


def _reads(trainer: Trainer, stage: Stage) -> bool:
    """Whether the next step's numbers are read: each so many, and wherever the run is judged, saved or told to stop, so
    that nothing is kept of which nobody knows whether it is sound."""
    recipe, before = trainer.recipe, trainer.state.n_seen
    after, every = before + stage.batch_size, stage.context.stage.read_every
    if (after - stage.start) // stage.batch_size % every == 0 or after == stage.stop:
        return True
    saves = any(_passed(before, after, one) for one in (recipe.judge.every, recipe.checkpoints.every))
    return saves or (trainer.accelerator.num_processes == 1 and trainer.is_told_to_stop())


def _drawn(trainer: Trainer, stage: Stage, batches: Iterator[Batch]) -> Batch:
    try:
        return next(batches)
    except ResourceError:  # a scheduler's SIGTERM reaches the loader's workers too
        if trainer.accelerator.num_processes > 1 or not trainer.is_told_to_stop():
            raise
        parameters = (one for player in stage.players.values() for one in player.network.named_parameters())
        if first_non_finite(parameters) is None:  # the last step may not have been read
            trainer.save(trainer.state.state() | {"stage": stage.state()})
        raise KeyboardInterrupt from None


def _stepped(trainer: Trainer, stage: Stage, batch: Batch, *, reads: bool) -> dict[str, Any]:
    """One step of the stage and of the averages of what it trains; a DivergedError names the samples."""
    run, accelerator = trainer.state, trainer.accelerator
    context = dataclasses.replace(
        stage.context,
        n_seen=run.n_seen - stage.start,
        factor=run.factor,
        seed=(trainer.recipe.seed * _MIX + run.n_seen * 0x2545F491) % 2**31,
        place=accelerator.process_index * (stage.batch_size // accelerator.num_processes),
        reads=reads,
    )
    try:
        with memory_named(stage.context.stage, trainer.recipe.stages.index(stage.context.stage)):
            record = take_step(stage, batch, context)
    except DivergedError as error:
        unread = context.n_seen // stage.batch_size % stage.context.stage.read_every  # steps before this one
        last = stage.position(run.n_seen) + stage.drawn_per_step - 1
        first = last + 1 - (unread + 1) * stage.drawn_per_step
        names = trainer.sampler.photos(first, last)
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        made_of = f"samples {first:,} to {last:,} ({', '.join(names[:4])}{more})"
        raise DivergedError(f"{error} is no number in the step on {made_of}") from None
    for name, player in stage.players.items():
        if player.average is not None and player.optimizers is not None:
            player.take_average(trainer.recipe.networks[name].ema ** stage.batch_size)
    return dict(record)


def take_step(stage: Stage, batch: Batch, context: StepContext) -> Report:
    """A step with its players in their modes and its dropout drawn from its seed; the global random state stays."""
    for player in stage.players.values():
        player.network.train(player.optimizers is not None)
    with torch.random.fork_rng(devices=[context.device] if context.device.type == "cuda" else []):
        context.reseed()
        return stage.take_step(stage.players, batch, context)


def _judged(trainer: Trainer) -> bool:
    """Judges the run; whether it never did better.  Raises DivergedError for a headline that is no number."""
    run, scores = trainer.state, trainer.judge()
    run.scores = scores.figures
    if scores.headline and math.isnan(scores.figures[scores.headline]):
        raise DivergedError("the validation is no number")
    is_best = scores.is_better_than(run.best.get("score"))
    if is_best:
        run.best = {"n_seen": run.n_seen, "score": scores.figures[scores.headline]}
    return is_best


def _told(scores: dict[str, float]) -> dict[str, float]:
    """Figures as a record holds them: "validation_psnr" beside the yardstick "input_psnr"."""
    return {name if name.startswith("input_") else f"validation_{name}": value for name, value in scores.items()}


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in record.items() if isinstance(value, float)}


def _passed(before: int, after: int, every: int) -> bool:
    return before // every < after // every
