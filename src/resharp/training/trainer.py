"""A recipe's training around its loop: cast, sampler, judge, and the run folder on whose behalf it speaks."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from resharp.errors import RecipeError
from resharp.files import clear_unfinished
from resharp.models import Card, Contract, contract_of, save_model
from resharp.networks import DAE
from resharp.photo import Photo, write_photo

from .building import build_stage
from .checkpoint import checkpoint_path, latest_state, read_checkpoint, save_checkpoint
from .config import Recipe
from .context import Batch, Player, WeightedLosses
from .ending import Stop
from .identity import identity_of
from .reading import plain
from .run_folder import MetricsLog, draw_curves, forget_after, note_beginning, read_metrics
from .sampler import Sampler
from .state import Stage, TrainerState
from .validation import Judge, Scores, shown_score

Say = Callable[[str], None]
OnStep = Callable[[dict[str, Any]], None]

_CURVES_EVERY = 60  # seconds, beside the end: small runs would do little but draw


@dataclasses.dataclass(frozen=True)
class Ears:
    """Who listens: `on_step` hears each step's numbers, `say` a line for people now and then."""

    on_step: OnStep | None
    say: Say


class Trainer:
    """One run: what the loop draws from, reports to and saves in."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        accelerator: Accelerator,
        stop: Stop,
        sampler: Sampler,
        judge: Judge,
        cast: tuple[TrainerState, list[WeightedLosses]],
        ears: Ears,
    ) -> None:
        self.recipe, self.folder, self.accelerator = recipe, folder, accelerator
        self.sampler, self.ears = sampler, ears
        self.state, self.losses = cast
        self._judge, self._stop = judge, stop
        self.identity = identity_of(recipe, sampler.sources, n_processes=accelerator.num_processes)
        self._log: MetricsLog | None = None
        self._drawn = time.monotonic()
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            self._begin()

    def _begin(self) -> None:
        """The run folder, as the newest sound checkpoint left it."""
        for place in (self.folder, self.folder / "samples"):
            clear_unfinished(place, below=False)
        state, complaints = latest_state(self.folder, self.identity)
        for complaint in complaints:
            self.ears.say(complaint)
        n_seen, n_images = 0 if state is None else state["n_seen"], self.recipe.n_images
        if n_seen == n_images:
            finished = self.folder / f"{self.recipe.weights.name}.safetensors"
            self.ears.say(f"finished at {n_images:,} images; to train on from there: --init {finished} -o ANOTHER")
        elif n_seen:
            self.ears.say(f"goes on at {n_seen:,} of {n_images:,} images")
        forget_after(self.folder, n_seen)
        device, n_processes = str(self.accelerator.device), self.accelerator.num_processes
        note_beginning(self.folder, plain(self.recipe), device=device, n_processes=n_processes)
        self._log = MetricsLog(self.folder)
        self._start_tracking(n_seen)

    def stage(self, index: int) -> Stage:
        """Stage `index`, with fresh optimisers."""
        device, is_alone = self.accelerator.device, self.accelerator.num_processes == 1
        mean = None if is_alone else self._mean
        return build_stage(self.recipe, index, self.state, self.losses[index], device=device, mean=mean)

    def draw(self, stage: Stage) -> Iterator[Batch]:
        """This process's share of what is left of a stage, on its device."""
        return self.sampler.batches(
            stage.position(self.state.n_seen),
            stage.position(stage.stop),
            stage.batch_size,
            self.accelerator.device,
            rounds=stage.context.stage.batches_per_step,
            rank=self.accelerator.process_index,
            n_ranks=self.accelerator.num_processes,
        )

    def report(self, record: dict[str, Any]) -> None:
        """A step's numbers: to metrics.jsonl, the trackers, and whoever listens."""
        if not self.accelerator.is_main_process:
            return
        assert self._log is not None
        if "rolled_back" in record:
            self._log.close()
            forget_after(self.folder, record["n_seen"])
            self._log = MetricsLog(self.folder)
        self._log.add(record)
        for warning in record.get("warnings", ()):
            self.ears.say(f"after {record['n_seen']:,} images: {warning}")
        if "rolled_back" in record:
            self.ears.say(
                f"diverged {record['rolled_back']}; going on from {record['n_seen']:,} images with lower rates"
            )
        if self.recipe.tracking:
            numbers = {name: value for name, value in record.items() if isinstance(value, float)}
            self.accelerator.log(numbers, step=record["n_seen"])
        if self.ears.on_step is not None:
            self.ears.on_step(record)

    def judge(self) -> Scores:
        """The scores of the cast, and a sheet of pictures in the run folder."""
        scores: list[Scores | None] = [None]
        if self.accelerator.is_main_process:  # batch norm's statistics may differ elsewhere
            judged = self._judge(self.state.players)
            if judged.sheet is not None:
                write_photo(Photo(judged.sheet), self.folder / "samples" / f"{self.state.n_seen:012d}.png")
            scores = [dataclasses.replace(judged, sheet=None)]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(scores)
        assert scores[0] is not None
        return scores[0]

    def save(self, state: dict[str, Any]) -> None:
        """A checkpoint by the main process, all others waiting; the log holds its steps first.  Now and then curves."""
        if self.accelerator.is_main_process:
            assert self._log is not None
            self._log.flush()
            save_checkpoint(self.folder, state | {"identity": self.identity.values}, keep=self.recipe.checkpoints.keep)
            is_last = self._stop.asked or state["n_seen"] == self.recipe.n_images
            if state["scores"] and (is_last or time.monotonic() - self._drawn > _CURVES_EVERY):
                self._drawn = time.monotonic()
                draw_curves([(self.recipe.weights.name, read_metrics(self.folder))], self.folder / "curves.png")
        self.wait()

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
        return bool(self._mean(torch.tensor([float(self._stop.asked)], device=self.accelerator.device)) > 0)

    def close(self) -> None:
        """Writes what is left of the log."""
        if self._log is not None:
            self._log.close()
            for tracker in self.accelerator.trackers if self.recipe.tracking else ():
                tracker.finish()  # accelerate's own end would also close the connections between processes

    def write_weights(self) -> Path:
        """The networks to keep with their cards, and the best ones where those are others; the main process writes, all
        return the path of the first."""
        path = self.folder / f"{self.recipe.weights.name}.safetensors"
        if self.accelerator.is_main_process:
            self._write_weights(path, self.state.scores)
            best = int(self.state.best["n_seen"])
            if best not in (-1, self.state.n_seen):
                kept = checkpoint_path(self.folder, best)
                try:
                    self.state.load(read_checkpoint(kept))
                except (OSError, ValueError) as error:
                    self.ears.say(
                        f"{kept}: the best weights cannot be read from it ({error}); the last ones are written"
                    )
                else:
                    self._write_weights(path.with_stem(f"{path.stem}-best"), self.state.scores)
        self.wait()
        return path

    def write_weights_so_far(self) -> None:
        """The networks to keep as they are, in so-far/ of the run folder, once they were judged."""
        if self.accelerator.is_main_process and self.state.scores:
            self._write_weights(self.folder / "so-far" / f"{self.recipe.weights.name}.safetensors", self.state.scores)

    def _write_weights(self, path: Path, scores: dict[str, float]) -> None:
        for name in self.recipe.weights.keep:
            is_judged = name == self.recipe.judged
            place = path if is_judged else path.with_stem(f"{path.stem}-{name.replace('_', '-')}")
            self._write(
                self.state.players[name],
                place,
                f"{shown_score(self.recipe, scores)} on {self._judged_by()}" if is_judged else "not judged",
            )

    def _write(self, player: Player, path: Path, quality: str) -> None:
        network, recipe = player.kept, self.recipe
        deployed = network.folded() if isinstance(network, DAE) else network
        card = Card(
            network=recipe.networks[player.name].kind,
            arguments=dict(getattr(deployed, "arguments", recipe.networks[player.name].arguments)),
            contract=self._contract(player, deployed),
            name=path.stem,
            training_data=recipe.weights.training_data,
            licence=recipe.weights.licence,
            quality=quality,
        )
        save_model(deployed, path, card)

    def _contract(self, player: Player, network: nn.Module) -> Contract:
        """What a network that was trained so is for."""
        sigma = (self.recipe.data.noise_sigma or None) if self._learns_noise_alone() else None
        levels = sigma if isinstance(sigma, tuple) or sigma is None else (sigma, sigma)
        if player.name == "degrader" or player.name not in (self.recipe.judged, "generator"):
            return contract_of(network, "degrade")
        if self.recipe.data.plan.factor > 1:
            return contract_of(network, "upscale")
        if levels is None:
            return contract_of(network, "deblur")
        within = self.recipe.stages[-1].unrolled
        unrolled = None if within is None else within.n_iterations
        return contract_of(network, "denoise", noise_sigma=levels, unrolled=unrolled)

    def _judged_by(self) -> str:
        n_photos, n_groups = len(self.sampler.held_out["degraded"]), self.sampler.n_groups
        of_groups = "" if n_groups == n_photos else f" of {n_groups} groups"
        return f"{n_photos} held-out training photos{of_groups}"

    def _learns_noise_alone(self) -> bool:
        """Whether white noise is all that is done to the photos: what comes out then is a denoiser."""
        is_blurred = any(source.is_real for source in self.sampler.sources)
        return not is_blurred and not any(variant.steps for variant in self.recipe.data.plan.variants)

    def _mean(self, values: Tensor) -> Tensor:
        """Over all processes."""
        reduced: Tensor = self.accelerator.reduce(values, "mean")
        return reduced

    def _start_tracking(self, n_seen: int) -> None:
        trackers = self.recipe.tracking
        if not trackers:
            return
        self.accelerator.log_with = list(trackers)
        self.accelerator.project_configuration.set_directories(str(self.folder))
        resumed = {"tensorboard": {"purge_step": n_seen + 1}}
        self.accelerator.init_trackers(
            self.recipe.weights.name, init_kwargs={name: resumed[name] for name in trackers if name in resumed}
        )
