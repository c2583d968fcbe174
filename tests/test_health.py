"""The health of a training: measures against closed forms, warnings against planted faults and healthy runs."""

import functools
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import softplus

from resharp.photo import read_photo
from resharp.training.health import (
    LIMITS,
    SETTLING,
    WARNINGS,
    HealthMonitor,
    HealthWarning,
    Limit,
    adversarial_share,
    checkerboard_amplitude,
    colour_drift,
    critic_health,
    critic_separation,
    critic_slope,
    first_non_finite,
    gradient_norm,
    named_gradients,
    output_response,
    output_spread,
    picture_health,
)
from tests.conftest import rand, reference

LEVEL = 1 / 255


def photos(n: int, size: int, generator: torch.Generator) -> Tensor:
    """(n, 3, size, size): smooth colours with an upright edge at a random place."""
    smooth = functional.interpolate(torch.rand(n, 3, 4, 4, generator=generator), size=(size, size), mode="bilinear")
    edge = torch.rand(n, 1, 1, 1, generator=generator) * size > torch.arange(size)
    return 0.8 * smooth + 0.2 * edge * torch.rand(n, 3, 1, 1, generator=generator)


def checkered(size: int, stride: int = 2) -> Tensor:
    """(size, size): RMS 1 and mean 0, repeating every `stride` pixels: +-1, or one bright pixel of each square."""
    place = torch.arange(size)
    if stride == 2:
        return 1.0 - 2.0 * ((place[:, None] + place) % 2)
    spot = ((place[:, None] % stride == 0) & (place % stride == 0)).float()
    share = 1 / stride**2
    return (spot - share) / math.sqrt(share * (1 - share))


# measures


@pytest.mark.parametrize(("n", "size"), [(1, 128), (8, 32)])
@pytest.mark.parametrize("stride", [2, 4])
def test_a_planted_pattern_is_measured_in_its_amplitude(stride: int, n: int, size: int) -> None:
    target = photos(n, size, torch.Generator().manual_seed(0))
    for level in (1, 3):
        restored = target + level * LEVEL * checkered(size, stride)
        assert checkerboard_amplitude(restored, target, stride) / LEVEL == pytest.approx(level, abs=0.15)


def test_a_transposed_convolution_of_uneven_overlap_is_seen_and_resizing_is_not() -> None:
    target = photos(4, 64, torch.Generator().manual_seed(0))
    small = functional.avg_pool2d(target, 2)
    resized = functional.interpolate(small, scale_factor=2, mode="bilinear")
    weights = torch.eye(3)[:, :, None, None] * torch.full((3, 3), 0.25)  # taps meet once, twice or four times
    mean_gain = 9 * 0.25 / 4
    transposed = functional.conv_transpose2d(small, weights, stride=2, padding=1, output_padding=1) / mean_gain
    uneven = resized + 0.02 * (transposed - transposed.mean())
    assert checkerboard_amplitude(resized, target, 2) < 0.1 * LEVEL
    assert checkerboard_amplitude(uneven, target, 2) > 0.75 * LEVEL


@pytest.mark.parametrize("restore", [lambda x: x, lambda x: 0.5 * x + 0.2, lambda x: functional.avg_pool2d(x, 3, 1, 1)])
def test_a_picture_that_is_checkered_itself_shows_no_pattern(restore: Callable[[Tensor], Tensor]) -> None:
    target = photos(2, 64, torch.Generator().manual_seed(0)) + 0.1 * checkered(64)
    assert checkerboard_amplitude(restore(target), target, 2) < 0.1 * LEVEL


def test_a_fence_of_random_place_and_noise_are_no_pattern_of_the_stride() -> None:
    generator = torch.Generator().manual_seed(0)
    target = photos(16, 32, generator)
    signs = torch.randint(2, (16, 1, 1, 1), generator=generator) * 2 - 1
    fenced = target + 0.02 * signs * checkered(32) + 0.04 * torch.randn(target.shape, generator=generator)
    assert checkerboard_amplitude(fenced, target, 2) < 2 * LEVEL  # of 5 a picture
    assert checkerboard_amplitude(target + 0.02 * checkered(32), target, 2) > 5 * LEVEL


