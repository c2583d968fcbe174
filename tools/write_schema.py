"""Writes the JSON schema of training recipes to src/resharp/recipes/recipe.schema.json, where editors find it.

python tools/write_schema.py
"""

import json
from pathlib import Path

from resharp.training import recipe_schema

PLACE = Path(__file__).parent.parent / "src" / "resharp" / "recipes" / "recipe.schema.json"

if __name__ == "__main__":
    PLACE.write_text(json.dumps(recipe_schema(), indent=1) + "\n", encoding="utf-8")
