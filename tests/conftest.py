"""What several tests share."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resharp.cli import main

if TYPE_CHECKING:
    import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: one thread each, and for what they start
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"


SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def rand(*shape: int, seed: int = 0, dtype: "torch.dtype | None" = None) -> "torch.Tensor":
    """Of doubles, where nothing else is wanted."""
    import torch  # not on top: the process that hands out the tests needs none of it

    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype or torch.float64)


def reference(*parts: str) -> Path:
    """A file of the reference data, or a skip where a checkout has none."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"reference data not there: {'/'.join(parts)}")
    return path


@pytest.fixture(scope="session", autouse=True)
def disk_at_leisure() -> Iterator[None]:
    """Files are not waited for until the disk has them: killed processes lose nothing by it, thousands take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six crops of the demo photo, to be read alone."""
    from tests.toy_training import cut_photos

    return cut_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs leave an empty picture of their curves: drawing it takes three quarters of a toy training."""
    monkeypatch.setattr("resharp.training.trainer.draw_curves", lambda runs, path: path.write_bytes(b""))


class Outcome:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["resharp", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        code = caught.value.code
        return Outcome(code if isinstance(code, int) else 1, captured.out, captured.err)

    return run
