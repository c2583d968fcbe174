"""Networks, losses and steps of one's own, by "package.module:Name"."""

from collections.abc import Callable, Collection
from typing import Any

from resharp.errors import ArgumentError, RecipeError, did_you_mean
from resharp.own_code import imported, is_own


def named(kind: str, known: Collection[str], place: str, thing: str, wanted: str, fits: Callable[[Any], bool]) -> Any:
    """What stands under a name that no table knows.

    known: the table's names;  thing: what it holds, such as "network";  wanted: the shape of one, for messages;  fits:
    whether something is one.  Raises RecipeError that names `place`.
    """
    if not is_own(kind):
        hint = did_you_mean(kind, known, things=f"{thing}{'es' if thing.endswith('s') else 's'}")
        raise RecipeError(f"{place}: {kind!r} is no {thing}; {hint} or write package.module:Name")
    try:
        found = imported(kind)
    except ArgumentError as error:
        raise RecipeError(f"{place}: {error}") from None
    if not fits(found):
        raise RecipeError(f"{place}: {kind}: is not {wanted}")
    return found
