"""``masp weights``: export and show the credit weights that a run of pairwise-a2c learned."""

from typing import Annotated, Any

import tyro

from sb3_masp.commands.weights_export import export
from sb3_masp.commands.weights_show import show


def weights(
    command: tyro.conf.OmitArgPrefixes[
        tyro.conf.OmitSubcommandPrefixes[
            Annotated[Any, tyro.conf.subcommand("export", constructor=export)]
            | Annotated[Any, tyro.conf.subcommand("show", constructor=show)]
        ]
    ],
) -> None:
    """Export or show a run's pairwise weights."""
