"""Macro sets as text, pictures and animations, the last on the real emulator."""

import json
import re
import sys

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from ale_py import roms
from PIL import Image

from macro_gym import MacroSet, Provenance, report
from macro_gym.banks import bank_names, handcrafted_names, load_bank, load_play
from macro_gym.cli import main
from macro_gym.demonstrations import Demonstration
from macro_gym.demonstrations.actions import ALE_ACTIONS
from macro_gym.errors import (
    InvalidMacroError,
    MacroGymError,
    MissingDependencyError,
    UnknownGameError,
)
from macro_gym.extraction import play_coverage
from macro_gym.report.animation import find_moment

PNG = b"\x89PNG\r\n\x1a\n"
NAMES = ("NOOP", "FIRE", "RIGHT", "LEFT")


def shown(argv, capsys):
    """The lines that ``macro-gym show`` prints."""
    assert main(["show", *map(str, argv)]) == 0
    return capsys.readouterr().out.splitlines()


def rows(lines, header):
    """The words of a table's rows."""
    start = next(i for i, line in enumerate(lines) if re.fullmatch(header, line)) + 1
    end = lines.index("", start) if "" in lines[start:] else len(lines)
    return [line.split() for line in lines[start:end]]


def written(picture):
    """The texts in an SVG."""
    return re.findall(r"<!-- (.*?) -->", picture.read_text())


KNOWN = {"id": "ALE/Breakout-v5", "kwargs": {"frameskip": 4, "repeat_action_probability": 0}}


def demonstration(actions, names=NAMES, game="Breakout", **kwargs):
    actions = np.array(actions, dtype=np.uint8)
    return Demonstration(names, actions, None, game, 4, **kwargs)


def breakout(*macros):
    return MacroSet(NAMES, macros, provenance=Provenance(game="Breakout", frameskip=4))


def emulator(game):
    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path(game))
    ale.reset_game()
    return ale


def frames(path):
    """The pictures of an animation and their durations, in ms."""
    pictures, durations = [], []
    with Image.open(path) as animation:
        for index in range(animation.n_frames):
            animation.seek(index)
            pictures.append(np.asarray(animation.convert("RGB")))
            durations.append(animation.info["duration"])
    return pictures, durations


def test_every_action_of_the_emulator_has_a_symbol_of_its_own():
    symbols = [report.symbol(name) for name in ALE_ACTIONS]
    assert len(set(symbols)) == 18
    assert "".join(symbols) == "·•↑→←↓↗↖↘↙⇑⇒⇐⇓⇗⇖⇘⇙"


def test_other_primitives_are_called_by_their_names():
    assert report.strip(["LEFT", "Left", "UP+DOWN", "A+B"]) == "← Left UP+DOWN A+B"


def test_combinations_of_buttons_are_an_arrow_and_the_buttons():
    assert report.strip(["DOWN+RIGHT+B", "LEFT+UP", "A+LEFT+C"]) == "↘B ↖ ←A+C"


def test_the_banks_are_listed(capsys):
    header, *lines = shown([], capsys)
    assert header.split() == ["game", "macros", "mean", "score", "steps", "hash"]
    for name, line in zip((*bank_names(), *handcrafted_names()), lines, strict=True):
        bank = load_bank(name)
        scores = bank.provenance.scores
        assert line.split() == [
            name,
            str(len(bank.macros)),
            *([f"{sum(scores) / len(scores):.1f}"] if scores else []),
            str(bank.provenance.steps),
            bank.hash[:12],
        ]


def test_a_bank_is_shown_with_its_lengths_and_first_macros(capsys):
    bank = load_bank("breakout")
    lines = shown(["Breakout", "--top", "3"], capsys)
    arrows = {"NOOP": "·", "FIRE": "•", "RIGHT": "→", "LEFT": "←"}
    assert rows(lines, "  rank   count  strip  +macro") == [
        [
            str(rank + 1),
            str(bank.counts[rank]),
            "".join(arrows[bank.primitives[step]] for step in bank.macros[rank]),
            bank.names[len(bank.primitives) + rank],
        ]
        for rank in range(3)
    ]
    histogram = {int(row[0]): int(row[1]) for row in rows(lines, "length  macros")}
    lengths = [len(macro) for macro in bank.macros]
    assert histogram == {length: lengths.count(length) for length in set(lengths)}