def test_noise_and_a_slope_are_no_pattern() -> None:
    flat = torch.full((16, 3, 32, 32), 0.5)
    noises = [flat + 0.04 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(n)) for n in range(9)]
    assert torch.stack([checkerboard_amplitude(noise, flat, 2) for noise in noises]).median() < 0.1 * LEVEL
    assert checkerboard_amplitude(flat + torch.linspace(-0.4, 0.4, 32), flat, 2) < 0.1 * LEVEL


def test_pictures_too_small_or_without_a_stride_have_no_pattern() -> None:
    assert checkerboard_amplitude(rand(1, 3, 8, 8), rand(1, 3, 8, 8, seed=1), 4) == 0
    assert checkerboard_amplitude(rand(1, 3, 8, 8), rand(1, 3, 8, 8, seed=1), 1) == 0


def test_drift_spread_and_response_have_their_closed_forms() -> None:
    target = photos(6, 16, torch.Generator().manual_seed(0))
    tint = torch.tensor([0.1, 0.0, -0.05])
    restored = 0.5 * target + tint[:, None, None]
    assert colour_drift(restored, target) == pytest.approx((tint - 0.5 * target.mean((0, 2, 3))).tolist(), abs=1e-6)
    assert float(output_spread(restored, target)) == pytest.approx(0.5, abs=0.01)
    assert float(output_response(restored, target)) == pytest.approx(0.5, abs=0.01)


def test_one_rich_output_for_all_inputs_has_no_spread_and_alone_no_response() -> None:
    target = photos(16, 32, torch.Generator().manual_seed(0))
    same = photos(1, 32, torch.Generator().manual_seed(9)).expand_as(target)
    assert output_spread(same, target) < 0.02
    assert abs(output_response(same, target)) < 0.2
    assert output_spread(torch.full_like(target[:1], 0.5), target[:1]) < 0.02
    assert output_spread(same[:1], target[:1]) > 0.3, "alone it is rich"


def test_flat_photos_do_not_pass_for_a_collapse() -> None:
    flat = torch.full((2, 3, 16, 16), 0.3)
    assert float(output_spread(flat + 0.001, flat)) == pytest.approx(1)
    assert float(output_response(flat + 0.001, flat)) == pytest.approx(1)


def test_separation_is_free_of_the_critics_unit() -> None:
    fake = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    real = 2 + torch.randn(4000, generator=torch.Generator().manual_seed(1))
    separation = float(critic_separation(real, fake))
    assert separation == pytest.approx(2, abs=0.1)
    assert float(critic_separation(1e4 * real - 7e4, 1e4 * fake - 7e4)) == pytest.approx(separation, rel=1e-3)
    one, zero = torch.ones(8), torch.zeros(8)
    assert critic_separation(one, zero) == pytest.approx(1000, rel=0.01), "a saturated sigmoid stays finite"
    assert critic_separation(one, one) == 0


def test_the_slope_of_a_linear_critic_is_its_norm_along_it_and_less_elsewhere() -> None:
    target, direction = rand(4, 3, 8, 8, dtype=torch.float32), rand(3, 8, 8, seed=1, dtype=torch.float32)

    def critic(image: Tensor) -> Tensor:
        return (image * direction).sum((1, 2, 3)) + 1e3

    for restored, share in ((target - 0.1 * direction, 1.0), (rand(4, 3, 8, 8, seed=2, dtype=torch.float32), 0.5)):
        slope = critic_slope(critic(target), critic(restored), restored, target) / direction.norm()
        assert float(slope) <= share + 1e-3
        assert (float(slope) == pytest.approx(1, abs=1e-3)) == (share == 1)


