"""Synthesis plans: what they draw, and how they refuse."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resharp.data.plan import StepPlan, load_plan, plan_from
from resharp.errors import RecipeError

PLANS = sorted((Path(__file__).parent.parent / "src/resharp/recipes" / "data").glob("*.toml"))


def drawn(values: dict[str, Any], n: int = 200) -> list[Any]:
    plan = plan_from({"variants": [{"steps": [values]}]}).variants[0].steps[0]
    return [plan.draw(torch.Generator().manual_seed(seed)) for seed in range(n)]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.name)
def test_the_shipped_plans_hold(path: Path) -> None:
    assert load_plan(path).variants


def test_ranges_are_filled_evenly_and_never_left() -> None:
    extents = [step.degradation.extent for step in drawn({"kind": "shake", "extent": [2, 24]})]
    assert min(extents) < 4
    assert max(extents) > 22
    assert all(2 <= extent <= 24 and extent != round(extent) for extent in extents)
    assert sum(extents) / len(extents) == pytest.approx(13, abs=1)


def test_ranges_of_counts_are_whole_numbers_both_ends_included() -> None:
    assert {step.degradation.quality for step in drawn({"kind": "jpeg", "quality": [70, 73]})} == {70, 71, 72, 73}


def test_choices_and_constants() -> None:
    steps = drawn({"kind": "trajectory", "anxiety": {"choose": [0.003, 0.01]}, "length": 40.0})
    assert {step.degradation.anxiety for step in steps} == {0.003, 0.01}
    assert {step.degradation.length for step in steps} == {40.0}
    assert len({step.seed for step in steps}) == len(steps)


def test_probability_is_how_often_a_step_happens() -> None:
    steps = drawn({"kind": "noise", "probability": 0.25}, n=2000)
    assert sum(step is not None for step in steps) / 2000 == pytest.approx(0.25, abs=0.03)


def test_a_step_that_does_not_happen_leaves_what_follows_as_it_is() -> None:
    rare, sure = (StepPlan(kind="noise", probability=p) for p in (0.0, 1.0))
    numbers = []
    for plan in (rare, sure):
        generator = torch.Generator().manual_seed(7)
        plan.draw(generator)
        numbers.append(torch.rand(1, generator=generator))
    assert torch.equal(*numbers)


EITHER = {"choose": [True, False]}
STEP = {"kind": "jpeg"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "variants"),
        ({"variants": []}, "variants"),
        ({"variants": [{}]}, "steps"),
        ({"variants": [{"steps": [STEP]}], "crp": 3}, "crp is not a setting; did you mean 'crop'"),
        ({"variants": [{"steps": [STEP], "wight": 3}]}, "variants.0.wight is not a setting; did you mean 'weight'"),
        ({"variants": [{"steps": [STEP]}], "crop": "big"}, "crop"),
        ({"variants": [{"steps": [STEP]}], "crop": -1}, "crop"),
        ({"variants": [{"steps": [{"kind": "shak"}]}]}, "variants.0.steps.0: 'shak' is no degradation; did you mean"),
        ({"variants": [{"steps": [{"kind": "jpeg", "qualty": 3}]}]}, "did you mean 'quality'"),
        ({"variants": [{"steps": [{"kind": "noise", "photons": [0.0, 100.0]}]}]}, "photons is 1e-07; it is 0"),
        ({"variants": [{"steps": [{"kind": "trajectory", "anxiety": [0.0, 0.01]}]}]}, "anxiety"),
        (
            {
                "variants": [
                    {"steps": [{"kind": "trajectory", "published": {"choose": [True, False]}, "length": [30.0, 100.0]}]}
                ]
            },
            "length",
        ),
        ({"variants": [{"steps": [{"kind": "downscale"}, {"kind": "shake"}]}]}, "before the downscale"),
        ({"variants": [{"steps": [{"kind": "mosaic", "probability": 0.5}]}]}, "of one plane and of three"),
        ({"variants": [{"steps": [{"kind": "mosaic"}]}, {"steps": []}]}, "of one plane and of three"),
        ({"variants": [{"steps": [{"kind": "jpeg", "quality": [90, 70]}]}]}, "runs backwards"),
        ({"variants": [{"steps": [{"kind": "jpeg", "quality": [50, 101]}]}]}, "quality is 101"),
        ({"variants": [{"steps": [{"kind": "jpeg", "quality": {"choose": []}}]}]}, "a choice is written"),
        ({"variants": [{"steps": [{"kind": "jpeg", "quality": {"chose": [1]}}]}]}, "a choice is written"),
        ({"variants": [{"steps": [{"kind": "jpeg", "probability": 2.0}]}]}, "probability"),
        ({"variants": [{"steps": [STEP, {"kind": "shake", "n_objects": [0, 2]}]}]}, "make it the first step"),
        ({"variants": [{"steps": [{"kind": "downscale"}]}], "crop": 30}, "no multiple of the factor 4"),
        ({"variants": [{"steps": [{"kind": "downscale", "factor": [2, 4]}]}]}, "by one factor"),
        ({"variants": [{"steps": [{"kind": "downscale", "probability": 0.5}]}]}, "always happens"),
        ({"variants": [{"steps": [{"kind": "downscale"}]}, {"steps": [STEP]}]}, "by different factors"),
        ({"variants": [{"steps": [{"kind": "blur", "kernel": "none.png"}]}]}, "no such kernel file"),
        (
            {"variants": [{"steps": [{"kind": "blur", "kernel": [[1, 2, 3], [1]]}]}]},
            "is no rows of numbers, all of one length",
        ),
        ({"variants": [{"steps": [{"kind": "gaussian", "angle": float("inf")}]}]}, "the angle is inf"),
        (
            {"variants": [{"steps": [{"kind": "mosaic"}, {"kind": "mosaic"}]}]},
            "variants.0.steps.1: a mosaic needs colours",
        ),
        (
            {"variants": [{"steps": [{"kind": "noise", "parameters": {}, "sigma": 0.1}]}]},
            "kind, probability, parameters",
        ),
        ({"variants": [{"steps": [{"kind": "trajectory", "published": True, "length": [50, 61]}]}]}, "holds 60 pixels"),
    ],
)
def test_mistakes_are_named_with_their_place(values: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as error:
        plan_from(values)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_kernel_file_is_read_once_and_seen_from_the_plan_s_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.ones((3, 1)))
    text = 'crop = 0\n[[variants]]\nsteps = [{ kind = "blur", kernel = { choose = ["k.npy", "disk:2"] } }]\n'
    (tmp_path / "plan.toml").write_text(text)
    plan = load_plan(tmp_path / "plan.toml")
    (tmp_path / "k.npy").unlink()
    kernels = plan.variants[0].steps[0].parameters["kernel"]["choose"]
    np.testing.assert_allclose(kernels[0], [[1 / 3]] * 3)
    assert kernels[1] == "disk:2"


@pytest.mark.parametrize(("text", "words"), [("crop = ", "not valid TOML"), (None, "no such plan")])
def test_files_that_are_no_plan(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "plan.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RecipeError, match=words):
        load_plan(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"variants": []}, "plan: variants is empty; it needs at least one entry"),
        ({"variants": [{}]}, "plan: variants.0.steps is missing"),
        ({"variants": [{"steps": ["jpeg"]}]}, "plan: variants.0.steps.0 is no table of settings"),
        (
            {"variants": [{"steps": [{"kind": "jpeg", "quality": 101}]}]},
            "plan: variants.0.steps.0: jpeg: JPEG quality is 101; it must lie between 1 and 100",
        ),
        (
            {"variants": [{"steps": [{"kind": "blur", "kernel": [["a"]]}]}]},
            "plan: variants.0.steps.0: blur.kernel: is a text such as disk:3, the name of a file, or rows of numbers",
        ),
    ],
)
def test_one_mistake_is_told_once(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        plan_from(values)
    assert str(error.value) == message


def test_a_number_of_thousands_of_digits_is_a_mistake_like_others(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f'[[variants]]\nsteps = [{{ kind = "noise", sigma = 1{"0" * 5000} }}]\n')
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_plan(str(path))
    with pytest.raises(RecipeError, match="a folder has this name"):
        load_plan(tmp_path)
