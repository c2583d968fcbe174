"""Weights of feature networks: files as torchvision and Keras write them, and a server on this machine."""

import dataclasses
import hashlib
import http.server
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest
import safetensors.torch
import torch
from torch import Tensor

from resharp.errors import OutputError, WeightsError
from resharp.models import features_file, load_features
from resharp.networks import FEATURE_NETWORKS
from tests.conftest import Run, rand
from tests.feature_stacks import stack_of, state_of


def write_keras(path: Path, architecture: str, state: dict[str, Tensor], *, old_names: bool = False) -> Path:
    """Convolutions as a Keras application writes them: a group for each layer, kernels (height, width, in, out)."""
    with h5py.File(path, "w") as file:
        for stage in FEATURE_NETWORKS[architecture].stages:
            for layer, place in stage.keras.items():
                if f"{place}.weight" not in state:
                    continue
                names = ("uniform7", f"{layer}_b") if old_names else (f"{layer}/kernel:0", f"{layer}/bias:0")
                kernel = state[f"{place}.weight"].numpy().transpose(2, 3, 1, 0)
                file.create_dataset(f"{layer}/{names[0]}", data=kernel)
                file.create_dataset(f"{layer}/{names[1]}", data=state[f"{place}.bias"].numpy())
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESHARP_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


# --- files ---


def test_torchvision_and_keras_layouts_give_the_same_network(tmp_path: Path) -> None:
    image = rand(1, 3, 32, 32, dtype=torch.float32)
    for architecture, layer, n_modules in (("vgg19", "conv3_1", 11), ("squeezenet1.1", "fire9", 13)):
        state = state_of(stack_of(architecture, n_modules))
        files = [tmp_path / "new.pth", tmp_path / "old.pth", tmp_path / "same.safetensors"]
        torch.save(state | {"classifier.1.weight": torch.zeros(2, 2)}, files[0])
        torch.save(state, files[1], _use_new_zipfile_serialization=False)  # as VGG19 was published
        safetensors.torch.save_file(state, files[2])
        files.append(write_keras(tmp_path / "new.h5", architecture, state))
        files.append(write_keras(tmp_path / "old.h5", architecture, state, old_names=True))
        outputs = [load_features(architecture, layer, weights=file, normalisation="raw")(image)[0] for file in files]
        assert all(torch.equal(output, outputs[0]) for output in outputs)
        assert float(outputs[0].std()) > 0.1


def test_a_layout_decides_the_normalisation_unless_one_is_named(tmp_path: Path) -> None:
    state, image = state_of(stack_of("vgg16", 1)), rand(1, 3, 8, 8, dtype=torch.float32)
    torch.save(state, tmp_path / "torch.pth")
    write_keras(tmp_path / "keras.h5", "vgg16", state)

    def features(file: str, normalisation: str | None = None) -> Tensor:
        return load_features("vgg16", "conv1_1", weights=tmp_path / file, normalisation=normalisation)(image)[0]

    assert torch.equal(features("torch.pth"), features("keras.h5", "imagenet"))
    assert torch.equal(features("keras.h5"), features("torch.pth", "caffe"))
    assert not torch.equal(features("keras.h5"), features("torch.pth"))


def test_without_weights_the_error_says_what_to_put_where(folder: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_features("vgg19", "conv5_4")
    said = str(caught.value)
    assert "\n" not in said
    for part in (
        str(folder),
        "put vgg19-dcbb9e9d.pth there",
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "download=True",
        "weights=",
    ):
        assert part in said


def test_weights_are_found_in_the_folder_torchvisions_first(folder: Path) -> None:
    state = state_of(stack_of("vgg16", 1))
    folder.mkdir()
    keras = write_keras(folder / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "vgg16", state)
    assert features_file("vgg16") == keras
    torch.save(state, folder / "vgg16-397923af.pth")
    assert features_file("vgg16") == folder / "vgg16-397923af.pth"
    assert load_features("vgg16", "conv1_1").layers == ("conv1_1",)


def test_the_folder_is_in_the_home_unless_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESHARP_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=str(tmp_path / ".cache" / "resharp")):
        features_file("squeezenet1.1")


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_rubbish(path: Path) -> None:
    path.write_bytes(b"\x80\x02rubbish" * 50)


def write_half(path: Path) -> None:
    state = state_of(stack_of("vgg16", 1))
    if path.suffix == ".h5":
        write_keras(path, "vgg16", state)
    elif path.suffix == ".pth":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".h5"])
