"""resharp data: bring, make, pack, check and look at training and test photos."""

import click

from .._groups import Group
from .check import check
from .pack import pack
from .prepare import prepare
from .show import show
from .synthesize import synthesize
from .undo import undo


@click.group(cls=Group)
def data() -> None:
    """Bring, make, pack, check and look at photos for trainings."""


for command in (prepare, synthesize, pack, undo, check, show):
    data.add_command(command)
