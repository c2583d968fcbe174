"""Makes weights: a recipe in, a run folder and safetensors with their card out."""

from typing import TYPE_CHECKING

from resharp.lazy import on_first_use

if TYPE_CHECKING:
    from .config import Recipe
    from .estimate import dry_run
    from .launching import leave_launcher
    from .loop import train_weights
    from .reading import load_recipe, recipe_schema, used
    from .run_folder import RunSummary, draw_curves, list_runs, read_metrics, read_sessions
    from .validation import shown_score

__all__ = [
    "Recipe",
    "RunSummary",
    "draw_curves",
    "dry_run",
    "leave_launcher",
    "list_runs",
    "load_recipe",
    "read_metrics",
    "read_sessions",
    "recipe_schema",
    "shown_score",
    "train_weights",
    "used",
]

if not TYPE_CHECKING:  # a type checker must not take any name for one of ours
    __getattr__ = on_first_use(__name__)
