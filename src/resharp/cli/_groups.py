"""Groups of commands: help where no command is named, and that of `resharp` itself in sections."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


class Group(click.Group):
    """A group that prints its help, properly and on stdout, where no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()
        return super().parse_args(ctx, args)


class SectionedGroup(Group):
    """Commands under headings; sections: heading -> its commands, in the order of the help."""

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[click.Command]], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._sections = sections
        for command in [one for commands in sections.values() for one in commands]:
            self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        width = max(len(name) for name in self.commands)
        for heading, commands in self._sections.items():
            limit = formatter.width - width - 6
            with formatter.section(heading):
                formatter.write_dl([(f"{one.name or '':<{width}}", one.get_short_help_str(limit)) for one in commands])