def test_norms_and_shares_of_gradients() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 2))
    network[1](network[0](rand(5, 3, dtype=torch.float32))).square().sum().backward()
    squares = sum(float(p.grad.double().square().sum()) for p in network.parameters() if p.grad is not None)
    assert float(gradient_norm(network.parameters())) == pytest.approx(math.sqrt(squares))
    assert gradient_norm(nn.Linear(2, 2).parameters()) == 0
    assert adversarial_share(torch.tensor([3.0, 4.0]), torch.tensor([15.0])) == pytest.approx(0.25)
    assert adversarial_share(torch.zeros(2), torch.zeros(2)) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_tensor_that_is_not_finite_is_named(bad: float) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 3e38)  # finite, and its square is not
    whole = [("count", torch.tensor(3)), ("nothing", torch.zeros(0)), *named_gradients(network, "generator")]
    assert first_non_finite(whole) is None
    assert first_non_finite([]) is None
    assert isinstance(network[1].bias.grad, Tensor)
    network[1].bias.grad[1] = bad
    assert first_non_finite(whole) == "gradient of generator.1.bias"
    assert first_non_finite([("loss", torch.tensor(bad)), *whole]) == "loss"


def test_what_cannot_be_measured_is_left_out() -> None:
    image, score, norm = torch.full((1, 3, 8, 8), 0.5), torch.ones(1), torch.tensor(2.0)
    measures = critic_health(image, image + 0.1, score, 0 * score, norm, 0 * norm)
    assert not {"separation", "gradient_ratio"} & set(measures)
    assert measures["score_gap"] == 1
    many = critic_health(image, image + 0.1, torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), norm, 2 * norm)
    assert many["gradient_ratio"] == 0.5
    assert many["separation"] > 100


# the monitor on planted numbers

HEALTHY = {
    "output_mean": 0.45,
    "drift_red": 0.001,
    "drift_green": 0.001,
    "drift_blue": -0.001,
    "spread": 0.95,
    "response": 0.95,
    "checkerboard": 0.2 * LEVEL,
    "score_gap": 0.1,
    "separation": 1.5,
    "critic_slope": 0.5,
    "generator_gradient": 0.1,
    "critic_gradient": 1.0,
    "gradient_ratio": 0.1,
    "adversarial_share": 0.3,
    "loss": 0.01,
}
"""What a sound training of a critic without gradient penalty measures."""


def noisy(measures: dict[str, float], seed: int = 0) -> Iterator[dict[str, float]]:
    draws = random.Random(seed)
    while True:
        yield {name: value * draws.lognormvariate(0, 0.3) for name, value in measures.items()}


def watch(
    monitor: HealthMonitor, *phases: tuple[dict[str, float], int], healthy: dict[str, float] = HEALTHY
) -> list[HealthWarning]:
    """The warnings of healthy, noisy measures with the changes of each phase for so many steps of 10 images."""
    warnings, images = [], itertools.count(10, 10)
    for changes, n_steps in phases:
        for measures in itertools.islice(noisy(healthy | changes), n_steps):
            warnings += monitor.update(next(images), measures)
    return warnings


def beyond(limit: Limit) -> dict[str, float]:
    reference_value = HEALTHY.get(limit.measure, 1.0) if limit.relative_to else 1.0
    return {limit.measure: limit.bound * reference_value * (3 if limit.side == "above" else 1 / 3)}


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_each_limit_warns_once_when_it_is_passed_and_again_only_after_it_has_cleared(limit: Limit) -> None:
    held = {"gradient_penalty": 0.05} if limit.measure == "gradient_penalty" else {}
    monitor, ill = HealthMonitor(), (beyond(limit), 2 * limit.window)
    assert watch(monitor, (held, SETTLING + limit.window)) == []
    (warning,) = watch(monitor, ill)
    assert warning.kind == limit.kind
    assert warning.message.startswith(f"{limit.kind}: {limit.words}")
    assert WARNINGS[limit.kind].remedy in warning.message
    assert "since" in warning.message
    assert "\n" not in warning.message
    assert watch(monitor, (held, 3 * limit.window)) == []
    assert [again.kind for again in watch(monitor, ill)] == [limit.kind]


