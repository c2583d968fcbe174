"""`resharp evaluate`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resharp.evaluation import PROTOCOLS, read_result
from tests.conftest import Run
from tests.evaluation_sets import pairs_of, smooth


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return pairs_of(tmp_path / "set", smooth(4, 24, 32))


def test_a_table_and_a_summary(run: Run, pairs: Path) -> None:
    done = run("evaluate", "identity", pairs, "--protocol", "deblur-rgb")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("identity on set (pairs), protocol deblur-rgb, version 1\n")
    for name in ("0.png", "3.png", "psnr dB", "95 % interval", "gain"):
        assert name in done.out


def test_a_long_table_shows_the_worst_and_the_best(run: Run, tmp_path: Path) -> None:
    data = pairs_of(tmp_path / "set", smooth(1, 16, 16).expand(30, -1, -1, -1))
    out = run("evaluate", "identity", data, "--protocol", "deblur-rgb").out
    figures = [float(line.split()[1]) for line in out.splitlines() if re.match(r"\d+\.png", line)]
    assert len(figures) == 12
    assert figures == sorted(figures)
    assert "... 18 more ..." in out


def test_a_picture_that_fails_is_told_and_makes_the_exit_code_1(run: Run, pairs: Path) -> None:
    (pairs / "blur" / "1.png").write_bytes(b"")
    done = run("evaluate", "identity", pairs, "--protocol", "deblur-rgb")
    assert done.code == 1
    assert "1.png: " in done.err
    assert "1 of 4 pictures have no figures and are in no mean" in done.out


def test_a_folder_with_results_pictures_and_a_report(run: Run, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run("evaluate", "identity", pairs, "--protocol", "deblur-rgb", "-o", out)
    assert done.code == 0
    assert f"report in {out / 'report.html'}" in done.out
    for name in ("results.json", "results.csv", "report.html", "restored/0.png"):
        assert (out / name).is_file()
    assert not (out / "progress.jsonl").exists()


def test_one_object_for_machines(run: Run, pairs: Path, tmp_path: Path) -> None:
    done = run(
        "evaluate",
        pairs / "sharp",
        pairs,
        "--protocol",
        "deblur-rgb",
        "--set",
        "border=1",
        "-o",
        tmp_path / "r",
        "--json",
    )
    record = json.loads(done.out)
    assert record["card"]["protocol"] == "deblur-rgb (border=1)"
    assert record["rows"][0]["figures"]["psnr"] == "inf"
    assert record["summary"]["psnr"]["mean"] == "inf"  # which JSON has no number for
    assert record["summary"]["ssim"]["mean"] == pytest.approx(1)
    assert len(read_result(tmp_path / "r").rows) == record["summary"]["ssim"]["n"] == 4


def test_perfect_pictures_are_told_as_such(run: Run, pairs: Path) -> None:
    out = run("evaluate", pairs / "sharp", pairs, "--protocol", "deblur-rgb").out
    line = next(line for line in out.splitlines() if line.startswith("psnr dB"))
    assert line.split()[2:4] == ["∞", "∞"]
    assert line.endswith("+∞")


def test_what_a_method_prints_is_not_in_the_result(
    run: Run, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talkative.py").write_text("def restore(image):\n    print('hello')\n    return image\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = run("evaluate", "talkative:restore", pairs, "--protocol", "deblur-rgb", "--json")
    assert len(json.loads(done.out)["rows"]) == 4
    assert done.err.split() == ["hello"] * 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("identity", "SET", "--protocol", "deblur"), "did you mean 'deblur-rgb'"),
        (("identity", "SET", "--protocol", "deblur-rgb", "--set", "border"), "is no KEY=VALUE"),
        (("identity", "SET", "--protocol", "dmsp"), "needs a kernel"),
        (("identity", "nowhere", "--protocol", "deblur-rgb"), "no such folder"),
        (("nothing", "SET", "--protocol", "deblur-rgb"), "no method"),
        (("identity", "SET", "--protocol", "deblur-rgb", "--limit", "0"), "--limit"),
        (("identity", "SET", "--protocol", "deblur-rgb", "--split", "test"), "has no split 'test'"),
        (("identity", "SET"), "--protocol"),
    ],
)
def test_mistakes_are_one_line(run: Run, pairs: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run("evaluate", *(pairs if word == "SET" else word for word in arguments))
    assert done.code == 2
    assert words in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert done.out == ""


def test_the_help_names_all_protocols_and_costs_no_torch() -> None:
    code = (
        "import sys; from resharp.cli import main\nsys.argv = ['resharp', 'evaluate', '--help']\n"
        "try: main()\nfinally: print({'torch', 'numpy', 'cv2', 'PIL', 'tqdm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("set()")
    text = " ".join(done.stdout.split())
    for name in PROTOCOLS:
        assert name in text


def test_protocols_are_printed(run: Run) -> None:
    done = run("evaluate", "--protocols")
    assert done.code == 0
    assert done.out == "\n\n".join(str(protocol) for protocol in PROTOCOLS.values()) + "\n"
