"""The page docs/banks.md, made from the result of `benchmarks.banks`."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from macro_gym.games import game_name

PAGE = """\
# The banks

Written by `python -m benchmarks.page` from the measurements of `python -m benchmarks.banks`.

```sh
macro-gym bank list                                 # the banks, and the play they are mined from
macro-gym bank show breakout --plot breakout.png    # strips, counts, coverage, overlap; or .svg
macro-gym bank show breakout --gif 3                # macro 3 in the emulator, frame by frame
macro-gym bank rebuild breakout                     # mine it again: the same, byte for byte
macro-gym bank rebuild breakout --replan            # let the planner play anew, too
```

`macro-gym show` does the same for a macro-set file and, with `--play`, for any play.

{n} games, {retro} of them from stable-retro. The planner's play scores above the human mean in
{above} of the {tabled} games that have a human score. The median over games of the share of steps
covered by the first 32, 128 and 512 macros is {covered}.

- *score*: mean over the episodes played. The planner sees the future of an emulator without sticky
  actions, and its episodes are truncated (`macro-gym bank show` gives the limit as `steps` under
  *source*). The score thus shows how good the play is from which the macros were mined, but is not
  comparable with agents' scores. *normalised*: the same on a scale where random play is 0 and a
  human 1 for whole episodes, for the 57 games in DQN Zoo's table ([atari_data.py](
  https://github.com/google-deepmind/dqn_zoo/blob/master/dqn_zoo/atari_data.py), after Mnih et al.
  2015 and Wang et al. 2016).
- *macros*: their number; all are different sequences. *several actions*: those that do more than
  hold one action. *distinct*: how many have different effects in the emulator, by screen and
  reward, at {moments} moments of random play. Macros that differ only at other moments count as
  one, so this is a lower bound. *length*: their mean length, in steps.
- *covered by*: the largest share of the play's steps that lie in the first 32, 128 or 512 macros,
  over all ways to split the play into macros and primitives. *decisions*: the fewest decisions per
  step with which 128 macros and the primitives reproduce the play
  (`macro_gym.extraction.play_coverage`).

{table}

{about}"""

HEADER = (
    *("game", "score", "normalised", "episodes", "steps", "macros", "several actions", "distinct"),
    *("length", "covered by 32", "128", "512", "decisions"),
)


def banks_page(result: Mapping[str, Any], about: str) -> str:
    """Return the page; ``about`` states the origin of the result."""
    banks = result["banks"]
    normalised = [bank["human_normalised"] for bank in banks.values()]
    tabled = [value for value in normalised if value is not None]
    medians = (median(bank["covered"][n] for bank in banks.values()) for n in ("32", "128", "512"))
    rows = [_row(game, bank) for game, bank in banks.items()]
    lines = [HEADER, ("---", *["---:"] * (len(HEADER) - 1)), *rows]
    return PAGE.format(
        n=len(banks),
        retro=sum("-" in game for game in banks),
        above=sum(value > 1 for value in tabled),
        tabled=len(tabled),
        covered=", ".join(f"{share:.1%}" for share in medians),
        moments=", ".join(str(m) for m in sorted({bank["moments"] for bank in banks.values()})),
        table="\n".join(f"| {' | '.join(cells)} |" for cells in lines),
        about=about,
    )


def _row(game: str, bank: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of one bank."""
    human = bank["human_normalised"]
    return (
        # The banks of stable-retro's games are named by its ids.
        game if "-" in game else game_name(game),
        f"{bank['mean_score']:,.1f}",
        "" if human is None else f"{human:.2f}",
        f"{bank['episodes']}",
        f"{bank['steps']:,}",
        f"{bank['macros']}",
        f"{bank['several_actions']}",
        f"{bank['effects']}",
        f"{bank['mean_length']:.1f}",
        *(f"{bank['covered'][n]:.1%}" for n in ("32", "128", "512")),
        f"{bank['decisions']['128']:.3f}",
    )
