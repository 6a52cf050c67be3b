"""The planner's search: what it foresees is what happens, and only better plans are taken."""

import itertools
from dataclasses import replace

import ale_py
import numpy as np
import pytest
from ale_py import roms

from macro_gym.demonstrations import PlannerSettings
from macro_gym.demonstrations.atari_sandbox import AtariSandbox, rewind
from macro_gym.demonstrations.search import (
    Rollout,
    Search,
    changed_plan,
    held_actions,
    rollout_value,
)

SETTINGS = PlannerSettings(trials=7, rescue_trials=7, horizon=33, commit=3, holds=(1, 2, 5, 13))


def emulator(rom):
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 0)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path(rom))
    ale.reset_game()
    return ale


def sandbox(rom, settings=SETTINGS):
    return AtariSandbox(emulator(rom), settings.frameskip)


def searching(rom, settings=SETTINGS):
    """The game, and a search that begins at its start."""
    game, scratch = sandbox(rom, settings), sandbox(rom, settings)
    search = Search(scratch, settings, np.random.default_rng(3))
    search.begin(game.save(), search.draw(settings.horizon))
    return game, search


def foreseen(rom, here, plan, settings=SETTINGS):
    """What a plan leads to, step by step, in an emulator of its own: the naive reference."""
    ale = emulator(rom)
    codes = ale.getMinimalActionSet()
    rewind(ale, here)
    lives, rewards, memories = ale.lives(), [], []
    for step, action in enumerate(plan, 1):
        rewards.append(sum(ale.act(codes[action]) for _ in range(settings.frameskip)))
        if ale.lives() < lives or ale.game_over():
            return rewards, True, memories
        if step % settings.commit == 0:
            memories.append(ale.getRAM().tolist())
    return rewards, False, memories


def outlook(rollout):
    return list(rollout.rewards), rollout.lost, [memory.tolist() for memory in rollout.memories]


@pytest.mark.parametrize("rom", ["breakout", "ms_pacman"])
def test_the_kept_plan_is_what_running_it_whole_gives_at_every_point(rom):
    game, search = searching(rom, replace(SETTINGS, trials=1, rescue_trials=0))
    lost = False
    for _ in range(53):
        search.improve()
        best = search.best
        assert outlook(best) == foreseen(rom, game.save(), best.plan)
        assert len(best.states) == len(best.memories) + 1
        lost |= best.lost
        for action in best.plan[: SETTINGS.commit]:
            game.act(action)
            search.see(game.memory())
        search.go_on(game.save(), game.memory())
    assert lost == (rom == "breakout")  # so that both are tested


def test_what_a_trial_takes_over_from_the_best_plan_is_what_it_would_come_to():
    _, search = searching("breakout")
    run, steps, saved = search._run, [], []
    act = search._scratch.act
    search._scratch.act = lambda action: steps.append(1) or act(action)

    def both(prefix, part, known):
        steps.clear()
        whole = run(prefix, part)
        without = len(steps)
        steps.clear()
        short = run(prefix, part, known)
        assert outlook(short) == outlook(whole)
        assert all(map(ale_py.ALEState.equals, short.states, whole.states))
        assert len(short.states) == len(whole.states)
        saved.append(without - len(steps))
        return short

    search._run = both
    for _ in range(13):
        search.improve()
    assert min(saved) == 0
    assert sum(saved) > 97


def test_a_game_that_went_another_way_is_searched_from_where_it_is():
    game, search = searching("breakout")
    plan = search.best.plan.copy()
    for _ in range(SETTINGS.commit):
        game.act((plan[0] + 2) % 4)
    here = game.save()
    search.go_on(here, game.memory())
    np.testing.assert_array_equal(search.best.plan[: -SETTINGS.commit], plan[SETTINGS.commit :])
    assert outlook(search.best) == foreseen("breakout", here, search.best.plan)


def test_improving_never_makes_the_plan_worth_less_and_tries_no_more_than_it_may():
    _, search = searching("ms_pacman", replace(SETTINGS, rescue_trials=0))
    trials = []
    run = search._run
    search._run = lambda *args: trials.append(1) or run(*args)
    for _ in range(11):
        before = search._value(search.best)
        search.improve()
        assert search._value(search.best) >= before
    assert len(trials) == 11 * 7


def test_a_plan_that_loses_is_changed_until_it_does_not():
    settings = replace(SETTINGS, trials=1, rescue_trials=97, horizon=60, novelty=0.0)
    game, search = searching("breakout", settings)
    for action in [1, 1] + [3] * 20:  # serve, and leave the ball alone
        game.act(action)
    search.begin(game.save(), np.full(60, 3))
    assert search.best.lost
    search.improve()
    assert not search.best.lost


def test_a_plan_is_worth_its_discounted_points_its_lost_life_and_its_news():
    settings = PlannerSettings(life_penalty=13.0, discount=0.9, novelty=0.5)
    memories = np.zeros((2, 128), np.uint8)
    memories[0, 3], memories[1, 3], memories[1, 5] = 7, 8, 200
    seen = np.zeros((128, 256), bool)
    seen[:, 0] = seen[3, 8] = True
    rollout = Rollout(np.zeros(48, int), (2, 0, 7), True, (), tuple(memories))
    assert rollout_value(rollout, seen, settings) == pytest.approx(2 + 0.81 * (7 - 13) + 0.5)
    safe = replace(rollout, lost=False, memories=())
    assert rollout_value(safe, seen, settings) == pytest.approx(2 + 0.81 * 7)


@pytest.mark.parametrize("splice", [0.0, 1.0])
def test_a_change_leaves_what_is_before_it_and_what_it_may_leave_after_it(splice):
    settings = PlannerSettings(horizon=48, commit=4, splice=splice, holds=(1, 5, 7))
    rng, plan = np.random.default_rng(0), np.full(48, 99)
    parts, rests = [], []
    for _ in range(997):
        new, part = changed_plan(rng, plan, 10, 18, settings)
        changed = np.flatnonzero(new != plan)
        assert changed[0] == 4 * part
        assert new[changed].max() < 18
        parts.append(part)
        rests.append(48 - 1 - changed[-1])
        if splice:
            assert len(changed) in (1, 5, 7)
            assert len(set(new[changed])) == 1
    assert set(parts) == set(range(11))
    assert parts.count(0) > 2 * parts.count(10)
    assert (max(rests) > 0) == bool(splice)


def test_a_rewound_emulator_goes_on_like_one_that_was_never_elsewhere():
    ale, scratch = emulator("qbert"), emulator("qbert")
    codes = ale.getMinimalActionSet()
    ale.act(0)
    rng = np.random.default_rng(0)
    for _ in range(17):
        here = ale.cloneState()
        scratch.reset_game()  # leaves a frame half done
        rewind(scratch, here)
        for code in rng.choice(codes, size=5):
            assert ale.act(code) == scratch.act(code)
            np.testing.assert_array_equal(ale.getRAM(), scratch.getRAM())


def test_held_actions_last_their_holds():
    plan = held_actions(np.random.default_rng(0), 6007, 1000, holds=(3, 7))
    assert plan.shape == (6007,)
    runs = [len(list(run)) for _, run in itertools.groupby(plan)][:-1]
    assert set(runs) <= {3, 6, 7, 10, 14}  # sums where neighbours happen to be equal
    assert 0.4 < np.mean(np.array(runs) == 3) < 0.6
    assert set(np.unique(plan)) <= set(range(1000))
