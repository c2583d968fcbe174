"""Trains a recipe for some minutes: a smoke run, the training, small files, a table; `train_on_gpu.sh` calls it.

The first call tries real steps for up to 40 s, in more pieces where the memory is too small, and fits the recipe's
length to the time by the speed that it finds; OUT/fitted.json keeps that, so that later calls go on.  It ends itself:
what is not finished by then is saved.  OUT/parts holds weights, and a checkpoint to go on from where there is room, cut
into files that `cat OUT/parts/NAME.* > NAME` puts together; where OUT/run is missing, the next call does so itself.
"""

import gc
import json
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import click
import torch

from resharp.device import checked_device
from resharp.errors import ArgumentError, ResharpError, ResourceError
from resharp.files import written_whole
from resharp.training import Recipe, load_recipe, shown_score, train_weights
from resharp.training.checkpoint import checkpoints

SMOKE, SPARE = 40.0, 25.0  # seconds: of the smoke run at most, and what saving and leaving may take
SHARE, OPENING = 0.88, 10.0  # of the time that is left, which the training is fitted to; seconds before its first step
PIECE = 15 << 20  # bytes
NEVER = 2**50
Overrides = tuple[str, ...]


class _EnoughError(Exception):
    """The smoke run has seen what it wanted."""


def told_device(device: str) -> None:
    """Says why "auto" will be no GPU.  Raises ArgumentError for another device that cannot be used."""
    try:
        checked_device("cuda" if device == "auto" else device)
    except ArgumentError as error:
        if device != "auto":
            raise
        click.echo(f"{error}, and is taken")


def sources(recipe: str, bundle: Path) -> Overrides:
    """Where the bundle holds what a recipe trains on: photos, or pairs and what lies beside them."""
    beside = load_recipe(recipe).data.beside
    if not beside:
        return (f"data.photos={bundle / 'photos'}",)
    pairs = bundle / "pairs"
    return (f"data.photos={pairs}", *(f"data.beside.{name}={pairs / name}" for name in beside))


def smoke(recipe: str, overrides: Overrides, folder: Path, device: str, seconds: float) -> dict[str, Any]:
    """Images per second, peak memory in bytes and the last record of some real steps, in a folder that is removed."""
    wanted = Recipe.model_validate(load_recipe(recipe, overrides)).stages[0].batch_size
    longer = (f"stages.0.n_images={NEVER // wanted * wanted}", f"judge.every={NEVER}", f"checkpoints.every={NEVER}")
    seen: list[tuple[float, dict[str, Any]]] = []

    def listen(record: dict[str, Any]) -> None:
        seen.append((time.monotonic(), record))
        if len(seen) > 2 and seen[-1][0] - seen[0][0] > seconds:
            raise _EnoughError

    try:
        train_weights(load_recipe(recipe, (*overrides, *longer)), folder, device=device, on_step=listen)
    except _EnoughError:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    middle = len(seen) // 2  # the first half warms up
    (before, first), (after, last) = seen[middle], seen[-1]
    memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return {"speed": (last["n_seen"] - first["n_seen"]) / (after - before), "memory": memory, "record": last}


def smoke_that_fits(
    recipe: str, overrides: Overrides, folder: Path, device: str, seconds: float
) -> tuple[Overrides, dict[str, Any]]:
    """The same, in as many pieces as the memory asks for, and the overrides that say so."""
    while True:
        try:
            return overrides, smoke(recipe, overrides, folder, device, seconds)
        except ResourceError as error:
            pieces = re.search(r"stages\.\d+\.accumulate=\d+", str(error))
            if pieces is None:
                raise
            click.echo(f"{error}: taken so")
            overrides = (*overrides, pieces[0])
        gc.collect()  # what the error held
        torch.cuda.empty_cache()


def fitted(recipe: str, overrides: Overrides, speed: float, seconds: float) -> Overrides:
    """Overrides by which all stages together, at so many images a second, take so long; saved about once a minute."""
    resolved = load_recipe(recipe, overrides)
    seconds = max(seconds, 1.0)
    ratio = speed * seconds / resolved.n_images
    changes = []
    for index, stage in enumerate(resolved.stages):
        n_steps = max(1, int(ratio * stage.n_images / stage.batch_size))
        changes.append(f"stages.{index}.n_images={n_steps * stage.batch_size}")
        for name, settings in stage.trains.items():
            if settings.schedule.warmup_images and ratio < 1:
                warmup = int(ratio * settings.schedule.warmup_images)
                changes.append(f"stages.{index}.trains.{name}.schedule.warmup_images={warmup}")
    for name, network in resolved.networks.items():
        if network.ema:  # an average that remembers more than a tenth of the run is still that of untrained weights
            remembered = max(2.0, min(1 / (1 - network.ema), 0.1 * speed * seconds))
            changes.append(f"networks.{name}.ema={1 - 1 / remembered}")
    largest = max(stage.batch_size for stage in resolved.stages)
    judging, saving = (max(largest, int(speed * min(each, seconds / 3))) for each in (120, 60))
    return (*overrides, *changes, f"judge.every={judging}", f"checkpoints.every={saving}")