def test_every_kind_of_warning_is_planted_here() -> None:
    assert {limit.kind for limit in LIMITS} | {"non-finite"} == set(WARNINGS)
    assert {cause for kind in WARNINGS.values() for cause in kind.causes} <= set(WARNINGS)


def test_a_measure_that_is_not_finite_is_named_at_once_and_once() -> None:
    monitor = HealthMonitor()
    (warning,) = monitor.update(32, {"loss": math.nan, "spread": 1.0, "anything": math.inf})
    assert warning.kind == "non-finite"
    assert "loss, anything" in warning.message
    for step in range(40):
        assert monitor.update(64 + step, {"loss": math.nan if step % 2 else 1.0}) == []
    assert watch(monitor, ({}, 70)) == []
    assert len(monitor.update(5000, {"loss": -math.inf})) == 1


def test_noise_about_a_limit_warns_once_and_rare_outliers_never() -> None:
    for limit in (row for row in LIMITS if row.relative_to is None):
        alone = {name: value for name, value in HEALTHY.items() if name == limit.measure}
        edge = {limit.measure: limit.bound}
        assert len(watch(HealthMonitor(), (edge, 1500), healthy=alone)) <= 1, limit.name
        outliers = [({}, 4), (beyond(limit), 1)] * 100
        assert watch(HealthMonitor(), *outliers, healthy=alone) == [], limit.name


def test_a_short_relief_is_no_end() -> None:
    ill = {"drift_green": 0.1}
    assert len(watch(HealthMonitor(), (ill, 300), ({}, 60), (ill, 300))) == 1
    assert len(watch(HealthMonitor(), (ill, 300), ({}, 160), (ill, 300))) == 2


def test_what_is_on_the_mend_does_not_warn() -> None:
    monitor = HealthMonitor()
    for step in range(1500):  # a pattern that training irons out, from 6 grey levels down
        level = LEVEL * max(0.2, 6 * math.exp(-step / 400))
        assert monitor.update(step, HEALTHY | {"checkerboard": level}) == []


def test_a_cause_silences_what_follows_from_it() -> None:
    ill = {"spread": 0.01, "drift_red": -0.2, "loss": 0.3}
    assert [w.kind for w in watch(HealthMonitor(), ({}, 300), (ill, 600))] == ["collapse"]
    healed = {"drift_red": -0.2}
    assert [w.kind for w in watch(HealthMonitor(), ({}, 300), (ill, 600), (healed, 300))] == ["collapse", "colour-cast"]


def test_a_critic_under_a_gradient_penalty_may_be_strong() -> None:
    strong = {"separation": 20.0}
    assert [w.kind for w in watch(HealthMonitor(), (strong, 400))] == ["critic-too-strong"]
    assert watch(HealthMonitor(), (strong | {"gradient_penalty": 0.05}, 400)) == []


def test_a_resumed_monitor_warns_at_the_same_images() -> None:
    unsound = {"drift_blue": 0.1, "critic_slope": 500.0, "spread": math.nan}
    phases = [({}, 300), (unsound, 300), ({}, 300), ({"loss": 0.015}, 400), ({"loss": 0.026}, 400)]
    course = [measures for changes, n in phases for measures in itertools.islice(noisy(HEALTHY | changes), n)]
    whole, resumed, expected, found = HealthMonitor(), HealthMonitor(), [], []
    for images, measures in enumerate(course):
        expected += whole.update(images, measures)
        if images % 37 == 0:
            state = json.loads(json.dumps(resumed.state_dict()))
            resumed = HealthMonitor()
            resumed.load_state_dict(state)
        found += resumed.update(images, measures)
    assert found == expected
    assert [w.kind for w in found] == ["non-finite", "exploding-critic", "loss-trend"]
    assert resumed.state_dict() == whole.state_dict()
    assert max(len(values) for values in whole.state_dict()["history"].values()) <= 256


