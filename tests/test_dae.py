"""The denoising autoencoder: its size, batch norm folding, and the authors' file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from torch.testing import assert_close

from resharp.errors import WeightsError
from resharp.metrics import psnr
from resharp.models.importers import import_dae_mat
from resharp.networks import DAE
from resharp.photo import read_photo
from tests.conftest import rand, reference


def test_it_has_the_published_size() -> None:
    assert sum(p.numel() for p in DAE().parameters()) == 668_227


def test_folding_keeps_the_function() -> None:
    torch.manual_seed(0)
    network = DAE(width=8, depth=5, batch_norm=True)
    for _ in range(3):
        network.train()(rand(4, 3, 12, 12, dtype=torch.float32))
    network = network.double().eval()
    image = rand(2, 3, 13, 11)
    folded = network.folded()
    assert not list(folded.norms)
    assert_close(folded(image), network(image))


def test_its_inner_layers_start_as_an_identity_with_a_fifth_of_he_s_noise() -> None:
    network = DAE(generator=torch.Generator().manual_seed(0))
    identity = torch.zeros(64, 64, 3, 3)
    identity[range(64), range(64), 1, 1] = 1
    for conv in list(network.convs)[1:-1]:
        noise = conv.get_parameter("weight").detach() - identity
        assert float(noise.std()) == pytest.approx(0.2 * (2 / (9 * 64)) ** 0.5, rel=0.02)
        assert abs(float(noise.mean())) < 1e-3


def authors_layout(state: dict[str, torch.Tensor], depth: int) -> dict[str, object]:
    """A network of ours, (out, in, y, x) RGB in [0, 1], as the authors' code would store it: the inverse key map."""
    cells = np.empty((1, 2 * depth - 1), dtype=object)
    for index in range(depth):
        weight, bias = state[f"convs.{index}.weight"].numpy(), 255 * state[f"convs.{index}.bias"].numpy()
        if index == 0:
            weight = weight[:, ::-1]
        if index == depth - 1:
            weight, bias = weight[::-1], bias[::-1]
        pair = np.empty((1, 2), dtype=object)
        # MATLAB array (x, y, in, out): the spatial axes transposed
        pair[0, 0], pair[0, 1] = np.transpose(weight, (3, 2, 1, 0)).copy(), bias[:, None].copy()
        cells[0, 2 * index] = {"type": "conv", "weights": pair}
        if index < depth - 1:
            empty = np.empty((1, 2), dtype=object)
            empty[0, 0] = empty[0, 1] = np.zeros((0, 0))
            cells[0, 2 * index + 1] = {"type": "relu", "weights": np.zeros((0, 0))}
    return {"net": cells}


def test_the_importer_inverts_the_authors_layout(tmp_path: Path) -> None:
    network = DAE(width=6, depth=4, generator=torch.Generator().manual_seed(0))
    for index, conv in enumerate(network.convs):
        conv.bias.data.copy_(rand(len(conv.bias), seed=index, dtype=torch.float32) - 0.5)
    scipy.io.savemat(tmp_path / "net.mat", authors_layout(network.state_dict(), 4))
    imported = import_dae_mat(tmp_path / "net.mat")
    for key, tensor in network.state_dict().items():
        assert_close(imported.state_dict()[key], tensor)


def test_the_authors_file_keeps_its_convention() -> None:
    """Tensors against the file itself, which PSNR would not notice: (x, y, in, out), BGR, 0..255."""
    path = reference("reference", "dmsp", "DAE_sigma11.mat")
    stored = scipy.io.loadmat(path)["net"]
    first, last = stored[0, 0]["weights"][0, 0], stored[0, 38]["weights"][0, 0]
    network = import_dae_mat(path).requires_grad_(False)
    assert sum(p.numel() for p in network.parameters()) == 668_227
    for red_first, blue_first in enumerate((2, 1, 0)):
        for y in range(3):
            for x in range(3):
                assert_close(
                    network.convs[0].weight[:, red_first, y, x], torch.from_numpy(first[0, 0][x, y, blue_first]).float()
                )
                assert_close(
                    network.convs[19].weight[red_first, :, y, x],
                    torch.from_numpy(last[0, 0][x, y, :, blue_first]).float(),
                )
        assert_close(float(network.convs[19].bias[red_first]), float(last[0, 1][blue_first, 0]) / 255)
    assert_close(network.convs[0].bias, torch.from_numpy(first[0, 1][:, 0]).float() / 255)


def test_the_authors_weights_denoise_as_measured() -> None:
    """33.15 dB on their demo photo from 27.30 (sigma 11, numpy seed 0); other conventions end 0.004 to 0.01 lower."""
    network = import_dae_mat(reference("reference", "dmsp", "DAE_sigma11.mat"))
    clean = read_photo(reference("reference", "dmsp", "101085.jpg")).image
    noise = np.random.default_rng(0).normal(0, 11 / 255, (*clean.shape[1:], 3)).astype(np.float32)
    noisy = clean + torch.from_numpy(noise).permute(2, 0, 1)
    with torch.no_grad():
        restored = network(noisy[None])[0].clamp(0, 1)
    assert float(psnr(noisy, clean)) == pytest.approx(27.30, abs=0.02)
    assert float(psnr(restored, clean)) == pytest.approx(33.15, abs=0.05)


def with_a_nan(layout: dict[str, object]) -> dict[str, object]:
    net = layout["net"]
    assert isinstance(net, np.ndarray)
    net[0, 0]["weights"][0, 1][0] = np.nan
    return layout


def of_another_shape(layout: dict[str, object]) -> dict[str, object]:
    net = layout["net"]
    assert isinstance(net, np.ndarray)
    net[0, 2]["weights"][0, 0] = np.zeros((3, 3, 5, 6))
    return layout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (with_a_nan, "NaN"),
        (of_another_shape, "size mismatch for convs.1.weight"),
        (lambda _: {"net": np.ones(3)}, "no layers with weights"),
        (lambda _: {"net": "text"}, "no layers with weights"),
        (lambda _: {"net": scipy.sparse.eye(3)}, "not a DAE"),
    ],
)
def test_a_mat_file_of_other_things_is_named(
    tmp_path: Path, content: Callable[[dict[str, object]], dict[str, object]], words: str
) -> None:
    network = DAE(width=6, depth=4, generator=torch.Generator().manual_seed(0))
    scipy.io.savemat(tmp_path / "net.mat", content(authors_layout(network.state_dict(), 4)))
    with pytest.raises(WeightsError, match=words) as caught:
        import_dae_mat(tmp_path / "net.mat")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a mat file", None])
def test_what_is_no_dae_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.mat"
    if content is None:
        scipy.io.savemat(path, {"net": np.ones((3, 3))})
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"other\.mat"):
        import_dae_mat(path)
