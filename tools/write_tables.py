"""Writes what the package holds of its own tables, so that it can be read without them.

The JSON schema of training recipes, where editors find it, and the options of `resharp degrade`, whose help needs no
torch then.  python tools/write_tables.py
"""

import json
from pathlib import Path
from typing import Any

import resharp
from resharp.cli.degrade import described
from resharp.training import recipe_schema

PACKAGE = Path(resharp.__file__).parent
TABLES: dict[str, Any] = {"recipes/recipe.schema.json": recipe_schema, "cli/degradations.json": described}

if __name__ == "__main__":
    for place, table in TABLES.items():
        (PACKAGE / place).write_text(json.dumps(table(), indent=1) + "\n", encoding="utf-8")
