"""The experiment on Atari's pixels: what it declares, what is kept of it, and what it takes."""

from dataclasses import replace

import pytest

from examples.experiments import atari_pixels
from examples.experiments.atari_page import (
    PIXELS_FIGURE,
    atari_pixels_section,
    draw_pixels,
    read_pixels,
)
from examples.experiments.atari_pixels import ARMS, TINY, Pace, Settings, declared, keep, main
from examples.experiments.run_table import ExperimentError
from sb3_masp.sweeps import execute


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("sb3_masp.sweeps.summary.RESAMPLES", 50)


PACE = Pace(
    "CPU",
    {
        False: {
            "decisions_per_second": 50.0,
            "frames_per_second": 200.0,
            "updates_alone_per_second": 20.0,
        },
        True: {
            "decisions_per_second": 40.0,
            "frames_per_second": 800.0,
            "updates_alone_per_second": 16.0,
        },
    },
    rainbow=3.0,
)


def of_arm(sweep, arm):
    return [run for run in sweep.runs if run.arm == arm]


def test_every_arm_plays_every_game_with_every_seed_for_the_same_frames(tmp_path):
    settings = Settings(games=("Breakout", "Pong"), frames=700, seeds=3)
    sweep = declared(settings, tmp_path)
    seen = {(run.arm, run.config.env, run.config.seed) for run in sweep.runs}
    games = [f"MacroALE/{game}-v5" for game in settings.games]
    assert seen == {(arm, game, seed) for arm in ARMS for game in games for seed in range(3)}
    assert {run.config.frames for run in sweep.runs} == {700}
    without = [arm for arm in ARMS if "primitives" in arm]
    assert {run.arm for run in sweep.runs if run.config.k == 0} == {*without}
    assert {run.config.k for run in sweep.runs} == {0, 128}
    assert of_arm(sweep, "MASPRainbow")[0].config.learner_kwargs["eta"] == 0.3
    assert "embedding_dim" not in of_arm(sweep, "MASPRainbow")[0].config.learner_kwargs


def test_hours_are_of_decisions_with_a_quarter_of_an_update_each(tmp_path):
    sweep = declared(Settings(frames=1_440_000), tmp_path)
    hours = {arm: PACE.hours(of_arm(sweep, arm)[0].config) for arm in ARMS}
    # 360,000 decisions at 50 a second; Rainbow's updates add twice a twentieth for four of them.
    assert hours["DQN, primitives"] == pytest.approx(2.0)
    assert hours["Rainbow, primitives"] == pytest.approx(2.0 + 360_000 / 4 * 2 / 20 / 3600)
    # 72,000 decisions at 40 a second.
    expected = 0.5 + 72_000 / 4 * 2 / 16 / 3600
    assert hours["Rainbow, macros"] == hours["MASPRainbow"] == pytest.approx(expected)
    assert Pace.measured().hours(sweep.runs[0].config) > 0


def test_without_smoke_and_full_it_only_says_what_is_to_be_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Pace, "measured", classmethod(lambda cls: PACE))
    monkeypatch.setattr(atari_pixels, "execute", None)
    main(Settings(frames=1_440_000, folder=tmp_path / "runs", output=tmp_path / "table.csv"))
    said = capsys.readouterr().out
    (line,) = (x for x in said.splitlines() if x.startswith("DQN, primitives"))
    assert line.split()[2:] == ["25", "36,000,000", "2.0"]
    assert atari_pixels.SLICE in said
    assert list(tmp_path.iterdir()) == []