def test_the_mean_overlap_is_between_different_macros(tmp_path, capsys):
    # Common subsequences of 1, 0 and 1 steps: 2/5, 0 and 2/5.
    breakout((1, 2), (3, 0, 1), (3, 3)).save(tmp_path / "set.json")
    lines = shown([tmp_path / "set.json"], capsys)
    assert "overlap    0.27 between two macros, on average" in lines


def test_a_bank_is_shown_with_what_it_covers_of_the_play_it_was_mined_from(capsys):
    lines = shown(["pong"], capsys)
    bank, play = load_bank("pong"), load_play("pong")
    steps = bank.provenance.steps
    table = rows(lines, f"macros  share of {steps} steps covered  decisions per step")
    sizes = [2**n for n in range(10)]
    found = play_coverage(bank, play, sizes)
    assert table == [
        [str(n), f"{share:.1%}", f"{decisions:.3f}"]
        for n, share, decisions in zip(sizes, found.covered, found.decisions, strict=True)
    ]


def test_a_set_is_shown_with_what_it_covers_of_other_play(tmp_path, capsys):
    breakout((3, 3), (2, 2, 0), (1, 1)).save(tmp_path / "set.json")
    demonstration([3, 3, 2, 2, 0, 1, 0, 0, 3, 3]).save(tmp_path / "play" / "a.npz")
    demonstration([1, 1, 1, 1, 1, 1, 1, 1, 1, 1]).save(tmp_path / "play" / "b.npz")
    assert not any("covered" in line for line in shown([tmp_path / "set.json"], capsys))
    lines = shown([tmp_path / "set.json", "--play", tmp_path / "play"], capsys)
    assert rows(lines, "macros  share of 20 steps covered .*") == [
        ["1", "20.0%", "0.900"],
        ["2", "35.0%", "0.800"],
        ["3", "85.0%", "0.550"],
    ]


def test_play_is_brought_to_the_sets_game_actions_and_frame_skip(tmp_path, capsys):
    macro_set = MacroSet(ALE_ACTIONS, ((10, 10),), provenance=Provenance("", "", "Breakout", 4))
    macro_set.save(tmp_path / "set.json")
    frames_up_fire = np.full(24, ALE_ACTIONS.index("UPFIRE"), np.uint8)
    played = Demonstration(ALE_ACTIONS, frames_up_fire, None, "Breakout", 1)
    played.save(tmp_path / "play" / "breakout.npz")
    Demonstration(ALE_ACTIONS, played.actions, None, "Pong", 1).save(tmp_path / "play" / "pong.npz")
    lines = shown([tmp_path / "set.json", "--play", tmp_path / "play"], capsys)
    assert rows(lines, "macros  share of 6 steps covered .*") == [["1", "100.0%", "0.500"]]
    # In the minimal set, FIRE is what the game makes of UPFIRE.
    breakout((1, 1, 1)).save(tmp_path / "set.json")
    lines = shown([tmp_path / "set.json", "--play", tmp_path / "play"], capsys)
    assert rows(lines, "macros  share of 6 steps covered .*") == [["1", "100.0%", "0.333"]]


def test_sets_of_other_primitives_have_no_strips(tmp_path, capsys):
    MacroSet(("Left", "Up"), ((0, 1),)).save(tmp_path / "set.json")
    lines = shown([tmp_path / "set.json"], capsys)
    assert rows(lines, "  rank   count  macro") == [["1", "0", "Left,Up"]]
    assert report.strips.LEGEND not in lines


def test_a_set_is_drawn_with_strips_coverage_and_overlap(tmp_path, capsys):
    macro_set = breakout((3, 3, 1), (2, 0))
    macro_set.save(tmp_path / "set.json")
    demonstration([3, 3, 2, 0]).save(tmp_path / "play.npz")
    argv = [tmp_path / "set.json", "--plot", tmp_path / "set.svg"]
    lines = shown([*argv, "--play", tmp_path / "play.npz"], capsys)
    assert lines[-1] == f"picture    {tmp_path / 'set.svg'}"
    texts = written(tmp_path / "set.svg")
    assert [text for text in texts if text in "←→•·"] == ["←", "←", "•", "→", "·"]
    drawn = (tmp_path / "set.svg").read_text()
    assert [drawn.count(colour) for colour in ("#ffb74d", "#dbe9f6", "#f2f2f2")] == [1, 3, 1]
    assert {"Counts", "Lengths", "Coverage", "Overlap", "decisions per step"} <= set(texts)
    shown(argv, capsys)
    assert "no play is given" in written(tmp_path / "set.svg")


