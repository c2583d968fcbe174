"""The README's Python runs, its commands parse, and the recipes and files that it names are there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from resharp.cli import cli
from resharp.shipped import shipped

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: match.start()].count("\n") + 2
            found.append((f"{page.name}:{line}", match.group(1)))
    return found


@pytest.mark.parametrize(("place", "code"), blocks("python"), ids=lambda value: value if len(value) < 40 else "")
def test_python_blocks_run(place: str, code: str) -> None:
    exec(compile(code, place, "exec"), {})


COMMANDS = [
    (place, line) for place, block in blocks("sh") for line in block.splitlines() if line.startswith("resharp ")
]
HEADERS = [
    (path.name, line.removeprefix("#   "))
    for path in sorted((ROOT / "src/resharp/recipes").rglob("*.toml"))
    for line in path.read_text(encoding="utf-8").splitlines()
    if line.startswith("#   resharp ")
]
CARDS = [
    (path.name, command)
    for path in sorted((ROOT / "src/resharp/assets").glob("*.md"))
    for command in re.findall(r"`(resharp [^`\s]+ [^`]+)`", path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("place", "line"), [*COMMANDS, *HEADERS, *CARDS], ids=lambda value: value)
def test_commands_parse(place: str, line: str) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    command: click.Command = cli
    context = cli.make_context("resharp", list(arguments), resilient_parsing=False)
    while isinstance(command, click.Group):
        name, child, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert child is not None, f"{place}: {name}"
        command = child
        context = command.make_context(name or "", rest, parent=context)
    names = {"train": "recipe", "synthesize": "plan"}
    for kind in (names[word] for word in arguments if word in names):
        named = context.params[kind]
        assert named in shipped(kind) or named.endswith(".toml"), f"{place}: {named}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_shows_both_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text
