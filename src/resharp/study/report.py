"""What a study found, as a page, a plot and tables."""

import base64
import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resharp.errors import ArgumentError, did_you_mean
from resharp.files import written_whole
from resharp.pages import Cell, check_jinja2, head, sorted_as, write_page

from .definition import GRADES, Study
from .opinions import (
    Estimate,
    agreement_on_grades,
    agreement_on_pairs,
    choices_of,
    differential_opinions,
    grades_of,
    implied_choices,
    mean_opinions,
    scaled,
    shares,
)
from .plan import Answer
from .scale import Matrix
from .screening import Rater, screened

_TITLES = {"mos": "mean opinion score", "dmos": "differential score", "chosen": "chosen", "jod": "JOD"}
_AGREEMENT = {"acr": "Krippendorff's alpha", "pairs": "Kendall's u"}


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a study found.

    figures: "mos" and "dmos" (where there is a hidden reference) of grades, "chosen" of pairs, "jod" of both -> one
    estimate a condition;  agreement: as _AGREEMENT names it, NaN for none;  raters: all of them;  left_out: those whose
    answers are in no figure;  answers: all that are in the figures, and repeats;  grades: (raters, scenes, conditions),
    None for pairs;  wins: (raters, scenes, C, C).
    """

    study: Study
    figures: dict[str, list[Estimate]]
    agreement: float
    raters: list[Rater]
    left_out: tuple[str, ...]
    answers: list[Answer]
    grades: Matrix | None
    wins: Matrix


def find(study: Study, answers: Sequence[Answer], *, left_out: Sequence[str] = ()) -> Findings:
    """The figures of all answers but those of the raters `left_out`.  Raises ArgumentError where none are left, or for
    a name that no rater has."""
    if not answers:
        raise ArgumentError("there are no answers yet; `resharp study serve` shows the page that takes them")
    raters = screened(study, answers)
    for name in left_out:
        if name not in (known := [rater.name for rater in raters]):
            raise ArgumentError(f"no rater is called {name!r}; {did_you_mean(name, known, things='raters')}")
    kept = [answer for answer in answers if answer.rater not in left_out]
    if not kept:
        raise ArgumentError("all raters are left out; leave out fewer")
    grades = grades_of(study, kept) if study.protocol == "acr" else None
    wins = choices_of(study, kept) if grades is None else implied_choices(grades)
    figures: dict[str, list[Estimate]] = {}
    if grades is None:
        figures["chosen"] = shares(wins)
    else:
        figures["mos"] = mean_opinions(grades)
        if study.has_reference:
            figures["dmos"] = differential_opinions(study, grades)
    figures["jod"] = scaled(wins)
    alike = agreement_on_pairs(wins) if grades is None else agreement_on_grades(grades)
    return Findings(study, figures, alike, raters, tuple(left_out), kept, grades, wins)


def write_report(findings: Findings, folder: Path) -> Path:
    """Write report.html, plot.svg, and conditions, images, raters, ratings and pwcmp as CSV, into a folder.

    pwcmp.csv has the columns that pwcmp takes: one line for each time that one condition was chosen over another, or
    graded higher.  Returns the page's path.  Raises OutputError.
    """
    check_jinja2()
    plot = _plot(findings)
    with written_whole(folder / "plot.svg") as file:
        file.write(plot)
    for name, (columns, rows) in _tables(findings).items():
        _write_csv(folder / f"{name}.csv", columns, rows)
    path = folder / "report.html"
    write_page(path, __package__, "study.html", _page(findings, plot))
    return path


def as_json(findings: Findings) -> dict[str, Any]:
    """JSON values; null for what there is none of."""
    figures = {
        name: {c: _plain(dataclasses.asdict(e)) for c, e in zip(findings.study.conditions, estimates, strict=True)}
        for name, estimates in findings.figures.items()
    }
    raters = [_plain(dataclasses.asdict(rater)) for rater in findings.raters]
    alike = _plain({"agreement": findings.agreement})
    return {"protocol": findings.study.protocol, **figures, **alike, "raters": raters, "left_out": findings.left_out}


def summary_lines(findings: Findings) -> list[str]:
    """The figures of the conditions, the agreement and the raters with remarks, for a terminal."""
    conditions = findings.study.conditions
    width = max(9, *map(len, conditions))
    lines = ["".join([f"{'condition':<{width}}", *(f"{_TITLES[name]:>20}{'95 %':>18}" for name in findings.figures)])]
    for condition, *estimates in zip(conditions, *findings.figures.values(), strict=True):
        lines.append("".join([f"{condition:<{width}}", *(f"{_words(e):>20}{_interval(e):>18}" for e in estimates)]))
    n_raters, measure = len(findings.raters) - len(findings.left_out), _AGREEMENT[findings.study.protocol]
    lines.append(f"{len(findings.answers)} answers, raters {n_raters}; {measure} {_number(findings.agreement)}")
    return lines + [f"{one.name}: {'; '.join(one.flags)}" for one in findings.raters if one.flags]


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in record.items()}


# --- tables -----------------------------------------------------------------------------------------------------------


def _tables(findings: Findings) -> dict[str, tuple[Sequence[str], Iterable[Sequence[object]]]]:
    """File -> its columns and rows."""
    names = ["condition", *(f"{f}{end}" for f in findings.figures for end in ("", "_low", "_high", "_answers"))]
    conditions = [
        [condition, *(part for e in estimates for part in (_r(e.value), _r(e.low), _r(e.high), e.n))]
        for condition, *estimates in zip(findings.study.conditions, *findings.figures.values(), strict=True)
    ]
    raters = [field.name for field in dataclasses.fields(Rater)]
    return {
        "conditions": (names, conditions),
        "images": (_IMAGE_COLUMNS[findings.study.protocol], _image_rows(findings)),
        "raters": (
            [*raters, "left_out"],
            [
                [*map(_cell, dataclasses.astuple(one)[:-1]), "; ".join(one.flags), int(one.name in findings.left_out)]
                for one in findings.raters
            ],
        ),
        "ratings": (
            ("rater", "trial", "scene", "first", "second", "repeats", "answer", "seconds", "zoom", "stored"),
            [_rating_row(answer) for answer in findings.answers],
        ),
        "pwcmp": (
            ("observer", "session", "scene", "condition_A", "condition_B", "is_A_selected"),
            list(_choice_rows(findings)),
        ),
    }


_IMAGE_COLUMNS = {
    "acr": ("scene", "condition", "answers", "mos", "sd", "ci95"),
    "pairs": ("scene", "condition", "answers", "chosen"),
}


def _image_rows(findings: Findings) -> list[list[object]]:
    """Every scene under every condition; ci95 is BT.500's 1.96 s / sqrt(n) over raters."""
    rows: list[list[object]] = []
    for s, scene in enumerate(findings.study.scenes):
        for c, condition in enumerate(findings.study.conditions):
            if findings.grades is None:
                won, lost = findings.wins[:, s, c].sum(), findings.wins[:, s, :, c].sum()
                n = int(won + lost)
                rows.append([scene.name, condition, n, _r(won / n if n else math.nan)])
                continue
            given = findings.grades[:, s, c]
            given = given[~np.isnan(given)]
            n, spread = len(given), float(given.std(ddof=1)) if len(given) > 1 else math.nan
            mean = float(given.mean()) if n else math.nan
            rows.append([scene.name, condition, n, _r(mean), _r(spread), _r(1.96 * spread / math.sqrt(max(n, 1)))])
    return rows