# small trainings

Loss = Callable[[Tensor, Tensor], Tensor]  # (scores of photos, scores of outputs)
LOSSES: dict[str, tuple[Loss, Loss]] = {  # (critic's, generator's)
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
    "least squares": (lambda r, f: (r - 1).square().mean() + f.square().mean(), lambda r, f: (f - 1).square().mean()),
    "hinge": (lambda r, f: (1 - r).relu().mean() + (1 + f).relu().mean(), lambda r, f: -f.mean()),
    "logistic": (lambda r, f: softplus(-r).mean() + softplus(f).mean(), lambda r, f: softplus(-f).mean()),
    "saturating": (lambda r, f: softplus(-r).mean() + softplus(f).mean(), lambda r, f: -softplus(f).mean()),
    "relativistic": (
        lambda r, f: softplus(f.mean() - r).mean() + softplus(f - r.mean()).mean(),
        lambda r, f: softplus(r.mean() - f).mean() + softplus(r - f.mean()).mean(),
    ),
}


conv = functools.partial(nn.Conv2d, kernel_size=3, padding=1)


def blurred(clean: Tensor, generator: torch.Generator) -> Tensor:
    padded = functional.pad(clean, (1, 1, 1, 1), mode="replicate")
    return functional.avg_pool2d(padded, 3, 1) + 0.02 * torch.randn(clean.shape, generator=generator)


def roughened(clean: Tensor, generator: torch.Generator) -> Tensor:
    return clean + 0.3 * torch.randn(clean.shape, generator=generator).sign()


def unlike_one(critic: nn.Module, clean: Tensor, restored: Tensor) -> Tensor:
    """The penalty of Gulrajani et al. (2017), halfway between photos and outputs."""
    middle = (clean + restored).div(2).requires_grad_()
    (slope,) = torch.autograd.grad(critic(middle).mean((1, 2, 3)).sum(), middle, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def trained(
    kind: str | None,
    *,
    penalty: float = 0.0,
    weight: float = 0.01,
    rate: float = 1e-3,
    critic_rate: float = 1e-3,
    critic_steps: int = 1,
    degrade: Callable[[Tensor, torch.Generator], Tensor] = blurred,
    residual: bool = True,
    n_steps: int = 120,
) -> list[str]:
    """The kinds of warnings of steps on batches of 8 photos of 8x8 pixels; kind None trains without a critic."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network, critic = restorer(residual=residual), patch_critic()
    ours = torch.optim.Adam(network.parameters(), rate, (0.5, 0.999))
    theirs = torch.optim.Adam(critic.parameters(), critic_rate, (0.5, 0.999))
    monitor, warnings = HealthMonitor(), []
    for step in range(n_steps):
        clean = photos(8, 8, generator)
        degraded = degrade(clean, generator)
        restored = network(degraded) + (degraded if residual else 0)
        seen = restored.detach().requires_grad_()
        loss = (seen - clean).square().mean()
        (fidelity,) = torch.autograd.grad(loss, seen)
        adversarial, measures = torch.zeros_like(fidelity), {"loss": float(loss.detach())}
        if kind is not None:
            of_critic, of_generator = LOSSES[kind]
            for _ in range(critic_steps):
                real, fake = critic(clean), critic(restored.detach())
                held = unlike_one(critic, clean, restored.detach()) if penalty else torch.zeros(())
                theirs.zero_grad()
                (of_critic(real, fake) + penalty * held).backward()
                critic_gradient = gradient_norm(critic.parameters())
                theirs.step()
            (adversarial,) = torch.autograd.grad(weight * of_generator(real.detach(), critic(seen)), seen)
            measures["adversarial_share"] = float(adversarial_share(adversarial, fidelity))
            measures |= {"gradient_penalty": float(held.detach())} if penalty else {}
        ours.zero_grad()
        restored.backward(fidelity + adversarial)
        measures |= picture_health(restored, clean, stride=1)
        if kind is not None:
            norm = gradient_norm(network.parameters())
            measures |= critic_health(restored, clean, real, fake, norm, critic_gradient)
        ours.step()
        warnings += monitor.update(8 * (step + 1), measures)
    return [warning.kind for warning in warnings]


def restorer(*, residual: bool) -> nn.Sequential:
    network = nn.Sequential(conv(3, 12), nn.ReLU(), conv(12, 12), nn.ReLU(), conv(12, 3))
    if residual:  # starts as the identity
        nn.init.zeros_(network[-1].weight)
        nn.init.zeros_(network[-1].bias)
    return network


def patch_critic() -> nn.Sequential:
    leaky = nn.LeakyReLU(0.2)
    return nn.Sequential(conv(3, 16, stride=2), leaky, conv(16, 16, stride=2), leaky, conv(16, 1))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults may warn from the first full window on."""
    monkeypatch.setattr("resharp.training.health.monitor.SETTLING", 64)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("kind", "rate"),
    [(None, 5e-3), ("hinge", 1e-4), ("relativistic", 5e-3)],
)
def test_sound_trainings_stay_silent(kind: str | None, rate: float) -> None:
    assert trained(kind, rate=rate, critic_rate=rate, n_steps=140) == []


