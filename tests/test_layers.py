"""Imports go down only; rooms on one line do not know each other."""

import ast
from pathlib import Path

import pytest

import resharp

PACKAGE = Path(resharp.__file__).parent
LADDER = [
    {"__main__", "__init__"},
    {"cli"},
    {"training", "study", "demo", "showing"},
    {"evaluation"},
    {"restorers", "detection"},
    {"solvers", "kernel_estimation"},
    {"losses", "metrics", "priors", "data", "figures"},
    {"degradations"},  # a model may be one
    {"models"},
    {"networks", "tiling"},
    {"photo"},
    {"image"},
    {"locks", "pages"},
    {"files", "matlab", "device", "own_code", "parallel", "provenance", "shipped"},
    {"errors", "lazy", "allocation"},
]
LEVEL = {room: level for level, rooms in enumerate(LADDER) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports, also inside functions; names from the package itself are their home rooms."""
    found = set()
    depth = len(path.relative_to(PACKAGE).parts) - 1
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                if node.level <= depth:
                    continue  # within the room
                base = f"resharp.{base}".rstrip(".")
            names = [f"{base}.{alias.name}" if base == "resharp" else base for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "resharp" and len(parts) > 1:
                home = resharp._HOME.get(parts[1], parts[1]) if parts[1] not in LEVEL else parts[1]
                found.add(home.partition(".")[0])
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_room_stands_on_the_ladder() -> None:
    assert {room_of(path) for path in FILES} == set(LEVEL)


def test_imports_go_down_only() -> None:
    for path in FILES:
        room = room_of(path)
        others = imported_rooms(path) - {"__version__", room} if room != "__init__" else set[str]()
        assert not [other for other in others if LEVEL[other] <= LEVEL[room]], f"{path} imports what is not below it"


def test_the_walk_sees_steps_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_layers.PACKAGE", tmp_path)
    file = tmp_path / "photo.py"
    file.write_text(
        "from . import cli\ndef f():\n    from resharp.training.loop import train\n    import resharp.models\n"
    )
    assert imported_rooms(file) == {"cli", "training", "models"}
