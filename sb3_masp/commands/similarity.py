"""``masp similarity``: export, measure and show similarities, one subcommand per file."""

from typing import Annotated, Any

import tyro

from sb3_masp.commands.similarity_export import export
from sb3_masp.commands.similarity_outcomes import outcomes
from sb3_masp.commands.similarity_show import show


def similarity(
    command: tyro.conf.OmitArgPrefixes[
        tyro.conf.OmitSubcommandPrefixes[
            Annotated[Any, tyro.conf.subcommand("export", constructor=export)]
            | Annotated[Any, tyro.conf.subcommand("outcomes", constructor=outcomes)]
            | Annotated[Any, tyro.conf.subcommand("show", constructor=show)]
        ]
    ],
) -> None:
    """Export a run's similarity, show it, or measure one in the emulator."""
