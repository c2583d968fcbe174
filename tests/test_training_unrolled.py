"""A denoiser that is learned within the solver."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from resharp.degradations import Blur, motion_kernel
from resharp.errors import RecipeError
from resharp.models import read_card
from resharp.networks import UNet
from resharp.restorers import BayesRestorer, open_denoiser
from resharp.training import Recipe, load_recipe, train_weights
from resharp.training.config import UnrolledRecipe
from resharp.training.context import Player
from resharp.training.unrolled import KnownBlur, PeriodicBlur, drawn_kernel
from resharp.training.validation import BlurJudge, judge_of
from tests.conftest import rand
from tests.toy_training import cut_photos, history

RECIPE = Path(__file__).parent.parent / "src/resharp/recipes/denoiser-unrolled.toml"


def toy(photos: Path, *more: str) -> Recipe:
    small = "{ widths = [4, 8], blocks = [1, 1], gather = 2, noise_map = true }"
    settings = (
        f"data.photos='{photos}'",
        "data.n_holdout=2",
        "data.plan.crop=32",
        f"networks.generator.arguments={small}",
        "networks.generator.init=''",
        "stages.0.unrolled={ n_iterations = 2, extent = [3, 9] }",
        "stages.0.n_images=24",
        "stages.0.batch_size=4",
        "stages.0.precision=float32",
        "judge.every=24",
        "checkpoints.every=24",
        "tracking=[]",
    )
    return load_recipe(RECIPE, (*settings, *more))


def test_it_learns_by_all_steps_and_its_file_says_how_many(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    written = train_weights(toy(cut_photos(photos)), tmp_path / "run", device="cpu")
    records = history(tmp_path / "run")
    assert all(record["generator_gradient"] > 0 for record in records)
    again = train_weights(toy(photos), tmp_path / "again", device="cpu")
    assert read_card(written).sha256 == read_card(again).sha256
    assert read_card(written).contract.unrolled == 2
    steps = list[tuple[int, int]]()
    restorer = BayesRestorer(open_denoiser(written))
    restorer(rand(3, 24, 24).float(), kernel="gaussian:1", progress=lambda *step: steps.append(step))
    assert steps == [(1, 2), (2, 2)]


def test_what_does_not_fit_is_one_clear_line(photos: Path, tmp_path: Path) -> None:
    for change, words in (
        ("stages.0.unrolled={ extent = [3, 20] }", "such kernels need crops from 40 on, not 32"),
        ("stages.0.unrolled={ extent = [9, 3] }", "extent runs from 9.0 to 3.0"),
        ("stages.0.step=supervised", 'unrolled: is for step = "unrolled"'),
        ("data.noise_sigma=[0.0, 0.05]", "levels run from 0.0039 to 0.192"),
        ("data.plan.variants=[{ steps = [{ kind = 'gaussian', sigma = 1.0 }] }]", "leave the plan's steps out"),
        ("networks.generator.arguments={ widths = [4], blocks = [1], gather = 2 }", "a network that is told them"),
    ):
        with pytest.raises(RecipeError, match=words):
            train_weights(toy(photos, change), tmp_path / "run", device="cpu")


def test_kernels_are_drawn_from_their_seed_and_of_the_size_that_is_wanted() -> None:
    for seed in range(40):
        kernel, again = (drawn_kernel((3.0, 21.0), torch.Generator().manual_seed(seed)) for _ in range(2))
        assert torch.equal(kernel, again)
        assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
        assert max(kernel.shape) <= 42
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
        assert float(kernel.min()) >= 0


def test_photos_are_blurred_as_told_and_compared_where_they_show_something() -> None:
    known = KnownBlur(Blur(torch.full((3, 5), 1 / 15)), sigma=0.0)
    clean = rand(2, 3, 20, 22).float()
    photos = known.photos(clean, [0, 1])
    assert_close(photos, known.blur(clean))
    assert_close(known.seen(clean), clean[..., 1:-1, 2:-2])
    unblurred = KnownBlur(Blur(torch.ones(1, 1)), sigma=0.01)
    assert_close(unblurred.undone(photos, lambda noisy, _: noisy, 1), photos)
    noisy = KnownBlur(known.blur, sigma=0.05)
    assert float((noisy.photos(clean, [0, 1]) - photos).std()) == pytest.approx(0.05, rel=0.1)
    assert_close(noisy.photos(clean, [0, 1])[1:], noisy.photos(clean[1:], [1]))  # in another piece or process


def test_pieces_of_a_batch_have_the_gradients_of_the_whole(photos: Path, tmp_path: Path) -> None:
    """Each photo's noise is its own; least-squares steps end for a whole piece at once, so that some go on longer."""
    changes = ("stages.0.n_images=4", "judge.every=4", "checkpoints.every=4")
    for name, n in (("whole", 1), ("pieces", 2)):
        train_weights(toy(photos, *changes, f"stages.0.accumulate={n}"), tmp_path / name, device="cpu")
    whole, pieces = (history(tmp_path / name)[0]["generator_gradient"] for name in ("whole", "pieces"))
    assert whole == pytest.approx(pieces, rel=1e-2)


