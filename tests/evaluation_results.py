"""Made-up results, for tests of what is done with them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from resharp.evaluation import Card, Column, Result, Row

PSNR, SSIM, NIQE = Column("psnr", "dB", True), Column("ssim", "", True), Column("niqe", "", False)


def card(**changes: Any) -> Card:
    made = Card(
        protocol="deblur-rgb",
        protocol_version=1,
        protocol_text="deblur-rgb, version 1: blurred and sharp photos\n  border       0",
        data="streets (pairs)",
        data_sha256="d" * 64,
        n_images=3,
        method="sharpener",
        weights_sha256="",
        weights_licence="",
        resharp="0.1.0",
        commit="c" * 40,
        torch="2.9.0",
        device="cpu",
        precision="float32",
        date="2025-11-20T16:00:00+00:00",
    )
    return dataclasses.replace(made, **changes)


def row(
    name: str, figures: Mapping[str, float] | float, baseline: Mapping[str, float] | float | None = None, **rest: Any
) -> Row:
    """A row; a bare number is a PSNR."""
    ours, before = (
        value if isinstance(value, Mapping) else {} if value is None else {"psnr": float(value)}
        for value in (figures, baseline)
    )
    return Row(name, ours, before, 0.25, **rest)


def result(rows: Sequence[Row], *, columns: tuple[Column, ...] = (PSNR,), **changes: Any) -> Result:
    totals = changes.pop("totals", {})
    return Result(card(n_images=len(rows), **changes), columns, tuple(rows), totals)
