"""resharp data check."""

import dataclasses
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._terminal import PLACE, json_option, say

if TYPE_CHECKING:
    from resharp.data.doctor import Finding
    from resharp.data.listing import Listing

SHOWN = 10  # findings of one kind; --json lists all


@click.command()
@click.argument("folder", type=PLACE, metavar="DIR")
@click.option("--pairs", nargs=2, metavar="BLUR SHARP", help="The names of the two folders in DIR.")
@click.option("--subset", metavar="NAME", help="linear or gamma of GoPro, J or R of RealBlur.  [default: the first]")
@click.option("--workers", type=click.IntRange(0), help="Threads that decode.  [default: one for each core]")
@json_option
def check(folder: Path, pairs: tuple[str, str] | None, subset: str | None, workers: int | None, as_json: bool) -> None:
    """Find what is wrong with a dataset before a training does.

    Unreadable, unpaired, swapped, shifted, wrongly scaled and encoded photos, leaks between splits, and more.
    Exit code 1 where a finding is an error, 0 for none and for warnings.
    """
    from resharp.data.layouts import open_listing

    listing = open_listing(folder, subset=subset, pairs=pairs, strict=False)
    import tqdm

    from resharp.data.doctor import examine

    workers = os.cpu_count() or 1 if workers is None else workers
    with tqdm.tqdm(total=len(listing.items), unit="item", disable=True if as_json else None, leave=False) as bar:
        findings = examine(listing, on_item=lambda n_done: bar.update(n_done - bar.n), workers=workers)
    if as_json:
        click.echo(json.dumps(_as_json(listing, findings)))
    else:
        for line in _as_text(listing, findings):
            say(line)
    if any(finding.severity == "error" for finding in findings):
        sys.exit(1)


def _as_json(listing: "Listing", findings: Sequence["Finding"]) -> dict[str, object]:
    rows = [dataclasses.asdict(finding) | {"files": [str(file) for file in finding.files]} for finding in findings]
    counts = Counter(finding.kind for finding in findings)
    return {"n_items": len(listing.items), "layout": listing.layout, "counts": counts, "findings": rows}


def _as_text(listing: "Listing", findings: Sequence["Finding"]) -> list[str]:
    from resharp.data.doctor import CHECKS

    checked = f"{len(listing.items)} {'pairs' if listing.paired else 'photos'}"
    if not findings:
        return [f"{checked}, nothing found"]
    lines = []
    for kind, meaning in CHECKS.items():
        rows = [finding for finding in findings if finding.kind == kind]
        if not rows:
            continue
        lines.append(f"{kind}: {meaning} ({len(rows)})")
        for finding in rows[:SHOWN]:
            lines.append(f"  {finding.severity}: {finding.message}; {finding.remedy}")
        if len(rows) > SHOWN:
            lines.append(f"  ... and {len(rows) - SHOWN} more (--json lists all)")
    n_errors = sum(finding.severity == "error" for finding in findings)
    return [*lines, f"{checked}, {n_errors} errors, {len(findings) - n_errors} warnings"]
