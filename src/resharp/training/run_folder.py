"""The run folder: what was asked, by which code on which machine, and what was measured on the way.

recipe.json  run.json  metrics.jsonl  curves.png  samples/  checkpoint-*.pt  NAME.safetensors
"""

import dataclasses
import datetime
import itertools
import json
import math
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import resharp
from resharp.errors import DatasetError
from resharp.files import refusals_named, written_whole
from resharp.locks import is_held
from resharp.metrics import METRICS
from resharp.provenance import code_commit

RECIPE, RUN, LOG = "recipe.json", "run.json", "metrics.jsonl"


def note_beginning(folder: Path, recipe: dict[str, Any], *, device: str, n_processes: int) -> None:
    """Write the resolved recipe, and add this session to run.json: command, version, commit, environment."""
    with written_whole(folder / RECIPE) as file:
        file.write(json.dumps(recipe, indent=2).encode() + b"\n")
    session = {
        "begun": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "resharp": resharp.__version__,
        "commit": code_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.platform(),
        "device": device,
        "n_processes": n_processes,
        "n_threads": torch.get_num_threads(),
    }
    sessions = read_sessions(folder)
    with written_whole(folder / RUN) as file:
        file.write(json.dumps([*sessions, session], indent=2).encode() + b"\n")


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """What `note_beginning` wrote, one entry for each time that the command was given."""
    try:
        sessions = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return sessions if isinstance(sessions, list) else []


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl but for lines that a crash cut short.  Raises DatasetError for no run folder."""
    path = folder / LOG
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DatasetError(f"{folder}: is no run folder ({error.strerror}: {LOG})") from None
    records = []
    for line in lines:
        try:
            record = json.loads(line)
            records.append(record | {"n_seen": int(record["n_seen"])})
        except (ValueError, KeyError, TypeError):
            continue  # cut short by a crash
    return records


def forget_after(folder: Path, n_seen: int) -> None:
    """Drop the records of steps that no checkpoint holds: those steps are about to be run."""
    if not (folder / LOG).exists():
        return
    kept = [record for record in read_metrics(folder) if record["n_seen"] <= n_seen]
    with written_whole(folder / LOG) as file:
        file.write("".join(json.dumps(record) + "\n" for record in kept).encode())


class MetricsLog:
    """metrics.jsonl, a record a step; numbers that JSON does not know become null."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        with refusals_named(self.path):
            self._file = self.path.open("a", encoding="utf-8")

    def add(self, record: dict[str, Any]) -> None:
        """One line, written when the system likes."""
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        with refusals_named(self.path):
            self._file.write(json.dumps(plain) + "\n")

    def flush(self) -> None:
        """Before a checkpoint, whose steps the log must hold."""
        with refusals_named(self.path):
            self._file.flush()

    def close(self) -> None:
        """Writes what is left."""
        with refusals_named(self.path):
            self._file.close()


_PANELS: dict[str, tuple[str, ...]] = {
    "training loss": ("loss",),
    "validation PSNR (dB)": ("validation_psnr", "input_psnr"),
    "validation SSIM": ("validation_ssim", "input_ssim"),
    "validation NIQE, lower is better": ("validation_niqe", "input_niqe"),
    "learning-rate factor": ("rate_factor",),
    "critic loss": ("critic",),
    "critic separation": ("separation",),
    "gradient penalty": ("gradient_penalty",),
    "gradient norms, generator / critic": ("gradient_ratio",),
    "mean of the outputs": ("output_mean",),
    "colour drift": ("drift_red", "drift_green", "drift_blue"),
    "chequered pattern, rms": ("checkerboard",),
}
_COLUMNS, _WIDTH, _HEIGHT = 5, 4.6, 3.4  # panels in a row, and inches of each


