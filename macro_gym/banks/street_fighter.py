"""Macros for Street Fighter II': Special Champion Edition, written by hand from its commands.

``python -m macro_gym.banks.street_fighter`` writes them to ``handcrafted/``.

They suit Ryu, the fighter in the integration's savestate, and Ken, who has the same commands. There
are none for fighters who charge by holding a direction (Guile, Blanka, ...).

The game expects a six-button pad, which the emulator plugs in for ROMs whose header asks for one:
punches are X, Y and Z, kicks A, B and C, light, medium and heavy. (With three buttons START would
switch between punches and kicks; the integration does not allow START.)

Timing, at four frames per step: the game reads a motion as a sequence of directions, each soon
after the one before, followed by a button. For Ryu's fireball in Hyper Street Fighter II, each
direction must follow within 7 frames of the one before, and the light, medium or heavy punch
within 11, 10 or 8 frames of the last direction
(http://www8.plala.or.jp/ichirou/hypersf2/input.htm). Here directions are 4 frames apart, and the
button is pressed with the last. These limits were not measured on a Genesis. A button counts when
it goes down, so every macro ends with all of them up. A jump lasts about 48 frames
(http://zachd.com/nki/ST/flame.html: ``diagonal j.kick``, CE); a jump-in's attack begins in its
second half, 28 frames after the jump.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from macro_gym.macro_set import MacroSet, Provenance

GAME = "StreetFighterIISpecialChampionEdition-Genesis-v0"
PATH = Path(__file__).parent / "handcrafted" / f"{GAME}.json"

PUNCHES = ("X", "Y", "Z")
KICKS = ("A", "B", "C")
"""Light, medium, heavy."""

SIDES = ({"toward": "RIGHT", "away": "LEFT"}, {"toward": "LEFT", "away": "RIGHT"})
"""Directions with the enemy to the right, and to the left."""


@dataclass(frozen=True, slots=True)
class Move:
    """A move, for each of several buttons and for both sides.

    Args:
        steps: Combinations of four frames each, with placeholders for directions and button.
        buttons: Each gives one variant of the move; ``("",)`` if it has no button.
    """

    steps: tuple[str, ...]
    buttons: tuple[str, ...] = ("",)


MOVES = {
    "fireball": Move(("DOWN", "DOWN+{toward}", "{toward}+{button}", "NOOP"), PUNCHES),
    "dragon punch": Move(("{toward}", "DOWN", "DOWN+{toward}+{button}", "NOOP"), PUNCHES),
    "hurricane kick": Move(("DOWN", "DOWN+{away}", "{away}+{button}", "NOOP"), KICKS),
    "throw": Move(("{toward}", "{toward}+{button}", "NOOP"), ("Y", "Z", "B", "C")),
    "jump-in": Move((*["UP+{toward}"] * 2, *["NOOP"] * 5, "{button}", "NOOP"), ("Z", "B", "C")),
    "standing block": Move(("{away}",) * 4),
    "crouching block": Move(("DOWN+{away}",) * 4),
    "long standing block": Move(("{away}",) * 8),
    "long crouching block": Move(("DOWN+{away}",) * 8),
}

PRIMITIVES = (
    *("NOOP", "UP", "DOWN", "LEFT", "RIGHT", "UP+LEFT", "UP+RIGHT", "DOWN+LEFT", "DOWN+RIGHT"),
    *(f"{held}{button}" for held in ("", "DOWN+", "LEFT+", "RIGHT+") for button in PUNCHES + KICKS),
    *(f"DOWN+{side}+{button}" for side in ("LEFT", "RIGHT") for button in PUNCHES),
)
"""Movement, every attack standing, crouching and in the air, and whatever else the macros need."""


def moves() -> dict[tuple[str, ...], str]:
    """Return each macro, as combinations, and its description, in the bank's order.

    Example:
        >>> first, *_ = moves().items()
        >>> first
        (('DOWN', 'DOWN+RIGHT', 'RIGHT+X', 'NOOP'), 'fireball, X, enemy to the RIGHT')
    """
    return {
        tuple(step.format(button=button, **side) for step in move.steps): ", ".join(
            filter(None, (name, button, f"enemy to the {side['toward']}"))
        )
        for name, move in MOVES.items()
        for button in move.buttons
        for side in SIDES
    }


def handcrafted() -> MacroSet:
    """Return the macro set."""
    return MacroSet(
        PRIMITIVES,
        tuple(tuple(map(PRIMITIVES.index, steps)) for steps in moves()),
        provenance=Provenance(
            source="handcrafted: mined from no play",
            method="the commands of Ryu and Ken, to either side: " + ", ".join(MOVES),
            game=GAME,
            frameskip=4,
            version=version("macro-gym"),
        ),
    )


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    handcrafted().save(PATH)
