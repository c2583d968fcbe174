"""Names of a package that are loaded on first use: `import resharp`, and all that needs no torch, loads none."""

import ast
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.abc import InspectLoader
from typing import Any


def homes(package: str) -> dict[str, str]:
    """Name -> the module below the package that it comes from, as `__init__` imports it under `if TYPE_CHECKING`."""
    spec = sys.modules[package].__spec__
    assert spec is not None, "a package that is being imported has one"
    assert isinstance(spec.loader, InspectLoader), "the names stand in the source"
    tree = ast.parse(spec.loader.get_source(package) or "")
    return {name: module for block in tree.body if _is_for_checkers(block) for name, module in _imports(block)}


def _is_for_checkers(block: ast.stmt) -> bool:
    return isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"


def _imports(block: ast.stmt) -> Iterator[tuple[str, str]]:
    for node in ast.walk(block):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            yield from ((alias.asname or alias.name, node.module) for alias in node.names)


def on_first_use(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose `__init__` imports its names under `if TYPE_CHECKING` alone."""
    home = functools.cache(functools.partial(homes, package))

    def load(name: str) -> Any:
        if name.startswith("__") or name not in home():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{home()[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
