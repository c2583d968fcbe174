"""A recipe put to work: data, devices and run folder around the loop."""

import dataclasses
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from resharp.data.loading import batches
from resharp.data.synthesis import Synthesis
from resharp.errors import RecipeError
from resharp.files import clear_unfinished, refusals_named
from resharp.models import Card, contract_of, save_model
from resharp.networks import DAE
from resharp.photo import Photo, write_photo

from .building import check_networks, prepared_run, sources_of
from .checkpoint import checkpoint_path, latest_state, read_checkpoint, save_checkpoint
from .config import Recipe
from .ending import Stop, ends_named
from .identity import identity_of
from .launching import held, launched
from .loop import OnStep, Rhythm, Run, train
from .objectives import WeightedLosses
from .reading import plain
from .run_folder import MetricsLog, draw_curves, forget_after, note_beginning, read_metrics
from .stages import build_stage
from .steps import Batch
from .validation import HeldOut, on_device

Say = Callable[[str], None]

_CURVES_EVERY = 60  # seconds, beside the end: small runs would do little but draw


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

    The same call again goes on where the last one stopped, and ends in the same bits.  init: weights to begin from;
    device: "cpu", "cuda", "mps", ..., or "auto" for the machine's accelerator if it has one;  `on_step` hears each
    step's numbers, `say` warnings in one line.  Under a launcher (torchrun, accelerate launch) all processes call this.
    Raises RecipeError, ArgumentError, DatasetError, PhotoError, WeightsError, OutputError, ResourceError; and
    KeyboardInterrupt once a run that was told to stop, by Ctrl-C or SIGTERM, has saved.
    """
    out = Path(out)
    accelerator = launched(device, recipe)
    _check_tracking(recipe)
    with ends_named():
        # Whatever is wrong with these, no folder is made for it.
        sources, prepared = sources_of(recipe), prepared_run(recipe, accelerator.device, init=init)
        check_networks(prepared[0].networks, sources[1], recipe)
    with refusals_named(out):
        out.mkdir(parents=True, exist_ok=True)
    with ends_named(), held(out, accelerator), Stop() as stop:
        workshop = Workshop(
            recipe, out, accelerator, stop, sources, prepared, init=init, on_step=on_step, say=say or (lambda _: None)
        )
        try:
            train(workshop.run, workshop.stages(), workshop, workshop.rhythm())
        finally:
            workshop.close()
        return workshop.write_weights()


def _check_tracking(recipe: Recipe) -> None:
    for tracker in recipe.rhythm.tracking:
        if importlib.util.find_spec(tracker) is None:
            extra = "train" if tracker == "tensorboard" else tracker
            raise RecipeError(
                f"rhythm.tracking: {tracker} is not installed; pip install 'resharp[{extra}]', or leave it out"
            )


class Workshop:
    """The surroundings of the loop for one recipe: sources, networks, run folder."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        accelerator: Accelerator,
        stop: Stop,
        sources: tuple[Synthesis, HeldOut],
        prepared: tuple[Run, list[WeightedLosses]],
        *,
        init: str | Path | None,
        on_step: OnStep | None,
        say: Say,
    ) -> None:
        self.recipe, self.folder, self.accelerator = recipe, folder, accelerator
        self._stop, self._on_step, self._say = stop, on_step, say
        self.synthesis, self.held_out = sources
        self.run, self.losses = prepared
        self.identity = identity_of(recipe, self.synthesis, init=init, n_processes=accelerator.num_processes)
        self._log: MetricsLog | None = None
        self._drawn = time.monotonic()
        self.accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            for place in (folder, folder / "samples"):
                clear_unfinished(place, below=False)
            state, complaints = latest_state(folder, self.identity)
            for complaint in complaints:
                say(complaint)
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

    def draw(self, start: int, stop: int, batch_size: int, rounds: int) -> Iterator[Batch]:
        """This process's share of the samples, on its device."""
        stream = batches(
            self.synthesis,
            batch_size=batch_size,
            rounds=rounds,
            start=start,
            stop=stop,
            n_workers=self.recipe.data.n_workers,
            noise_sigma=self.recipe.data.noise_sigma,
            rank=self.accelerator.process_index,
            n_ranks=self.accelerator.num_processes,
        )
        for degraded, clean in stream:
            yield on_device(degraded, self.accelerator.device), on_device(clean, self.accelerator.device)

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
        """Scores of the generator that will be kept, and a sheet of pictures."""
        scores: list[dict[str, float]] = [{}]
        if self.accelerator.is_main_process:  # batch norm's statistics may differ elsewhere
            restored = self.held_out.restored(run.judged, self.accelerator.device)
            scores = [dataclasses.asdict(self.held_out.scores(restored))]
            sheet = self.folder / "samples" / f"{run.n_seen:012d}.png"
            write_photo(Photo(self.held_out.sheet(restored)), sheet)
        if self.accelerator.num_processes > 1:
            broadcast_object_list(scores)
        return scores[0]

    def save(self, state: dict[str, Any]) -> None:
        """A checkpoint by the main process, all others waiting; the log holds its steps first.  Now and then curves."""
        if self.accelerator.is_main_process:
            assert self._log is not None
            self._log.flush()
            save_checkpoint(self.folder, state | {"identity": self.identity.values}, keep=self.recipe.rhythm.keep)
            is_last = self._stop.asked or state["n_seen"] == self.recipe.n_images
            if state["scores"] and (is_last or time.monotonic() - self._drawn > _CURVES_EVERY):
                self._drawn = time.monotonic()
                draw_curves([(self.recipe.weights.name, read_metrics(self.folder))], self.folder / "curves.png")
        self.accelerator.wait_for_everyone()

    def wait(self) -> None:
        """For all processes."""
        self.accelerator.wait_for_everyone()

    def last_saved(self, *, before: int | None = None) -> dict[str, Any] | None:
        """The newest sound checkpoint, of fewer than `before` images."""
        state = latest_state(self.folder, self.identity, before=before)[0]
        n_seen = -1 if state is None else state["n_seen"]
        if self.accelerator.num_processes > 1 and len(set(gather_object([n_seen]))) > 1:
            raise RecipeError(
                f"{self.folder}: the processes of this run find different checkpoints there; take a folder that all of "
                "them share"
            )
        return state

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
            for tracker in self.accelerator.trackers if self.recipe.rhythm.tracking else ():
                tracker.finish()  # accelerate's own end would also close the connections between processes

    def write_weights(self) -> Path:
        """The kept generator with its card, and the best one where that is another; the main process writes, all return
        the path of the former."""
        path = self.folder / f"{self.recipe.weights.name}.safetensors"
        if self.accelerator.is_main_process:
            self._write_weights(path, self.run.scores["psnr"])
            best = self.run.best
            if best["n_seen"] != self.run.n_seen:
                kept = checkpoint_path(self.folder, int(best["n_seen"]))
                try:
                    self.run.load(read_checkpoint(kept))
                except (OSError, ValueError) as error:
                    self._say(f"{kept}: the best weights cannot be read from it ({error}); the last ones are written")
                else:
                    self._write_weights(path.with_stem(f"{path.stem}-best"), best["psnr"])
        self.accelerator.wait_for_everyone()
        return path

    def _write_weights(self, path: Path, psnr: float) -> None:
        recipe, network = self.recipe, self.run.judged
        deployed = network.folded() if isinstance(network, DAE) else network
        sigma = (recipe.data.noise_sigma or None) if self._learns_noise_alone() else None
        task, levels = ("deblur", None) if sigma is None else ("denoise", (sigma, sigma))
        card = Card(
            network=recipe.network.kind,
            arguments=dict(getattr(deployed, "arguments", recipe.network.arguments)),
            contract=contract_of(deployed, task, noise_sigma=levels),
            name=path.stem,
            training_data=recipe.weights.training_data,
            licence=recipe.weights.licence,
            quality=f"{psnr:.2f} dB on {self._judged_by()}",
        )
        save_model(deployed, path, card)

    def _judged_by(self) -> str:
        n_photos, n_groups = len(self.held_out.clean), self.held_out.n_groups
        of_groups = "" if n_groups == n_photos else f" of {n_groups} groups"
        return f"{n_photos} held-out training photos{of_groups}"

    def _learns_noise_alone(self) -> bool:
        """Whether white noise is all that is done to the photos: what comes out then is a denoiser."""
        is_blurred = any(source.is_real for source in self.synthesis.sources)
        return not is_blurred and not any(variant.steps for variant in self.synthesis.plan.variants)

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

    def _wrapped(self, module: nn.Module) -> nn.Module:
        wrapped: nn.Module = self.accelerator.prepare_model(module)
        return wrapped

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
