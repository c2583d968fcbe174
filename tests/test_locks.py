import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resharp.errors import DatasetError, OutputError
from resharp.locks import exclusive, is_held

HOLDER = """
import sys, time
from pathlib import Path
from resharp.locks import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("name", [".", "new.pack", "deep/new.pack"])
def test_only_one_may_write(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with exclusive(path):
        with pytest.raises(DatasetError, match=r"is being written by process \d+"), exclusive(path):
            pass
        with exclusive(tmp_path / "other"):
            pass
    with exclusive(path):
        pass
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_looking_whether_it_is_held_is_no_holding(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with exclusive(tmp_path):
        before = sorted(tmp_path.iterdir())
        assert is_held(tmp_path)
        assert sorted(tmp_path.iterdir()) == before
    assert not is_held(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".resharp-lock").touch()  # of a process that was killed
    assert not is_held(tmp_path)


def test_an_error_in_the_block_frees_the_lock(tmp_path: Path) -> None:
    with contextlib.suppress(KeyError), exclusive(tmp_path):
        raise KeyError
    with exclusive(tmp_path):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(DatasetError), exclusive(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        holder.wait()
        with exclusive(tmp_path):
            pass


def test_among_many_only_one_is_inside(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(200):
            with contextlib.suppress(DatasetError), exclusive(tmp_path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], inside[0]) == (1, 0)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file stands where a folder belongs"), exclusive(tmp_path / "file/x.pack"):
        pass
