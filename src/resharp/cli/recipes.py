"""resharp recipes."""

import dataclasses
import json

import click

from ._terminal import json_option, say


@click.command()
@click.argument("name", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes and plans that come with resharp.

    A recipe is of a training, a plan of what spoils photos.

    With the NAME of one, print it, as a beginning for one of your own: resharp recipes dae > mine.toml
    """
    from resharp.errors import RecipeError, did_you_mean
    from resharp.shipped import shipped

    known = {kind: shipped(kind) for kind in ("recipe", "plan")}
    every = known["plan"] | known["recipe"]
    if name is not None and name not in every:
        raise RecipeError(f"{name}: no such recipe or plan; {did_you_mean(name, every, things='recipes and plans')}")
    if name is not None:
        text = every[name].path.read_text(encoding="utf-8")
        click.echo(json.dumps({"name": name, "text": text}) if as_json else text, nl=as_json)
    elif as_json:
        rows = {
            f"{kind}s": [dataclasses.asdict(one) | {"path": str(one.path)} for one in found.values()]
            for kind, found in known.items()
        }
        click.echo(json.dumps(rows))
    else:
        width = max(map(len, every)) + 2
        for heading, kind in (
            ("recipes, for `resharp train NAME`", "recipe"),
            ("plans, for `resharp data synthesize --plan NAME`", "plan"),
        ):
            say(heading)
            for one in known[kind].values():
                say(f"  {one.name:<{width}}{one.title}")
