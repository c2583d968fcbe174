"""Networks, losses and steps of somebody else's, by "package.module:name"."""

import importlib
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from resharp.errors import RecipeError, did_you_mean


def named(kind: str, known: Collection[str], place: str, things: str, wanted: str, fits: Callable[[Any], bool]) -> Any:
    """What stands under a name that no table knows.

    known: the table's names;  things: what it holds, such as "networks";  wanted: the shape of one, for messages;
    fits: whether something is one.  Raises RecipeError that names `place`.
    """
    module, colon, name = kind.partition(":")
    if not colon or not module or module.startswith(".") or not name:
        hint = did_you_mean(kind, known, things=things)
        raise RecipeError(
            f"{place}: {kind!r} is no {things.removesuffix('es' if things == 'losses' else 's')}; {hint} "
            "or write package.module:name"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it: one's own parts lie there
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs anybody's code
        raise RecipeError(f"{place}: {kind}: cannot be imported ({error})") from None
    if not fits(found):
        raise RecipeError(f"{place}: {kind}: is not {wanted}")
    return found
