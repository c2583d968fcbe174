"""The public face: what `__all__` says, sorted, importable, documented; and what importing it costs."""

import subprocess
import sys
import typing

import resharp


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


def test_importing_costs_no_torch() -> None:
    code = "import sys, resharp, resharp.cli; print({'torch', 'cv2', 'numpy', 'PIL', 'pydantic'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
