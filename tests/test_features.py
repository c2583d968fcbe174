"""Feature networks against plain stacks of torch layers; real SqueezeNet weights where the reference data is there."""

import copy
import pickle

import pytest
import torch
from torch.testing import assert_close

from resharp.degradations import blurred, gaussian_kernel
from resharp.errors import ArgumentError
from resharp.losses import l1, perceptual, style
from resharp.models import load_features
from resharp.networks import FEATURE_NETWORKS, FeatureNetwork
from resharp.photo import read_photo
from tests.conftest import rand, reference
from tests.feature_stacks import stack_of, state_of


@pytest.mark.parametrize(
    ("architecture", "layer", "index"),
    [
        ("vgg19", "conv1_1", 0),
        ("vgg19", "conv1_2", 2),
        ("vgg19", "conv2_1", 5),
        ("vgg19", "conv2_2", 7),
        ("vgg19", "conv3_1", 10),
        ("vgg19", "conv3_2", 12),
        ("vgg19", "conv3_3", 14),
        ("vgg19", "conv3_4", 16),
        ("vgg19", "conv4_4", 25),
        ("vgg19", "conv5_1", 28),
        ("vgg19", "conv5_4", 34),
        ("vgg16", "conv3_3", 14),
        ("vgg16", "conv4_3", 21),
        ("vgg16", "conv5_3", 28),
        ("squeezenet1.1", "conv1", 0),
        ("squeezenet1.1", "fire2", 3),
        ("squeezenet1.1", "fire4", 6),
        ("squeezenet1.1", "fire9", 12),
    ],
)
def test_layers_stand_where_torchvision_has_them(architecture: str, layer: str, index: int) -> None:
    assert {stage.name: stage.index for stage in FEATURE_NETWORKS[architecture].stages}[layer] == index


TAPS = [
    ("vgg19", "conv3_3", 14),
    ("vgg19", "conv1_2", 2),
    ("vgg16", "conv3_3", 14),
    ("vgg16", "conv2_1", 5),
    ("squeezenet1.1", "conv1", 0),
    ("squeezenet1.1", "fire3", 4),
    ("squeezenet1.1", "fire9", 12),
]


@pytest.mark.parametrize(("architecture", "layer", "index"), TAPS)
@pytest.mark.parametrize("size", [(32, 32), (37, 42)])
def test_features_are_those_of_the_plain_stack(
    architecture: str, layer: str, index: int, size: tuple[int, int]
) -> None:
    stack = stack_of(architecture, index + 1)
    network = FeatureNetwork(architecture, [layer], state_of(stack), normalisation="raw", after_relu=True)
    image = rand(2, 3, *size, dtype=torch.float32)
    with torch.no_grad():
        (found,) = network(image)
        wanted = torch.relu(stack(2 * image - 1))
    assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("architecture", "layer"), [("vgg19", "conv2_1"), ("squeezenet1.1", "fire4")])
def test_features_before_the_relu_are_not_spoilt_by_it(architecture: str, layer: str) -> None:
    state = state_of(stack_of(architecture, 13))
    image = rand(1, 3, 32, 32, dtype=torch.float32)
    before = FeatureNetwork(architecture, [layer], state)(image)[0]
    after = FeatureNetwork(architecture, [layer], state, after_relu=True)(image)[0]
    assert float((before < 0).float().mean()) > 0.1
    assert torch.equal(before.relu(), after)


def test_a_deeper_tap_does_not_change_a_shallower_one() -> None:
    state, image = state_of(stack_of("vgg16", 13)), rand(1, 3, 16, 16, dtype=torch.float32)
    (alone,) = FeatureNetwork("vgg16", ["conv1_2"], state)(image)
    deep, together = FeatureNetwork("vgg16", ["conv3_1", "conv1_2"], state)(image)
    assert torch.equal(alone, together)
    assert deep.shape == (1, 256, 4, 4)


def test_only_the_layers_that_are_needed_are_kept() -> None:
    network = FeatureNetwork("vgg19", ["conv1_2"], state_of(stack_of("vgg19", 8)))
    assert sorted(network.state_dict()) == [f"features.{n}.{kind}" for n in (0, 2) for kind in ("bias", "weight")]


def test_normalisations_are_the_published_ones() -> None:
    """Seen through a first layer that passes red, green and blue as they come."""
    state = {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)}
    state["features.0.weight"][:3, :, 1, 1] = torch.eye(3)
    image = torch.tensor([0.2, 0.5, 0.9]).view(3, 1, 1).expand(3, 2, 2)

    def seen(normalisation: str) -> list[float]:
        (values,) = FeatureNetwork("vgg16", ["conv1_1"], state, normalisation=normalisation)(image)
        return values[:3, 0, 0].tolist()

    means, spreads = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert seen("imagenet") == pytest.approx(
        [(v - m) / s for v, m, s in zip((0.2, 0.5, 0.9), means, spreads, strict=True)], abs=1e-6
    )
    assert seen("caffe") == pytest.approx([0.9 * 255 - 103.939, 0.5 * 255 - 116.779, 0.2 * 255 - 123.68], abs=1e-4)
    assert seen("raw") == pytest.approx([-0.6, 0, 0.8], abs=1e-6)