def _rating_row(answer: Answer) -> list[object]:
    trial = answer.trial
    first, second = (*trial.shown, "")[:2]
    repeats = "" if trial.repeats is None else trial.repeats + 1
    asked = [answer.rater, trial.n + 1, trial.scene, first, second, repeats]
    return [*asked, answer.answer, _r(answer.seconds), answer.zoom, answer.stored]


def _choice_rows(findings: Findings) -> Iterable[list[object]]:
    """In pwcmp's columns."""
    study = findings.study
    if findings.grades is None:
        for answer in findings.answers:
            if answer.trial.repeats is None:
                yield [answer.rater, 1, answer.trial.scene, *answer.trial.shown, int(answer.answer == 1)]
        return
    raters = list(dict.fromkeys(answer.rater for answer in findings.answers))
    for r, s, i, j in np.argwhere(findings.wins):
        a, b = min(i, j), max(i, j)
        yield [raters[r], 1, study.scenes[s].name, study.conditions[a], study.conditions[b], int(i == a)]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    with written_whole(path) as file:
        file.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _cell(value: object) -> object:
    return _r(value) if isinstance(value, float) else value


def _r(value: float) -> object:
    """A figure of a table, empty for none."""
    return "" if math.isnan(value) else round(value, 4)


# --- the page ---------------------------------------------------------------------------------------------------------