def test_it_is_judged_by_blur_that_it_undoes(photos: Path) -> None:
    """With the solver's steps, of a blurred photo of the middle's size, which has a frame."""
    recipe = toy(photos)
    clean = rand(2, 3, 40, 44).float()
    judge = judge_of(recipe, {"clean": clean, "degraded": clean}, torch.device("cpu"))
    assert isinstance(judge, BlurJudge)
    network = UNet(widths=(4,), blocks=(1,), gather=2, noise_map=True)
    scores = judge({"generator": Player("generator", network, network)})
    assert recipe.stages[0].unrolled is not None
    framed = recipe.stages[0].unrolled.model_copy(update={"periodic": 0.0})
    for number, shown in enumerate(judge.photos["degraded"]):
        known = KnownBlur.drawn(framed, recipe.seed + 1 + number)
        blurred = known.photos(clean[number : number + 1], [number])[0]
        top, left = ((has - size) // 2 for has, size in zip(blurred.shape[-2:], shown.shape[-2:], strict=True))
        assert_close(shown, blurred[:, top : top + shown.shape[-2], left : left + shown.shape[-1]])
    assert scores.headline == "psnr"
    assert scores.figures["psnr"] != scores.figures["input_psnr"]


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_around_a_solver_leaves_it_its_own(precision: torch.dtype) -> None:
    blur, image = Blur(motion_kernel(9, 20)), rand(2, 3, 40, 40).float()
    y = blur(image)
    expected = blur.solve(y, image * 0.5, 0.01)
    with torch.autocast("cpu", precision):
        assert_close(blur.solve(y, image * 0.5, 0.01), expected)


def test_half_of_the_batches_are_periodic_and_noise_is_drawn_by_its_logarithm() -> None:
    drawn = [KnownBlur.drawn(UnrolledRecipe(), seed) for seed in range(200)]
    assert 80 <= sum(isinstance(one.blur, PeriodicBlur) for one in drawn) <= 120
    sigmas = torch.tensor([one.sigma for one in drawn])
    assert 0.0015 <= float(sigmas.min()) <= float(sigmas.max()) <= 0.05
    assert float(sigmas.log().mean().exp()) == pytest.approx((0.0015 * 0.05) ** 0.5, rel=0.15)


def test_a_periodic_blur_is_undone_as_dense_matrices_have_it() -> None:
    """Against the operator written out, column by column."""
    blur, size = PeriodicBlur(rand(3, 5).float()), (6, 7)
    image, guess = rand(2, *size).float(), rand(2, *size).float()
    dense = torch.stack([blur(basis.view(size)).flatten() for basis in torch.eye(42)], 1)
    rolled = sum(blur.kernel[y, x] * image.roll((y - 1, x - 2), (-2, -1)) for y in range(3) for x in range(5))
    assert_close(blur(image), rolled)
    assert_close(blur.adjoint(image).flatten(1), image.flatten(1) @ dense)
    right = blur(image).flatten(1) @ dense + 0.1 * guess.flatten(1)
    expected = torch.linalg.solve(dense.T @ dense + 0.1 * torch.eye(42), right.T).T.view_as(image)
    assert_close(blur.solve(blur(image), guess, 0.1), expected, atol=1e-4, rtol=1e-4)