def test_any_leading_axes_and_memory_formats() -> None:
    network = FeatureNetwork("squeezenet1.1", ["fire2"], state_of(stack_of("squeezenet1.1", 13)))
    images = rand(2, 3, 3, 24, 20, dtype=torch.float32)
    (wanted,) = network(images)
    assert wanted.shape == (2, 3, 128, 5, 4)
    assert_close(network(images[1, 2])[0], wanted[1, 2])
    network.to(memory_format=torch.channels_last)
    assert_close(network(images[0].contiguous(memory_format=torch.channels_last))[0], wanted[0])


def test_autocast_and_other_types() -> None:
    state, image = state_of(stack_of("squeezenet1.1", 13)), rand(1, 3, 32, 32)
    exact = FeatureNetwork("squeezenet1.1", ["fire5"], state).double()(image)[0]
    network = FeatureNetwork("squeezenet1.1", ["fire5"], state)
    assert_close(network(image)[0], exact.float(), rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(image.bfloat16())[0]
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.double() - exact).norm() / exact.norm()) < 0.03
    with torch.autocast("cpu", torch.bfloat16):
        assert perceptual(image.float(), image.flip(-1).float(), network).dtype == torch.float32


def test_gradients_reach_the_image_and_not_the_weights() -> None:
    network = FeatureNetwork("vgg16", ["conv1_2", "conv2_1"], state_of(stack_of("vgg16", 8))).train()
    restored, target = (rand(1, 3, 16, 16, seed=seed, dtype=torch.float32) for seed in (0, 1))
    restored.requires_grad_()
    (perceptual(restored, target, network, distance=l1) + style(restored, target, network)).backward()
    assert restored.grad is not None
    assert bool(restored.grad.any())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_building_draws_no_random_numbers_and_shares_no_memory() -> None:
    state = state_of(stack_of("vgg16", 1))
    before = torch.get_rng_state()
    network = FeatureNetwork("vgg16", ["conv1_1"], state)
    assert torch.equal(torch.get_rng_state(), before)
    network.state_dict()["features.0.bias"].zero_()
    assert bool(state["features.0.bias"].any())


@pytest.mark.parametrize(
    ("architecture", "layer", "size"),
    [("vgg16", "conv3_1", (3, 64)), ("squeezenet1.1", "conv1", (2, 9)), ("squeezenet1.1", "fire4", (9, 6))],
)
def test_an_image_that_is_too_small_is_named(architecture: str, layer: str, size: tuple[int, int]) -> None:
    network = FeatureNetwork(architecture, [layer], state_of(stack_of(architecture, 13)))
    with pytest.raises(ArgumentError, match=f"{size[1]}x{size[0]} pixels is too small for {layer}"):
        network(rand(3, *size, dtype=torch.float32))
    network(rand(3, max(size), max(size), dtype=torch.float32))


def test_grey_images_are_refused() -> None:
    network = FeatureNetwork("vgg16", ["conv1_1"], state_of(stack_of("vgg16", 1)))
    with pytest.raises(ArgumentError, match=r"colour images .* \(1, 8, 8\)"):
        network(rand(1, 8, 8, dtype=torch.float32))


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("vgg91", "conv1_1"), {}, "'vgg91' is no network with features; did you mean 'vgg19'"),
        (("vgg19", "conv33"), {}, "'conv33' is no layer of vgg19; did you mean 'conv3_3'"),
        (("vgg16", "conv3_4"), {}, "'conv3_4' is no layer of vgg16"),
        (("vgg16", "conv1_1", "conv1_1"), {}, "named twice"),
        (("vgg16", "conv1_1"), {"normalisation": "imagnet"}, "did you mean 'imagenet'"),
    ],
)
def test_misspelt_names_are_answered_by_the_nearest(
    arguments: tuple[str, ...], options: dict[str, str], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        load_features(*arguments, **options)  # type: ignore[arg-type]


def test_a_feature_network_can_be_copied_and_sent() -> None:
    network = FeatureNetwork("squeezenet1.1", ["fire2"], state_of(stack_of("squeezenet1.1", 13)))
    image = rand(1, 3, 16, 16, dtype=torch.float32)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(image)[0], network(image)[0])


# --- real weights ---


def test_real_features_tell_blur_from_sharpness() -> None:
    weights = reference("reference", "squeezenet", "squeezenet1_1_features.h5")
    photo = read_photo(reference("kodak24", "5.png")).image[:, 100:228, 200:360]
    network = load_features("squeezenet1.1", "conv1", "fire4", "fire9", weights=weights)
    with torch.no_grad():
        distances = [
            float(perceptual(blurred(photo, gaussian_kernel(sigma)), photo, network)) for sigma in (0.5, 1, 2, 4)
        ]
        assert float(perceptual(photo, photo, network)) == 0
    assert distances == sorted(distances)
    assert distances[0] > 0


def test_real_weights_expect_values_of_0_to_255() -> None:
    """On [-1, 1], where all the biases weigh 128 times as much, a part of the channels never fires."""
    weights = reference("reference", "squeezenet", "squeezenet1_1_features.h5")
    photos = torch.stack([read_photo(reference("kodak24", f"{n}.png")).image[:, :256, :256] for n in range(1, 13)])

    def n_silent(normalisation: str | None) -> int:
        network = load_features("squeezenet1.1", "fire9", weights=weights, normalisation=normalisation, after_relu=True)
        with torch.no_grad():
            (features,) = network(photos)
        return int((features.amax((0, 2, 3)) == 0).sum())

    assert n_silent(None) < 10 < 100 < n_silent("raw")