def _page(findings: Findings, plot: bytes) -> dict[str, Any]:
    study = findings.study
    source = base64.b64encode(plot).decode()
    n_raters = len(findings.raters) - len(findings.left_out)
    headline = next(iter(findings.figures))
    return {
        "title": f"Opinions on {len(study.scenes)} images",
        "study": study,
        "n_raters": n_raters,
        "n_answers": len(findings.answers),
        "plot": f"data:image/svg+xml;base64,{source}",
        "headline": _TITLES[headline],
        "scores": [
            (condition, _words(estimate), _interval(estimate))
            for condition, estimate in zip(study.conditions, findings.figures[headline], strict=True)
        ],
        "conditions": _condition_table(findings),
        "measure": _AGREEMENT[study.protocol],
        "agreement": "n/a" if math.isnan(findings.agreement) else f"{findings.agreement:.3f}",
        "flagged": [rater for rater in findings.raters if rater.flags],
        "left_out": findings.left_out,
        "raters": _rater_table(findings),
        "images": _image_table(findings),
        "grades": ", ".join(f"{grade} {words}" for grade, words in GRADES.items()),
    }


def _condition_table(findings: Findings) -> dict[str, Any]:
    heads = [head("condition", "text")]
    for name in findings.figures:
        heads += [head(_TITLES[name]), head("95 %", "text"), head("answers")]
    rows = []
    for condition, *estimates in zip(findings.study.conditions, *findings.figures.values(), strict=True):
        cells = [Cell(condition)]
        for one in estimates:
            cells += [Cell(_words(one), sorted_as(one.value)), Cell(_interval(one)), Cell(str(one.n), str(one.n))]
        rows.append(cells)
    return {"heads": heads, "rows": rows}


def _rater_table(findings: Findings) -> dict[str, Any]:
    is_acr = findings.study.protocol == "acr"
    heads = [head("rater", "text"), head("answers"), head("median seconds"), head("repeats")]
    heads += [head("distance of repeats" if is_acr else "repeats alike")]
    heads += [head("lead of the reference" if is_acr else "reference chosen")]
    heads += [head("correlation with others")] * is_acr + [head("remarks", "text")]
    rows = []
    for one in findings.raters:
        numbers = [one.n, one.seconds, one.repeats, one.self_agreement, one.reference]
        numbers += [one.correlation] * is_acr
        cells = [Cell(str(v) if isinstance(v, int) else _number(v), sorted_as(v)) for v in numbers]
        remarks = [*one.flags, *(["left out"] if one.name in findings.left_out else [])]
        rows.append([Cell(one.name), *cells, Cell("; ".join(remarks), kind="text")])
    return {"heads": heads, "rows": rows}


def _image_table(findings: Findings) -> dict[str, Any]:
    """Every scene: the mean, or share chosen, of each condition."""
    conditions = findings.study.conditions
    values = [math.nan if row[3] == "" else float(str(row[3])) for row in _image_rows(findings)]
    rows = []
    for s, scene in enumerate(findings.study.scenes):
        own = values[s * len(conditions) : (s + 1) * len(conditions)]
        rows.append([Cell(scene.name), *(Cell(_number(value), sorted_as(value)) for value in own)])
    return {"heads": [head("image", "text"), *map(head, conditions)], "rows": rows}


def _words(estimate: Estimate) -> str:
    return _number(estimate.value)


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.2f}"


def _interval(estimate: Estimate) -> str:
    return "n/a" if math.isnan(estimate.low) else f"{estimate.low:.2f} to {estimate.high:.2f}"


def _plot(findings: Findings) -> bytes:
    """An SVG: a panel for each figure, a line with its interval for each condition, the best on top by the scale."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # heavy, and only here
    from matplotlib.figure import Figure

    order = sorted(range(len(findings.study.conditions)), key=lambda c: findings.figures["jod"][c].value)
    names, panels = [findings.study.conditions[c] for c in order], list(findings.figures.items())
    figure = Figure(figsize=(1.6 + 3.2 * len(panels), 0.9 + 0.38 * len(order)), layout="constrained")
    for number, (name, estimates) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for line, one in enumerate(estimates[c] for c in order):
            axes.plot([one.low, one.high], [line, line], color="#2b5d8c", linewidth=2, solid_capstyle="butt")
            axes.plot(one.value, line, "o", color="#2b5d8c", markersize=6)
        axes.set_yticks(
            range(len(order)), [_plain_text(label) for label in names] if number == 0 else [""] * len(order)
        )
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_xlabel(_TITLES[name])
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": "resharp"}):  # the same figures give the same bytes
        FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return drawn.getvalue()


def _plain_text(name: str) -> str:
    """A name in which matplotlib sees no formula, shortened."""
    return (name if len(name) <= 28 else f"{name[:27]}…").replace("$", r"\$")