def test_a_bank_is_drawn(tmp_path, capsys):
    shown(["pong", "--plot", tmp_path / "macros.png", "--top", "60"], capsys)
    assert (tmp_path / "macros.png").read_bytes().startswith(PNG)


def test_primitives_of_other_environments_are_drawn_by_name(tmp_path):
    names = ("DOWN+RIGHT+B", "Up", "LEFT+UP", "B")
    report.plot(MacroSet(names, ((0, 1, 2, 3),)), tmp_path / "set.svg")
    assert {"↘B", "Up", "↖", "B"} <= set(written(tmp_path / "set.svg"))
    assert (tmp_path / "set.svg").read_text().count("#ffb74d") == 2


def test_a_set_without_macros_can_be_shown_and_drawn(tmp_path, capsys):
    MacroSet(("NOOP", "UP")).save(tmp_path / "empty.json")
    demonstration([0, 1], ("NOOP", "UP")).save(tmp_path / "play.npz")
    argv = [tmp_path / "empty.json", "--plot", tmp_path / "empty.png"]
    for more in ([], ["--play", tmp_path / "play.npz"]):
        assert "macros     0, of up to 1 steps" in shown([*argv, *more], capsys)
        assert (tmp_path / "empty.png").read_bytes().startswith(PNG)


def test_a_picture_of_no_known_kind_is_refused_and_nothing_written(tmp_path, capsys):
    assert main(["show", "pong", "--plot", str(tmp_path / "macros.txt")]) == 2
    assert "macros.txt is no picture to write; it must end in ." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_drawing_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'macro-gym\[plots\]'"):
        report.plot(load_bank("pong"), tmp_path / "macros.png")


def first_occurrence(macro, play, after):
    """The episode and the step, from ``after`` on, at which ``macro`` first begins in play."""
    for episode, demonstration in enumerate(play):
        actions = demonstration.actions.tolist()
        for at in range(after, len(actions)):
            if tuple(actions[at : at + len(macro)]) == macro:
                return episode, at
    raise LookupError(macro)


@pytest.mark.parametrize(("game", "rank"), [("breakout", 3), ("seaquest", 77), ("pong", 512)])
def test_an_animation_shows_every_frame_of_a_macro_as_it_was_played(game, rank, tmp_path, capsys):
    macro = load_bank(game).macros[rank - 1]
    episode, at = first_occurrence(macro, load_play(game), 60)
    path = tmp_path / "macro.gif"
    lines = shown([game, "--gif", rank, "--output", path], capsys)
    where = f"after step {at} of episode {episode + 1} of the play, as played there"
    assert lines[-1] == f"animation  {path}: macro {rank}, {where}"
    actions = load_play(game)[episode].actions
    ale = emulator(game)
    codes = ale.getMinimalActionSet()
    screens = [ale.getScreenRGB()]
    for action in actions[: at + len(macro)]:
        for _ in range(4):
            ale.act(codes[action])
            screens.append(ale.getScreenRGB())
    screens = screens[4 * at :]
    pictures, durations = frames(path)
    assert len(pictures) == len(screens) == 4 * len(macro) + 1
    assert durations == [600, *[20] * (len(pictures) - 2), 600]
    for picture, screen in zip(pictures, screens, strict=True):
        np.testing.assert_array_equal(picture[:420:2, ::2], screen)
    strips = [picture[420:] for picture in pictures]
    changes = [i for i in range(len(strips) - 1) if (strips[i] != strips[i + 1]).any()]
    assert changes == list(range(0, 4 * len(macro), 4))


def test_a_set_of_another_frame_skip_is_filmed_at_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    provenance = Provenance(game="Breakout", frameskip=3)
    MacroSet(NAMES, ((3, 3), (2, 2, 1)), provenance=provenance).save("set.json")
    lines = shown(["set.json", "--gif", "2"], capsys)
    assert lines[-1] == "animation  Breakout-2.gif: macro 2, after FIRE and 59 NOOPs"
    ale = emulator("breakout")
    for frame in range(180):
        ale.act(ale_py.Action.FIRE if frame < 3 else ale_py.Action.NOOP)
    pictures, _ = frames("Breakout-2.gif")
    assert len(pictures) == 3 * 3 + 1
    np.testing.assert_array_equal(pictures[0][:420:2, ::2], ale.getScreenRGB())


