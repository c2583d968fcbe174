"""A recipe put to work: data, devices and run folder around the loop."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.flop_counter import FlopCounterMode

from resharp.data.loading import batches
from resharp.data.sources import Source, open_source
from resharp.data.synthesis import Synthesis
from resharp.device import checked_device
from resharp.errors import RecipeError, ResourceError, WeightsError
from resharp.files import refusals_named
from resharp.locks import exclusive
from resharp.networks import DAE
from resharp.photo import Photo, write_photo
from resharp.weights import Card, load_weights, save_weights

from .building import build_losses, build_stage, networks_of
from .checkpoint import latest_state, save_checkpoint
from .config import Recipe, plain
from .loop import OnStep, Rhythm, Run, train
from .run_folder import MetricsLog, draw_curves, forget_after, note_beginning, read_metrics
from .steps import Batch, Moment, WeightedLosses
from .validation import HeldOut, as_float, held_out

Say = Callable[[str], None]


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

    The same call again goes on where the last one stopped, and ends in the same bits.  init: weights to begin from;
    device: "cpu", "cuda", "mps", ..., or "auto" for the machine's accelerator if it has one;  `on_step` hears each
    step's numbers, `say` warnings in one line.  Under a launcher (torchrun, accelerate launch) all processes call this.
    Raises RecipeError, ArgumentError, DatasetError, PhotoError, WeightsError, OutputError, ResourceError.
    """
    out = Path(out)
    accelerator = _accelerator(device, recipe)
    with refusals_named(out):
        out.mkdir(parents=True, exist_ok=True)
    lock = exclusive(out) if accelerator.is_main_process else contextlib.nullcontext()
    with lock, _memory_named(), _Stop() as stop:
        workshop = Workshop(recipe, out, accelerator, stop, init=init, on_step=on_step, say=say or (lambda _: None))
        try:
            train(workshop.run, workshop.stages(), workshop, workshop.rhythm())
        finally:
            workshop.close()
        return workshop.write_weights()


def _accelerator(device: str, recipe: Recipe) -> Accelerator:
    """The launcher's processes and devices.  Raises ArgumentError for a device that is not there."""
    if device != "auto":
        checked_device(device)
    for tracker in recipe.rhythm.tracking:
        if importlib.util.find_spec(tracker) is None:
            raise RecipeError(f"rhythm.tracking: {tracker} is not installed; pip install {tracker}, or leave it out")
    accelerator = Accelerator(cpu=device == "cpu")
    for index, stage in enumerate(recipe.stages):
        if stage.batch_size % accelerator.num_processes:
            raise RecipeError(
                f"stages.{index}.batch_size: {stage.batch_size} is no multiple of the {accelerator.num_processes} "
                "processes that share it"
            )
        if stage.precision == "float16" and accelerator.device.type == "cpu":
            raise RecipeError(f"stages.{index}.precision: float16 needs an accelerator; on the CPU take bfloat16")
    return accelerator