@pytest.mark.usefixtures("soon")
def test_a_sound_training_with_a_gradient_penalty_stays_silent() -> None:
    assert trained("wasserstein", penalty=10, residual=False, n_steps=140) == []


@pytest.mark.usefixtures("soon")
def test_a_generator_that_steps_too_far_collapses() -> None:
    assert trained("least squares", rate=0.3, residual=False) == ["collapse"]


@pytest.mark.usefixtures("soon")
def test_a_critic_without_any_hold_explodes() -> None:
    settings = {"weight": 1e-6, "rate": 1e-4, "critic_rate": 0.02}
    assert trained("wasserstein", **settings, degrade=roughened) == ["exploding-critic"]


def test_the_gradient_of_a_saturating_loss_vanishes_under_a_sure_critic() -> None:
    settings = {"weight": 1e-3, "rate": 1e-6, "critic_rate": 5e-3, "critic_steps": 2}
    *before, last = trained("saturating", **settings, degrade=roughened, n_steps=220)
    assert last == "vanishing-generator"
    assert set(before) <= {"critic-too-strong"}, "which it may show first"


@pytest.mark.usefixtures("soon")
def test_a_critic_of_no_weight_teaches_nothing() -> None:
    assert trained("wasserstein", penalty=10, weight=1e-6) == ["vanishing-generator"]


@pytest.mark.usefixtures("soon")
def test_a_critic_that_is_always_right_is_too_strong() -> None:
    settings = {"weight": 0.1, "rate": 1e-6, "critic_rate": 5e-3, "critic_steps": 2}
    assert trained("logistic", **settings, degrade=roughened) == ["critic-too-strong"]


# real photos


def test_on_real_photos_only_the_planted_pattern_is_seen() -> None:
    whole = [
        read_photo(reference("kodak24", f"{number}.png")).image for number in (1, 8, 19)
    ]  # bricks, houses, a fence
    target = torch.stack([photo[:, 100:356, 100:356] for photo in whole])
    half = functional.avg_pool2d(target, 2)
    resized = functional.interpolate(half, scale_factor=2, mode="bicubic")
    for image, stride in itertools.product((target, resized, 0.5 * target), (2, 4)):
        assert checkerboard_amplitude(image, target, stride) < 0.3 * LEVEL
        planted = image + LEVEL * checkered(256, stride)
        assert checkerboard_amplitude(planted, target, stride) > 0.75 * LEVEL