def test_what_a_stopped_sweep_has_finished_is_kept_and_told(tmp_path, monkeypatch):
    sizes = TINY | {"seeds": 2}
    settings = replace(Settings(), **sizes, full=True, output=tmp_path / "table.csv")
    settings = replace(settings, folder=tmp_path / "runs")

    def stopped(sweep, workers):
        execute(replace(sweep, runs=of_arm(sweep, "MASPRainbow")[1:]), workers=workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(atari_pixels, "execute", stopped)
    with pytest.raises(SystemExit, match="130"):
        main(settings)
    (row,) = read_pixels(settings.output)
    assert (row["arm"], row["game"], row["seed"]) == ("MASPRainbow", "MacroALE/Breakout-v5", "1")
    assert (row["algorithm"], row["k"], row["status"]) == ("masp-rainbow", "16", "finished")
    assert int(row["frames"]) >= 400
    assert int(row["updates"]) >= 4  # so that there is an outer step
    text = atari_pixels_section([row | {"final_score": 7.0, "area_under_curve": 5.0}])
    assert "| arm | Breakout-v5 |" in text
    assert "| MASPRainbow, k = 16, η = 0.3 | 7.00 [7.00, 7.00] (1) |" in text
    assert "Not run yet" not in text
    # What is finished is not run again, and comes to the same table.
    before = settings.output.read_bytes()
    monkeypatch.undo()
    monkeypatch.setattr(
        atari_pixels, "execute", lambda sweep, workers: keep(sweep, settings.output)
    )
    main(settings)
    assert settings.output.read_bytes() == before


def test_where_nothing_has_been_run_the_page_says_so(tmp_path):
    assert read_pixels(tmp_path / "none.csv") == []
    text = atari_pixels_section([])
    assert text.endswith("\nNot run yet.\n")
    assert "How long a GPU takes has not been measured" in text


def finished_sweep(tmp_path, monkeypatch, games, eta=0.3):
    """A sweep of two arms whose runs are all finished, without having been run."""

    def done(run, sweep):
        swept = {name: run.setting(name) for name in sweep.swept}
        own = {"arm": run.arm, "game": run.config.env, **swept, "seed": run.config.seed}
        score = len(run.config.env) + eta
        return own | {"status": "finished", "final_score": score, "area_under_curve": 1.0}

    monkeypatch.setattr(atari_pixels, "row", done)
    arms = ("Rainbow, macros", "MASPRainbow, uniform")
    return declared(Settings(arms=arms, games=games, eta=eta, seeds=2), tmp_path)


def test_rows_of_runs_that_are_not_the_sweeps_stay(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    for games, eta in ((("Breakout", "Pong"), 0.3), (("Freeway",), 0.3), (("Pong",), 1.0)):
        keep(finished_sweep(tmp_path, monkeypatch, games, eta), path)
    rows = read_pixels(path)
    games = [row["game"] for row in rows]
    # Without a penalty η makes no difference, so those two runs on Pong are the same ones again.
    counts = [games.count(f"MacroALE/{game}-v5") for game in ("Breakout", "Pong", "Freeway")]
    assert counts == [4, 6, 4]
    scores = {(row["eta"], row["final_score"]) for row in rows if "Pong" in row["game"]}
    assert scores == {("", 17.0), ("0.3", 16.3), ("1.0", 17.0)}
    before = path.read_bytes()
    keep(finished_sweep(tmp_path, monkeypatch, ("Pong",), 1.0), path)
    assert path.read_bytes() == before


def test_tables_say_the_eta_of_their_arms_and_keep_them_apart(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    for eta in (0.3, 1.0):
        keep(finished_sweep(tmp_path, monkeypatch, ("Pong",), eta), path)
    rows = read_pixels(path)
    text = atari_pixels_section(rows)
    assert "| MASPRainbow, uniform, k = 128, η = 0.3 | 16.30 [16.30, 16.30] (2) |" in text
    assert "| MASPRainbow, uniform, k = 128, η = 1.0 | 17.00 [17.00, 17.00] (2) |" in text
    assert "| Rainbow, macros, k = 128 | 17.00 [" in text
    assert f"]({PIXELS_FIGURE})" in text
    draw_pixels(rows, tmp_path / "some.png")
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
    of_one_seed = [row for row in rows if row["seed"] == "0"]
    assert "![" not in atari_pixels_section(of_one_seed)
    draw_pixels(of_one_seed, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_rows_of_other_budgets_are_refused_before_anything_is_run(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    keep(finished_sweep(tmp_path, monkeypatch, ("Pong",)), path)
    monkeypatch.setattr(atari_pixels, "execute", None)
    settings = Settings(frames=7_000, full=True, output=path, folder=tmp_path / "runs")
    with pytest.raises(ExperimentError, match="frames was 10000000 and is 7000"):
        main(settings)