class Workshop:
    """The surroundings of the loop for one recipe: sources, networks, run folder."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        accelerator: Accelerator,
        stop: "_Stop",
        *,
        init: str | Path | None,
        on_step: OnStep | None,
        say: Say,
    ) -> None:
        self.recipe, self.folder, self.accelerator = recipe, folder, accelerator
        self._stop, self._on_step, self._say = stop, on_step, say
        self.synthesis, self.held_out = sources_of(recipe)
        self.run, self.losses = prepared_run(recipe, accelerator.device, init=init)
        self.identity = _identity(recipe, self.synthesis, init)
        self._log: MetricsLog | None = None
        self.accelerator.wait_for_everyone()
        state, complaints = latest_state(folder, self.identity)
        for complaint in complaints:
            say(complaint)
        if accelerator.is_main_process:
            n_seen = 0 if state is None else state["n_seen"]
            forget_after(folder, n_seen)
            note_beginning(folder, plain(recipe), device=str(accelerator.device), n_processes=accelerator.num_processes)
            self._log = MetricsLog(folder)
            self._start_tracking(n_seen)

    def stages(self) -> list[Callable[[], Any]]:
        """Each makes a stage with fresh optimisers."""
        return [lambda index=index: self._stage(index) for index in range(len(self.recipe.stages))]  # type: ignore[misc]

    def rhythm(self) -> Rhythm:
        """As the recipe says."""
        return Rhythm(
            validate_every=self.recipe.rhythm.validate_every,
            save_every=self.recipe.rhythm.save_every,
            roll_backs=self.recipe.divergence.roll_backs,
            roll_back_factor=self.recipe.divergence.factor,
            ema=self.recipe.ema,
            seed=self.recipe.seed,
            rank=self.accelerator.process_index,
            n_ranks=self.accelerator.num_processes,
        )

    def draw(self, start: int, stop: int, batch_size: int) -> Iterator[Batch]:
        """This process's share of the samples, on its device."""
        stream = batches(
            self.synthesis,
            batch_size=batch_size,
            start=start,
            stop=stop,
            n_workers=self.recipe.data.n_workers,
            noise_sigma=self.recipe.data.noise_sigma,
            rank=self.accelerator.process_index,
            n_ranks=self.accelerator.num_processes,
        )
        for degraded, clean in stream:
            yield self._on_device(degraded), self._on_device(clean)

    def report(self, record: dict[str, Any]) -> None:
        """To metrics.jsonl, the trackers, and whoever listens."""
        if not self.accelerator.is_main_process:
            return
        assert self._log is not None
        if "rolled_back" in record:
            self._log.close()
            forget_after(self.folder, record["n_seen"])
            self._log = MetricsLog(self.folder)
        self._log.add(record)
        for warning in record.get("warnings", ()):
            self._say(f"after {record['n_seen']:,} images: {warning}")
        if "rolled_back" in record:
            self._say(f"diverged {record['rolled_back']}; going on from {record['n_seen']:,} images with lower rates")
        numbers = {name: value for name, value in record.items() if isinstance(value, float)}
        if self.recipe.rhythm.tracking:
            self.accelerator.log(numbers, step=record["n_seen"])
        if self._on_step is not None:
            self._on_step(record)

    def validate(self, run: Run) -> dict[str, float]:
        """Scores of the generator that will be kept; a sheet of pictures, and the curves so far."""
        restored = self.held_out.restored(run.judged, self.accelerator.device)
        scores = dataclasses.asdict(self.held_out.scores(restored))
        if self.accelerator.is_main_process:
            sheet = self.folder / "samples" / f"{run.n_seen:012d}.png"
            write_photo(Photo(self.held_out.sheet(restored)), sheet)
        return scores

    def save(self, state: dict[str, Any]) -> None:
        """A checkpoint by the main process, all others waiting; the log holds its steps first."""
        if self.accelerator.is_main_process:
            assert self._log is not None
            self._log.flush()
            save_checkpoint(self.folder, state | {"identity": self.identity}, keep=self.recipe.rhythm.keep)
            if state["scores"]:
                draw_curves([(self.recipe.weights.name, read_metrics(self.folder))], self.folder / "curves.png")
        self.accelerator.wait_for_everyone()

    def last_saved(self) -> dict[str, Any] | None:
        """The newest sound checkpoint."""
        return latest_state(self.folder, self.identity)[0]

    def is_told_to_stop(self) -> bool:
        """Ctrl-C or a scheduler's SIGTERM, in whichever process."""
        if self.accelerator.num_processes == 1:
            return self._stop.asked
        asked = torch.tensor([float(self._stop.asked)], device=self.accelerator.device)
        return bool(self.mean(asked) > 0)

    def mean(self, values: Tensor) -> Tensor:
        """Over all processes."""
        if self.accelerator.num_processes == 1:
            return values
        reduced: Tensor = self.accelerator.reduce(values, "mean")
        return reduced

    def close(self) -> None:
        """Writes what is left of the log."""
        if self._log is not None:
            self._log.close()
            if self.recipe.rhythm.tracking:
                self.accelerator.end_training()

    def write_weights(self) -> Path:
        """The kept generator with its card; the main process writes, all return the path."""
        recipe, network = self.recipe, self.run.judged
        path = self.folder / f"{recipe.weights.name}.safetensors"
        if self.accelerator.is_main_process:
            deployed = network.folded() if isinstance(network, DAE) else network
            card = Card(
                network=recipe.network.kind,
                arguments=dict(getattr(deployed, "arguments", recipe.network.arguments)),
                name=recipe.weights.name,
                noise_sigma=recipe.data.noise_sigma or None,
                training_data=recipe.weights.training_data,
                licence=recipe.weights.licence,
                quality=f"{self.run.scores['psnr']:.2f} dB on {recipe.data.n_holdout} held-out training photos",
            )
            save_weights(deployed, path, card)
        self.accelerator.wait_for_everyone()
        return path

    def _stage(self, index: int) -> Any:
        return build_stage(
            self.recipe,
            index,
            self.run,
            self.losses[index],
            wrap=self._wrapped,
            mean=self.mean,
            device=self.accelerator.device,
        )

    def _wrapped(self, objective: nn.Module) -> nn.Module:
        wrapped: nn.Module = self.accelerator.prepare_model(objective)
        return wrapped

    def _on_device(self, part: Tensor) -> Tensor:
        moved = part.to(self.accelerator.device, non_blocking=True)
        return as_float(moved).contiguous(memory_format=torch.channels_last)

    def _start_tracking(self, n_seen: int) -> None:
        trackers = self.recipe.rhythm.tracking
        if not trackers:
            return
        self.accelerator.log_with = list(trackers)
        self.accelerator.project_configuration.set_directories(str(self.folder))
        resumed = {"tensorboard": {"purge_step": n_seen + 1}}
        self.accelerator.init_trackers(
            self.recipe.weights.name, init_kwargs={name: resumed[name] for name in trackers if name in resumed}
        )


