"""The public face: what `__all__` says, sorted, importable, documented; and what importing it costs."""

import importlib
import pkgutil
import subprocess
import sys
import typing
from pathlib import Path

import resharp
from resharp.lazy import homes


def test_all_is_sorted_complete_and_importable() -> None:
    assert resharp.__all__ == sorted(resharp.__all__)
    assert set(resharp.__all__) == set(resharp._HOME)
    for name in resharp.__all__:
        value = getattr(resharp, name)
        if typing.get_origin(value):
            continue  # the name of a type: its words stand below it in the source
        assert value.__doc__, f"{name} has no docstring"
        assert value.__module__.startswith("resharp."), f"{name} is not ours"
    assert dir(resharp) == sorted([*resharp.__all__, "__version__"])


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(resharp, "sharpen")


def test_no_name_that_is_loaded_on_first_use_is_a_module_s() -> None:
    """Importing the module would put it where the name belongs."""
    root = Path(resharp.__file__).parent
    lazy = [path for path in root.rglob("__init__.py") if "on_first_use(__name__)" in path.read_text()]
    assert len(lazy) > 3
    for path in lazy:
        package = ".".join(["resharp", *path.parent.relative_to(root).parts])
        modules = {module.name for module in pkgutil.iter_modules([str(path.parent)])}
        assert not modules & set(homes(importlib.import_module(package).__name__)), package


def test_importing_costs_no_torch() -> None:
    code = "import sys, resharp, resharp.cli; print({'torch', 'cv2', 'numpy', 'PIL', 'pydantic'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