@pytest.mark.parametrize("write", [write_nothing, write_rubbish, write_half])
def test_damaged_files_are_named_in_one_line(tmp_path: Path, suffix: str, write: Callable[[Path], None]) -> None:
    path = tmp_path / f"weights{suffix}"
    write(path)
    with pytest.raises(WeightsError) as caught:
        load_features("vgg16", "conv1_1", weights=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


class Trap:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return pytest.fail, ("code of the file was run",)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"features.0.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError):
        load_features("vgg16", "conv1_1", weights=tmp_path / "trap.pth")


def test_files_of_another_network_say_which_tensor_does_not_fit(tmp_path: Path) -> None:
    state = state_of(stack_of("vgg16", 3))
    torch.save(state, tmp_path / "shallow.pth")
    with pytest.raises(WeightsError, match=r"shallow.pth: has no features.5.weight"):
        load_features("vgg16", "conv2_1", weights=tmp_path / "shallow.pth")
    write_keras(tmp_path / "shallow.h5", "vgg16", state)
    with pytest.raises(WeightsError, match=r"shallow.h5: has no features.5.weight"):
        load_features("vgg16", "conv2_1", weights=tmp_path / "shallow.h5")
    state["features.2.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match=r"features.2.bias is \(3,\) where \(64,\) belongs"):
        load_features("vgg16", "conv1_2", weights=tmp_path / "wrong.pth")
    state["features.0.bias"][0] = math.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(WeightsError, match=r"features.0.bias holds NaN"):
        load_features("vgg16", "conv1_1", weights=tmp_path / "nan.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="is not a state dict"):
        load_features("vgg16", "conv1_1", weights=tmp_path / "list.pth")


def test_other_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.npy").write_bytes(b"")
    for name, said in (("weights.npy", ".pth, .safetensors, .h5"), ("missing.pth", "no file"), (".", "no file")):
        with pytest.raises(WeightsError, match=said):
            load_features("vgg16", "conv1_1", weights=tmp_path / name)


# --- fetching, from a server on this machine ---


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    served = tmp_path / "served"
    served.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(served))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}", served
        http_server.shutdown()
        thread.join()


def publish(monkeypatch: pytest.MonkeyPatch, url: str, served: Path, content: bytes, digits: str) -> str:
    """Serve `content` as the weights of VGG16, under a name that promises `digits`."""
    name = f"vgg16-{digits}.pth"
    (served / name).write_bytes(content)
    known = dataclasses.replace(FEATURE_NETWORKS["vgg16"], url=f"{url}/{name}")
    monkeypatch.setitem(FEATURE_NETWORKS, "vgg16", known)
    return name


def test_weights_are_fetched_when_asked_to_and_kept(
    server: tuple[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = state_of(stack_of("vgg16", 14))
    torch.save(state, tmp_path / "content.pth")
    content = (tmp_path / "content.pth").read_bytes()
    name = publish(monkeypatch, *server, content, hashlib.sha256(content).hexdigest()[:8])
    with pytest.raises(WeightsError, match=f"put {name} there"):
        features_file("vgg16")
    heard: list[tuple[int, int | None]] = []
    path = features_file("vgg16", download=True, on_progress=lambda done, total: heard.append((done, total)))
    assert path == folder / name
    assert path.read_bytes() == content
    assert heard[-1] == (len(content), len(content))
    assert len(heard) > 1
    (server[1] / name).unlink()  # nothing is asked for a second time
    assert load_features("vgg16", "conv1_1", download=True).layers == ("conv1_1",)


def test_the_command_that_fetches(
    server: tuple[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    name = publish(monkeypatch, *server, b"weights", hashlib.sha256(b"weights").hexdigest()[:8])
    done = run("models", "fetch", "vgg16")
    assert (done.code, done.out, done.err) == (0, f"{folder / name}\n", "")
    assert (folder / name).read_bytes() == b"weights"
    done = run("models", "fetch", "vgg9")
    assert done.code == 2
    assert "'vgg9' is no network with features; did you mean" in done.err


def test_what_does_not_have_the_promised_hash_is_not_kept(
    server: tuple[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = publish(monkeypatch, *server, b"something else", "0123abcd")
    with pytest.raises(WeightsError, match=f"SHA-256 {hashlib.sha256(b'something else').hexdigest()}.* 0123abcd"):
        load_features("vgg16", "conv1_1", download=True)
    assert list(folder.iterdir()) == []
    (server[1] / name).unlink()
    with pytest.raises(WeightsError, match=r"cannot be fetched .*404"):
        load_features("vgg16", "conv1_1", download=True)
    assert list(folder.iterdir()) == []


def test_a_server_that_does_not_answer_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "http://127.0.0.1:9", tmp_path, b"", "0123abcd")
    with pytest.raises(WeightsError, match=r"http://127.0.0.1:9/vgg16-0123abcd.pth: cannot be fetched"):
        features_file("vgg16", download=True)


def test_a_folder_that_cannot_be_written_is_named(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = b"weights"
    publish(monkeypatch, *server, content, hashlib.sha256(content).hexdigest()[:8])
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RESHARP_WEIGHTS", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="a file stands where a folder belongs"):
        features_file("vgg16", download=True)


def test_published_names_end_in_eight_digits_of_a_hash() -> None:
    for known in FEATURE_NETWORKS.values():
        assert known.url.startswith("https://")
        assert len(bytes.fromhex(known.url.rpartition("-")[2].removesuffix(".pth"))) == 4