def sources_of(recipe: Recipe) -> tuple[Synthesis, HeldOut]:
    """(training samples, held-out samples).  Raises DatasetError, ArgumentError, RecipeError."""
    data = recipe.data
    if data.mix and len(data.mix) != len(data.photos):
        raise RecipeError(f"data.mix: {len(data.mix)} weights for {len(data.photos)} sources; give one for each")
    sources = [open_source(p, split=data.split, kept_bytes=data.kept_megabytes * 2**20) for p in data.photos]
    training, kept = held_out(sources[0], data.n_holdout)
    mixed: list[Source] = [training, *sources[1:]]
    weights = data.mix or (1,) * len(mixed)
    synthesis = Synthesis(list(zip(weights, mixed, strict=True)), data.plan, seed=recipe.seed)
    judged = HeldOut(
        kept, data.plan, crop=recipe.rhythm.validation_crop, noise_sigma=data.noise_sigma, seed=recipe.seed + 1
    )
    return synthesis, judged


def prepared_run(
    recipe: Recipe, device: torch.device, *, init: str | Path | None = None
) -> tuple[Run, list[WeightedLosses]]:
    """Networks on their device as a run begins with them, and the losses of each stage."""
    networks = networks_of(recipe)
    if init is not None:
        _begin_from(networks["generator"], init, recipe)
    is_plain = all(stage.optimizer.kind == "adam" for stage in recipe.stages)  # Muon sees weights as matrices
    for network in networks.values():
        network.to(device)
        if is_plain:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(networks["generator"], use_buffers=True) if recipe.ema else None
    losses = [build_losses(stage.losses, recipe.features, device) for stage in recipe.stages]
    return Run(networks, averaged), losses


def _begin_from(generator: nn.Module, init: str | Path, recipe: Recipe) -> None:
    network, card = load_weights(init)
    if card.network != recipe.network.kind or network.state_dict().keys() != generator.state_dict().keys():
        raise WeightsError(f"{init}: is of network {card.network!r} {card.arguments}, the recipe's is another")
    try:
        generator.load_state_dict(network.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{init}: does not fit the recipe's network ({reason})") from None


def _identity(recipe: Recipe, synthesis: Synthesis, init: str | Path | None) -> dict[str, Any]:
    """All that decides the bits of a run: the recipe without what it only says or where things lie, and the photos."""
    decisive = recipe.model_dump(
        mode="json",
        exclude={
            "weights": True,
            "data": {"photos", "n_workers", "kept_megabytes"},
            "features": {"weights"},
            "rhythm": True,
            "divergence": True,
        },
    )
    begun = "" if init is None else hashlib.sha256(Path(load_weights(init)[1].path).read_bytes()).hexdigest()
    return {**decisive, "photos": [source.fingerprint() for source in synthesis.sources], "init": begun}


class _Stop:
    """The first Ctrl-C or SIGTERM asks the run to end after its step; the second ends it at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        with contextlib.suppress(ValueError):  # signals belong to the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: object) -> None:
        del frame
        signal.signal(number, signal.default_int_handler)
        self.asked = True


@contextlib.contextmanager
def _memory_named() -> Iterator[None]:
    """Turns a failed allocation into a ResourceError that names the knobs."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise ResourceError(
            "not enough memory for a step; raise stages.N.accumulate, or lower stages.N.batch_size or data.plan.crop"
        ) from error


def dry_run(recipe: Recipe, *, device: str = "auto", n_steps: int = 3) -> dict[str, Any]:
    """What a run would take, from a few real steps that leave nothing behind.

    Parameters by network, floating-point operations of a step, peak memory in bytes (of the accelerator, or of this
    process), seconds of a step and of the whole run; the first stage stands for all.
    """
    accelerator = _accelerator(device, recipe)
    run, losses = prepared_run(recipe, accelerator.device)
    synthesis, _ = sources_of(recipe)
    results: dict[str, Any] = {
        "parameters": {name: sum(p.numel() for p in network.parameters()) for name, network in run.networks.items()},
        "device": str(accelerator.device),
    }
    with _memory_named():
        stage = build_stage(
            recipe, 0, run, losses[0], wrap=lambda objective: objective, mean=lambda v: v, device=accelerator.device
        )
        stream = batches(
            synthesis,
            batch_size=stage.drawn_per_step,
            stop=(n_steps + 1) * stage.drawn_per_step,
            noise_sigma=recipe.data.noise_sigma,
        )
        seconds = []
        for index, (degraded, clean) in enumerate(stream):
            batch = as_float(degraded.to(accelerator.device)), as_float(clean.to(accelerator.device))
            started = time.perf_counter()
            counter = FlopCounterMode(display=False) if index == 0 else contextlib.nullcontext()
            with counter:
                stage.take_step(batch, Moment(n_seen=0, factor=1.0, seed=index, place=0))
            seconds.append(time.perf_counter() - started)
            if index == 0:
                results["flops_per_step"] = counter.get_total_flops()  # type: ignore[union-attr]
    results["seconds_per_step"] = min(seconds[1:] or seconds)
    n_steps_in_all = sum(one.n_images // one.batch_size for one in recipe.stages)
    results["hours"] = results["seconds_per_step"] * n_steps_in_all / 3600
    results["peak_memory"] = _peak_memory(accelerator.device)
    return results


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * 1024
