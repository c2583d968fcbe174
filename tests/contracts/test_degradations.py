"""What everything that spoils a photo promises; the table decides which are tested."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from resharp.degradations import (
    DEGRADATIONS,
    DegradationStep,
    Frame,
    Undone,
    apply_steps,
    check_in_batches,
    done,
    drawn_together,
    make_degradation,
    parameter_names,
    step_from_json,
)
from resharp.errors import ArgumentError, RecipeError
from tests.conftest import rand
from tests.toy_networks import toy_bgan

COLOUR_ONLY = {"mosaic"}
ALONE = {"jpeg", "realistic"}  # done photo by photo, not on batches
DRAWS = {"trajectory", "shake", "noise", "realistic"}
USUAL = {"realistic": {"model": str(toy_bgan())}}  # it has no defaults


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_the_generator_decides_and_nothing_else(kind: str) -> None:
    degrade, image = make_degradation(kind, USUAL.get(kind, {})), rand(3, 48, 40, dtype=torch.float32)
    before, untouched = torch.get_rng_state(), image.clone()
    first, again, other = (degrade(image, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (kind not in DRAWS)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(image, untouched)
    assert first.dtype == image.dtype


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_a_step_written_down_is_the_same_step(kind: str) -> None:
    step = DegradationStep(make_degradation(kind, USUAL.get(kind, {})), seed=2**32 - 1)
    again = step_from_json(json.loads(json.dumps(step.as_json())))
    assert again == step
    image = rand(3, 32, 32, dtype=torch.float32)
    assert torch.equal(apply_steps([step], image)[0], apply_steps([again], image)[0])


@pytest.mark.parametrize("kind", DEGRADATIONS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (16, 20)])
@pytest.mark.parametrize("channels", [1, 3])
def test_photos_of_any_size_grey_and_colour(kind: str, size: tuple[int, int], channels: int) -> None:
    if kind == "downscale" and (size[0] % 4 or size[1] % 4):
        pytest.skip("its sides are multiples of the factor")
    if kind in COLOUR_ONLY and channels == 1:
        with pytest.raises(ArgumentError):
            make_degradation(kind, USUAL.get(kind, {}))(rand(1, *size, dtype=torch.float32), generator=generator(0))
        return
    image = rand(channels, *size, dtype=torch.float32)
    degraded, clean = apply_steps([DegradationStep(make_degradation(kind, USUAL.get(kind, {})))], image)
    factor = 4 if kind == "downscale" else 1
    assert degraded.shape[-2:] == (size[0] // factor, size[1] // factor)
    assert bool(torch.isfinite(degraded).all())
    assert_close(clean, image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["blur", "trajectory", "shake", "defocus", "gaussian", "downscale", "jpeg"])
@pytest.mark.parametrize("level", [0.0, 128 / 255, 1.0])
def test_an_even_surface_stays_as_bright(kind: str, level: float) -> None:
    image = torch.full((3, 64, 64), level)
    degraded = make_degradation(kind, USUAL.get(kind, {}))(image, generator=generator(3))
    assert_close(degraded, torch.full_like(degraded, level), atol=3e-5, rtol=0)


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_a_misspelt_parameter_is_named(kind: str) -> None:
    name = parameter_names(kind)[0]
    with pytest.raises(RecipeError, match=f"{kind}.{name}x is not a parameter; did you mean '{name}'"):
        make_degradation(kind, {f"{name}x": 1})


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_no_parameter_takes_a_value_of_another_type(kind: str) -> None:
    for name in parameter_names(kind):
        with pytest.raises(RecipeError, match=f"{kind}.*{name}|{kind}: "):
            make_degradation(kind, {name: {"a": 1}})


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("shake", {"extent": -1.0}, "extent is -1"),
        ("shake", {"gamma": 0.5}, "gamma is 0.5"),
        ("shake", {"n_objects": 1.5}, "n_objects"),
        ("trajectory", {"exposure": 0.0}, "exposure is 0"),
        ("trajectory", {"length": float("nan")}, "length"),
        ("jpeg", {"quality": 0}, "quality is 0"),
        ("jpeg", {"subsampling": "4:1:1"}, "subsampling"),
        ("noise", {"sigma": 25.0}, "levels = 0.098"),
        ("downscale", {"factor": 0}, "factor is 0"),
        ("mosaic", {"pattern": "XTRANS"}, "pattern"),
        ("defocus", {"radius": 0.0}, "radius"),
        ("blur", {"kernel": "nowhere.png"}, "no such kernel file"),
        ("blur", {"kernel": [[1.0, 2.0]]}, "odd"),
        ("gaussian", {"sigma": -1.0}, "sigma"),
        ("blurr", {}, "did you mean 'blur'"),
        ("noise", {"photons": 1e-300}, "photons is 1e-300"),
        ("shake", {"photons": 1e-300}, "photons is 1e-300"),
        ("trajectory", {"anxiety": 1e-200}, "anxiety is 1e-200"),
        ("trajectory", {"length": 1e-200}, "length is 1e-200"),
    ],
)
def test_values_out_of_range_are_refused(kind: str, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError) as error:
        make_degradation(kind, parameters)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", DEGRADATIONS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float16, torch.bfloat16])
def test_other_types_than_float32_and_float64_are_refused(kind: str, dtype: torch.dtype) -> None:
    with pytest.raises(ArgumentError, match=str(dtype)):
        make_degradation(kind, USUAL.get(kind, {}))(torch.ones(3, 16, 16).to(dtype), generator=generator(0))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.full((3, 8, 8), float("nan")), "NaN or infinite"),
        (torch.full((3, 8, 8), float("inf")), "NaN or infinite"),
        (torch.zeros(1, 3, 8, 8), r"\(1, 3, 8, 8\)"),
        (torch.zeros(2, 8, 8), r"\(2, 8, 8\)"),
        (torch.zeros(8, 8), r"\(8, 8\)"),
        (torch.zeros(3, 0, 8), r"\(3, 0, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "uint8"),
        (np.zeros((8, 8, 3), np.float32), "ndarray"),
    ],
)
def test_steps_take_one_finite_image(image: torch.Tensor, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        apply_steps([], image)


def test_steps_are_steps_with_a_whole_seed() -> None:
    for step in (make_degradation("noise", {}), "noise"):
        with pytest.raises(ArgumentError, match="a step is a DegradationStep"):
            apply_steps([step], torch.zeros(3, 8, 8))  # type: ignore[list-item]
    for seed in (1.5, "1", True, None):
        with pytest.raises(ArgumentError, match="seed is"):
            DegradationStep(make_degradation("noise", {}), seed)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="the class Noise"):
        DegradationStep(DEGRADATIONS["noise"])  # type: ignore[arg-type]
    seed = np.int64(7)
    step = DegradationStep(make_degradation("noise", {}), seed)  # type: ignore[arg-type]
    assert json.loads(json.dumps(step.as_json()))["seed"] == 7


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("jpeg", "quality"),
        ("shake", "n_objects"),
        ("shake", "n_frames"),
        ("trajectory", "n_points"),
        ("downscale", "factor"),
    ],
)
def test_counts_are_whole_numbers(kind: str, name: str) -> None:
    with pytest.raises(ArgumentError, match="must be a whole number"):
        DEGRADATIONS[kind](**{name: 10.5})


def test_numpy_s_numbers_are_numbers() -> None:
    assert make_degradation("jpeg", {"quality": np.int64(80)}) == make_degradation("jpeg", {"quality": 80})
    made = make_degradation("blur", {"kernel": np.ones((3, 1), np.float32)})
    assert made == make_degradation("blur", {"kernel": [[1.0], [1.0], [1.0]]})


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("noise", {"photons": 1e-3}),
        ("shake", {"photons": 1e-3, "gamma": 1.0}),
        ("trajectory", {"anxiety": 1e-6, "length": 0.01, "n_points": 100_000}),
        ("trajectory", {"anxiety": 1e-6, "length": 1000.0, "n_points": 2}),
    ],
)
def test_the_smallest_values_still_give_numbers(kind: str, parameters: dict[str, float]) -> None:
    image = rand(3, 16, 16, dtype=torch.float32)
    assert bool(torch.isfinite(make_degradation(kind, parameters)(image, generator=generator(0))).all())


MORE = {  # beside the usual parameters
    "shake": [{"n_objects": 2, "highlights": 8.0, "photons": 500.0, "read_noise": 0.01}, {"n_frames": 7, "gamma": 1.0}],
    "trajectory": [{"gamma": 2.2, "exposure": 0.5}],
    "noise": [{"photons": 200.0, "gamma": 2.2}, {"sigma": 0.1, "gamma": 2.2}],
    "downscale": [{"rounding": False, "method": "area"}],
    "mosaic": [{"demosaic": "malvar", "pattern": "GBRG"}],
}


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_on_batches_photos_become_what_they_become_alone(kind: str) -> None:
    """Photos of several sizes, uint8 and float32, pieces of larger ones."""
    if kind in ALONE:
        with pytest.raises(RecipeError, match=f"{kind} is not done on batches"):
            check_in_batches(make_degradation(kind, USUAL.get(kind, {})))
        return
    pieces = [(4, 4), (64, 80), (48, 80), (64, 40), (24, 16)]
    photos = []
    for seed, (size, more) in enumerate([(size, more) for size in pieces for more in ({}, *MORE.get(kind, []))]):
        pixels = torch.nn.functional.avg_pool2d(rand(3, *(n + 4 for n in size), seed=seed, dtype=torch.float32), 5, 1)
        steps = [DegradationStep(make_degradation(kind, more), seed)]
        photos.append(Undone(pixels if seed % 5 else (255 * pixels).byte(), steps, Frame(100, 120, 5, 7, *size)))
    n_done = 0
    for chain in drawn_together(photos):
        made = done(chain)
        for row, degraded, clean, size in zip(chain.rows.tolist(), made.degraded, made.clean, made.sizes, strict=True):
            pixels, steps, frame = photos[row]
            scene = pixels / 255 if pixels.dtype == torch.uint8 else pixels
            for ours, theirs in zip((degraded, clean), apply_steps(steps, scene, frame=frame), strict=True):
                assert_close(ours[:, : theirs.shape[1], : theirs.shape[2]], theirs, atol=1e-3, rtol=0)
            assert tuple(size) == tuple(apply_steps(steps, scene, frame=frame)[0].shape[-2:])
            n_done += 1
    assert n_done == len(photos)
