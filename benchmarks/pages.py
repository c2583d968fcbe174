"""Pages of print to shake and to read again: 20 of 640x480, letters of 14 to 40 pixels on tinted paper in uneven light.

    python benchmarks/pages.py PAGES
    resharp evaluate blind-refined PAGES --protocol spoiled --set "steps=shake extent=8"

The words are the licence's, the letters Pillow's own.
"""

import re
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZES = (14, 16, 18, 20, 22, 24, 26, 28, 32, 40)
WORDS = re.findall(r"[A-Za-z0-9.,;:()'-]{2,}", (Path(__file__).parent.parent / "LICENSE").read_text())


def page(size: int, draw: np.random.Generator, *, width: int = 640, height: int = 480) -> Image.Image:
    """Text set in lines, its light falling off to one side by up to two fifths."""
    ink, font = Image.new("L", (width, height)), ImageFont.load_default(size)
    pen, at = ImageDraw.Draw(ink), int(draw.integers(len(WORDS)))
    margin, leading = int(draw.integers(12, 48)), size * draw.uniform(1.25, 1.6)
    x, y = float(margin), float(margin)
    while y + size < height - margin:
        word, at = WORDS[at % len(WORDS)], at + 1
        length = pen.textlength(word + " ", font)
        if x + length > width - margin:
            x, y = float(margin), y + leading
            continue
        pen.text((x, y), word, 255, font)
        x += length
    share = np.asarray(ink)[..., None] / 255
    paper, strokes = np.array([1, draw.uniform(0.97, 1), draw.uniform(0.88, 1)]), draw.uniform(0.02, 0.2)
    light = np.linspace(1, draw.uniform(0.6, 1), width)[:, None] * draw.uniform(0.75, 1)
    linear = (paper**2.2 * (1 - share) + strokes**2.2 * share) * light
    return Image.fromarray((255 * linear ** (1 / 2.2)).round().astype(np.uint8))


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate((*SIZES, *SIZES)):
        page(size, np.random.default_rng(number)).save(folder / f"{number:02d}-{size}.png")


if __name__ == "__main__":
    main()
