"""What blur does to a detector, and what restoration gives back: precision, recall, F1 and mAP of the same photos.

    python benchmarks/detection_sharpness.py PHOTOS LABELS DETECTOR.onnx [--extent 8 --extent 16 --radius 2 --radius 4]
        [--kernels FOLDER] [--model FILE]

LABELS is a COCO JSON file or a folder of YOLO text files; without it (`-`) the truth is what the detector finds in the
sharp photo.  Photos are spoiled one by one, the photo's number being the seed; nothing is rounded before the detector.
"""

import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
import tqdm
from torch import Tensor

from resharp.data.folders import photo_paths
from resharp.degradations import Defocus, Shake, as_kernel, blurred
from resharp.detection import OnnxDetector, read_labels
from resharp.evaluation import Row
from resharp.evaluation.detection import DetectionScorer
from resharp.photo import read_photo
from resharp.restorers import open_restorer

Spoil = Callable[[Tensor, int], Tensor]
FIGURES = ("precision", "recall", "f1", "map", "map50")


def conditions(extents: tuple[float, ...], radii: tuple[float, ...], kernels: Path | None) -> dict[str, Spoil]:
    """What is done to a photo of some number, by the name of its row."""
    found: dict[str, Spoil] = {"sharp": lambda image, _: image}
    for extent in extents:
        shake = Shake(extent=extent)
        found[f"shake {extent:g} px"] = lambda image, number, shake=shake: shake(  # type: ignore[misc]
            image, generator=torch.Generator().manual_seed(number)
        )
    for radius in radii:
        defocus = Defocus(radius=radius)
        found[f"defocus r {radius:g} px"] = lambda image, number, defocus=defocus: defocus(  # type: ignore[misc]
            image, generator=torch.Generator().manual_seed(number)
        )
    if kernels is not None:
        measured = [as_kernel(str(path)) for path in photo_paths(kernels)]
        found["measured kernels"] = lambda image, number: blurred(image, measured[number % len(measured)])
    return found


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True))
@click.argument("labels")
@click.argument("detector")
@click.option("--extent", "extents", type=float, multiple=True, default=(4.0, 8.0, 16.0), show_default=True)
@click.option("--radius", "radii", type=float, multiple=True, default=(1.0, 2.0, 4.0), show_default=True)
@click.option("--kernels", type=click.Path(path_type=Path, exists=True), help="A folder of kernels, taken in turn.")
@click.option("--model", "weights", help="A network that restores what was spoiled, by name or file.")
@click.option("--confidence", default=0.3, show_default=True)
@click.option("--iou", default=0.5, show_default=True)
@click.option("--n-photos", default=10_000, help="The first so many.")
@click.option("--threads", default=1, show_default=True, help="Of ONNX Runtime.")
def main(
    photos: Path,
    labels: str,
    detector: str,
    extents: tuple[float, ...],
    radii: tuple[float, ...],
    kernels: Path | None,
    weights: str | None,
    confidence: float,
    iou: float,
    n_photos: int,
    threads: int,
) -> None:
    """Print one line per condition, and one for what a network makes of it."""
    paths = {path.name: path for path in photo_paths(photos)[:n_photos]}
    found = None if labels == "-" else read_labels(labels, paths, strict=False)
    for note in found.notes if found else ():
        print(note)
    finder = OnnxDetector(detector, n_threads=threads)
    scorer = DetectionScorer(finder, found.boxes if found else None, confidence, iou, classes=finder.classes)
    network = None if weights is None else open_restorer(weights, task="deblur")
    truth = f"labels in {labels}" if found else "its own boxes on the sharp photos"
    print(f"{finder.path.name} ({finder.sha256[:12]}) on {len(paths)} photos; truth: {truth}")
    print(f"confidence {confidence:g}, IoU {iou:g}\n")
    print(f"{'':<28}" + "".join(f"{name:>10}" for name in FIGURES) + f"{'s/photo':>10}")
    for name, spoil in conditions(extents, radii, kernels).items():
        rows, started = [], time.perf_counter()
        for number, (photo, path) in enumerate(tqdm.tqdm(paths.items(), desc=name, leave=False)):
            sharp = read_photo(path).image
            degraded = spoil(sharp, number)
            restored = degraded if network is None else network(degraded).image
            figures, baseline, notes = scorer.row(photo, degraded, restored, None if found else sharp)
            rows.append(Row(photo, figures, baseline, 0.0, notes=notes))
        totals, seconds = scorer.totals(rows), (time.perf_counter() - started) / len(rows)
        print_line(name, totals, "degraded_", seconds)
        if network is not None:
            print_line("  restored", totals, "", seconds)


def print_line(name: str, totals: dict[str, float], prefix: str, seconds: float) -> None:
    cells = (f"{totals[prefix + figure]:10.4f}" if prefix + figure in totals else f"{'-':>10}" for figure in FIGURES)
    print(f"{name:<28}{''.join(cells)}{seconds:10.3f}")


if __name__ == "__main__":
    main()