def draw_curves(runs: Sequence[tuple[str, Sequence[dict[str, Any]]]], path: Path) -> None:
    """Losses, validation, rates and the health of GANs: runs (name, records) over images seen, as one PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy, and only here
    from matplotlib.figure import Figure

    shown = {title: keys for title, keys in _PANELS.items() if any(_series(r, k)[0] for _, r in runs for k in keys)}
    columns, rows = min(len(shown), _COLUMNS) or 1, -(-len(shown) // _COLUMNS) or 1
    width, height = _WIDTH * columns, _HEIGHT * rows
    figure = Figure(figsize=(width, height))
    # Measured off by hand: letting matplotlib find room for the labels takes most of the drawing's time.
    figure.subplots_adjust(0.7 / width, 0.5 / height, 1 - 0.15 / width, 1 - 0.35 / height, wspace=0.22, hspace=0.35)
    for number, (title, keys) in enumerate(shown.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        for key, (name, records) in itertools.product(keys, runs):
            seen, values = _series(records, key)
            part = key.rpartition("_")[2] if key.startswith("drift") else key.partition("_")[0]
            colour = part if key.startswith("drift") and len(runs) == 1 else None
            label = name if len(keys) == 1 else f"{name}, {part}"
            marker = "o" if len(seen) < 30 else None
            axes.plot(seen, values, label=label, color=colour, linewidth=1.2, marker=marker, markersize=3)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("images seen", fontsize=9)
        if keys == ("loss",) and all(value > 0 for _, records in runs for value in _series(records, "loss")[1]):
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.tick_params(which="both", labelsize=8)
        if len(runs) * len(keys) > 1:
            axes.legend(fontsize=8)
    with written_whole(path) as file:
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]


def _series(records: Sequence[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """(images seen, values) of a key, means of neighbours where there are more than a picture shows."""
    points = [(record["n_seen"], record[key]) for record in records if record.get(key) is not None]
    stride = max(1, len(points) // 400)
    chunks = [points[i : i + stride] for i in range(0, len(points), stride)]
    return [chunk[-1][0] for chunk in chunks], [sum(value for _, value in chunk) / len(chunk) for chunk in chunks]


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """One run folder: "finished" once its weights are there, "running" while a process holds it, else "stopped".

    figure: what the run is judged by, of which last, best and that of the input before it was restored.
    """

    name: str
    folder: Path
    state: str
    n_seen: int
    n_images: int
    figure: str
    last: float | None
    best: float | None
    input: float | None


def list_runs(folder: Path) -> list[RunSummary]:
    """The runs in `folder`, itself one or below it, by name.  Raises DatasetError where there are none."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; `resharp train` makes runs in runs/")
    found = sorted(path.parent for path in folder.rglob(RECIPE) if (path.parent / LOG).is_file())
    if not found:
        raise DatasetError(f"{folder}: holds no run folders; `resharp train` makes them in runs/")
    return [_summary(run, folder) for run in found]


def _summary(run: Path, root: Path) -> RunSummary:
    records, n_images, figure = read_metrics(run), 0, "psnr"
    try:
        recipe = json.loads((run / RECIPE).read_text(encoding="utf-8"))
        n_images = sum(int(stage["n_images"]) for stage in recipe["stages"])
        figure = str(recipe["judge"]["headline"] or recipe["judge"]["figures"][0])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        pass
    scores, inputs = (
        [record[name] for record in records if record.get(name) is not None]
        for name in (f"validation_{figure}", f"input_{figure}")
    )
    better = max if figure not in METRICS or METRICS[figure].higher_is_better else min
    return RunSummary(
        name=str(run.relative_to(root)) if run != root else run.name,
        folder=run,
        state="running" if is_held(run) else "finished" if any(run.glob("*.safetensors")) else "stopped",
        n_seen=records[-1]["n_seen"] if records else 0,
        n_images=n_images,
        figure=figure,
        last=scores[-1] if scores else None,
        best=better(scores, default=None),
        input=inputs[-1] if inputs else None,
    )