def test_an_animation_ends_with_the_game(tmp_path):
    # Freeway is over after two minutes and 16 seconds, however it is played.
    ale, frames_played = emulator("freeway"), 0
    while not ale.game_over():
        ale.act(ale_py.Action.NOOP)
        frames_played += 1
    steps, rest = divmod(frames_played - 2, 4)
    names = ("NOOP", "UP")
    provenance = Provenance(game="Freeway", frameskip=4)
    macro_set = MacroSet(names, ((0,) * 5 + (1,), (0,) * 9 + (1,)), provenance=provenance)
    settings = KNOWN | {"id": "ALE/Freeway-v5"}
    play = [demonstration([0] * steps + [0] * 5 + [1], names, "Freeway", settings=settings)]
    assert "as played there" in report.animate(macro_set, 1, tmp_path / "end.gif", play)
    pictures, _ = frames(tmp_path / "end.gif")
    assert len(pictures) == rest + 2 + 1


def test_a_macro_is_filmed_where_it_first_occurs_after_60_steps_else_anywhere_else_there():
    early = demonstration([3, 3, *[0] * 62], settings=KNOWN)
    late = demonstration([2, 0, 3] * 20 + [3, 3, 1], settings=KNOWN | {"seed": 5})
    after = {
        ("LEFT", "LEFT"): (60, 2, "as"),
        ("LEFT", "NOOP"): (1, 1, "as"),
        ("FIRE", "FIRE"): (60, 1, "though not"),
        ("LEFT", "FIRE"): (61, 2, "as"),
        ("UP",): (60, 1, "though not"),
    }
    for names, (at, episode, how) in after.items():
        moment = find_moment(names, [early, late])
        words = f"after step {at} of episode {episode} of the play, {how} played there"
        assert moment.words == words
        play = (early, late)[episode - 1]
        assert moment.before.actions.tolist() == play.actions[:at].tolist()
        assert moment.before.settings == play.settings


def test_play_is_matched_by_name_and_may_be_shorter_than_a_macro():
    names = ("LEFT", "FIRE")
    play = [demonstration(actions, names, settings=KNOWN) for actions in ([1], [1, 0, 1, 1])]
    words = "after step 2 of episode 2 of the play, as played there"
    assert find_moment(("FIRE", "FIRE"), play).words == words
    words = "after step 1 of episode 1 of the play, though not played there"
    assert find_moment(("LEFT",) * 5, play).words == words


@pytest.mark.parametrize("namespace", ["ALE", "MacroALE"])
def test_play_is_filmed_as_it_was_with_its_sticky_actions_mode_and_seed(
    namespace, tmp_path, capsys
):
    settings = {"repeat_action_probability": 0.25, "mode": 4, "difficulty": 1}
    argv = ["record", f"{namespace}/Breakout-v5", "--policy", "random", "--steps", "75"]
    argv += ["--settings", json.dumps(settings), "--seed", "11", "--frameskip", "3"]
    assert main([*argv, "--output", str(tmp_path / "play")]) == 0
    [path] = (tmp_path / "play").iterdir()
    played = Demonstration.load(path)
    env = gym.make("ALE/Breakout-v5", frameskip=3, render_mode="rgb_array", **settings)
    env.reset(seed=11)
    screens = [env.render()]
    for action in played.actions:
        env.step(action)
        screens.append(env.render())
    macro = tuple(played.actions[66:73].tolist())
    provenance = Provenance(game="Breakout", frameskip=3)
    MacroSet(NAMES, (macro,), provenance=provenance).save(tmp_path / "set.json")
    argv = [tmp_path / "set.json", "--gif", 1, "--output", tmp_path / "a.gif", "--play", path]
    assert shown(argv, capsys)[-1].endswith(
        "after step 66 of episode 1 of the play, as played there"
    )
    pictures, _ = frames(tmp_path / "a.gif")
    assert len(pictures) == 3 * 7 + 1
    for picture, screen in zip(pictures[::3], screens[66:74], strict=True):
        np.testing.assert_array_equal(picture[:420:2, ::2], screen)