def trained(recipe: Recipe, run: Path, device: str, deadline: float) -> tuple[Path | None, dict[str, Any]]:
    """The finished weights, or None where time ran out, and the numbers of the last steps."""
    last: dict[str, Any] = {}

    def listen(record: dict[str, Any]) -> None:
        last.update(record)
        if any(name.startswith("validation_") for name in record):
            scores = {name.removeprefix("validation_"): value for name, value in record.items()}
            click.echo(f"{record['n_seen']:>12,} images: {shown_score(recipe, scores)}")

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also before and after the run has its own
    # The first asks the run to end after its step and to save, the second ends it at once.
    times = (max(0.0, deadline + late - time.time()) for late in (0.0, SPARE / 2))
    timers = [threading.Timer(left, os.kill, (os.getpid(), signal.SIGTERM)) for left in times]
    try:
        for timer in timers:
            timer.daemon = True
            timer.start()
        return train_weights(recipe, run, device=device, on_step=listen, say=click.echo), last
    except KeyboardInterrupt:
        return None, last
    finally:
        for timer in timers:
            timer.cancel()


def cut(files: list[Path], folder: Path, most: int) -> list[str]:
    """The files in pieces, as many as there is room for in `most` bytes, the first ones first; what came of each."""
    shutil.rmtree(folder, ignore_errors=True)
    told, left = [], most
    for file in files:
        size = file.stat().st_size
        if size > left:
            told.append(f"{file.name}: {size / 2**20:.0f} MiB, left in {file.parent}")
            continue
        left -= size
        with file.open("rb") as whole:
            for number, piece in enumerate(iter(lambda: whole.read(PIECE), b"")):
                with written_whole(folder / f"{file.name}.{number:02d}") as part:
                    part.write(piece)
        told.append(f"{file.name}: {size / 2**20:.1f} MiB in {-(-size // PIECE)} files")
    return told


def put_together(parts: Path, run: Path) -> None:
    """A checkpoint that came back in pieces, for a run folder that has none."""
    names = sorted({path.stem for path in parts.glob("checkpoint-*.pt.*")})
    if run.is_dir() or not names:
        return
    for name in names:
        with written_whole(run / name) as whole:
            whole.writelines(path.read_bytes() for path in sorted(parts.glob(f"{name}.*")))


def begun(kept: Path, asked: list[str]) -> tuple[Overrides, float, int]:
    """Overrides, images per second and bytes of the run beside.  Raises ArgumentError where others are asked for."""
    if not kept.is_file():
        raise ArgumentError(f"{kept.parent}: holds a run, but not its {kept.name}; bring it, or name another OUT")
    found = json.loads(kept.read_text())
    if found["asked"] != asked:
        raise ArgumentError(
            f"{kept.parent}: holds a run of {' '.join(found['asked'])}; name another OUT for other settings"
        )
    return tuple(found["overrides"]), found["speed"], found["memory"]


@click.command()
@click.argument("recipe")
@click.argument("minutes", type=click.FloatRange(0.2, 600))
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1)
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("bundle"))
@click.option("--runs", default=1, help="Calls over which the recipe is stretched.")
@click.option("--started", default=0.0, help="Seconds of the epoch from which on the minutes count.")
@click.option("--device", default="auto")
@click.option("--room", default=60, help="Megabytes for OUT/parts.")
def main(
    recipe: str,
    minutes: float,
    out: Path,
    overrides: Overrides,
    bundle: Path,
    runs: int,
    started: float,
    device: str,
    room: int,
) -> None:
    """Print what comes of it."""
    started = started or time.time()
    deadline = started + 60 * minutes - min(SPARE, 10 * minutes)
    run, kept = out / "run", out / "fitted.json"
    try:
        told_device(device)
        photos = () if any(one.startswith("data.photos=") for one in overrides) else sources(recipe, bundle)
        put_together(out / "parts", run)
        if checkpoints(run):
            chosen, speed, memory = begun(kept, [recipe, *overrides])
            click.echo("goes on, as long as it was fitted to be")
        else:
            seconds = min(SMOKE, 60 * minutes / 6)
            chosen, found = smoke_that_fits(recipe, (*photos, *overrides), out / "smoke", device, seconds)
            speed, memory = found["speed"], found["memory"]
            click.echo(f"smoke: {speed:.1f} images/s, {memory / 2**30:.2f} GiB, loss {found['record']['loss']:.4g}")
            chosen = fitted(recipe, chosen, speed, SHARE * runs * (deadline - OPENING - time.time()))
            with written_whole(kept) as file:
                asked = [recipe, *overrides]
                file.write(json.dumps({"asked": asked, "overrides": chosen, "speed": speed, "memory": memory}).encode())
        resolved = load_recipe(recipe, chosen)
        path, last = trained(resolved, run, device, deadline)
        if path is None and not checkpoints(run):
            raise ArgumentError(f"no step was taken in {minutes:g} minutes; give it more")
        weights = sorted((run if path else run / "so-far").glob("*.safetensors"))
        lines = cut([*weights, *checkpoints(run)[:1]], out / "parts", room << 20)
    except ResharpError as error:
        raise click.ClickException(str(error)) from None
    score = {name.removeprefix("validation_"): one for name, one in last.items() if isinstance(one, float)}
    rows = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "state": "finished" if path else "the same command goes on",
        "images": f"{last.get('n_seen', resolved.n_images if path else 0):,} of {resolved.n_images:,}",
        "speed": f"{speed:.1f} images/s in the smoke run, {memory / 2**30:.2f} GiB",
        "last step": f"loss {last['loss']:.4g}, {last['waited']:.4f} s of {last['seconds']:.4f} waiting for photos"
        if last
        else "taken in an earlier run",
        "held out": shown_score(resolved, score) if "input_psnr" in score else "see above",
        "seconds": f"{time.time() - started:.0f} of {60 * minutes:.0f}",
    }
    click.echo("\n".join(f"{name:<12}{text}" for name, text in rows.items()))
    click.echo("\n".join(f"{'parts':<12}{line}" for line in lines))


if __name__ == "__main__":
    main()