@pytest.mark.parametrize(
    ("settings", "frameskip"),
    [
        ({}, 4),
        ({"id": "Fingers-v0", "kwargs": {"frameskip": 4}}, 4),
        ({"id": "ALE/Breakout-v5"}, 4),
        # Resampled: the emulator made other steps than these.
        ({"id": "ALE/Breakout-v5", "kwargs": {"frameskip": 1}, "seed": 3}, 4),
        ({}, 0),
    ],
)
def test_play_that_cannot_be_played_as_it_was_is_not_said_to_be(settings, frameskip, tmp_path):
    actions = np.array([1] + [2] * 70 + [3] * 3, np.uint8)
    play = [Demonstration(NAMES, actions, None, "Breakout", frameskip, settings=settings)]
    macro_set = MacroSet(NAMES, ((3, 3, 3), (3, 1, 3)), provenance=Provenance(game="Breakout"))
    words = report.animate(macro_set, 1, tmp_path / "a.gif", play)
    assert words.endswith(
        "after step 71 of episode 1 of the play, played anew without sticky actions"
    )
    words = report.animate(macro_set, 2, tmp_path / "b.gif", play)
    assert words.endswith("played anew without sticky actions, though not played there")
    ale = emulator("breakout")
    for frame in range(4 * 71):
        ale.act(ale_py.Action.FIRE if frame < 4 else ale_py.Action.RIGHT)
    pictures, _ = frames(tmp_path / "a.gif")
    np.testing.assert_array_equal(pictures[0][:420:2, ::2], ale.getScreenRGB())


def test_without_play_the_game_is_begun_with_fire(tmp_path):
    words = report.animate(breakout((3, 3, 3)), 1, tmp_path / "a.gif")
    assert words == "after FIRE and 59 NOOPs"
    ale = emulator("breakout")
    for frame in range(240):
        ale.act(ale_py.Action.FIRE if frame < 4 else ale_py.Action.NOOP)
    pictures, _ = frames(tmp_path / "a.gif")
    np.testing.assert_array_equal(pictures[0][:420:2, ::2], ale.getScreenRGB())


def test_a_game_without_a_button_is_begun_with_noops(tmp_path):
    macro_set = MacroSet(("NOOP", "UP"), ((1, 1),), provenance=Provenance(game="Freeway"))
    words = report.animate(macro_set, 1, tmp_path / "a.gif")
    assert words == "after NOOP and 59 NOOPs"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--top", -3], "top is -3; it is how many macros to show, at least 0"),
        (["--gif", 0], "there is no macro 0; the set has 1..512"),
        (["--gif", 1, "--output", "a.mp4"], "a.mp4 is no animation to write"),
        (["--plot", "x.foo"], "x.foo is no picture to write"),
        (["--output", "a.gif"], "output is a.gif, but no macro is to be filmed"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_anything_is(words, problem, tmp_path, capsys):
    assert main(["show", "pong", *map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert problem in err
    assert out == ""
    assert err.count("\n") == 1


def test_a_negative_number_of_macros_is_refused_from_python_too(tmp_path):
    with pytest.raises(InvalidMacroError, match="top is -1"):
        report.describe(breakout((1, 1)), -1)
    with pytest.raises(InvalidMacroError, match="top is -1"):
        report.plot(breakout((1, 1)), tmp_path / "a.svg", -1)


def test_what_cannot_be_filmed_is_refused_and_nothing_written(tmp_path):
    macro_set = breakout((3, 3), (1, 1))
    for rank in (0, 3):
        with pytest.raises(InvalidMacroError, match=rf"no macro {rank}; the set has 1\.\.2"):
            report.animate(macro_set, rank, tmp_path / "a.gif")
    with pytest.raises(MacroGymError, match=r"a\.mp4 is no animation to write; .* \.gif"):
        report.animate(macro_set, 1, tmp_path / "a.mp4")
    other = MacroSet(("Up",), ((0, 0),), provenance=Provenance(game="FrozenLake"))
    with pytest.raises(UnknownGameError, match="game is 'FrozenLake'"):
        report.animate(other, 1, tmp_path / "a.gif")
    other = MacroSet(("Up",), ((0, 0),), provenance=Provenance(game="Breakout"))
    with pytest.raises(InvalidMacroError, match="primitives Up are no actions of the emulator"):
        report.animate(other, 1, tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []
