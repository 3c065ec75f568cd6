import os
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from envs import NASEnv, NASVectorEnv
from rlnas.config import RecipeConfig
from rlnas.errors import UsageError
from rlnas.evaluation import CachedExecutor, InlineExecutor, Job
from rlnas.objectives import Failure, Metrics
from rlnas.spaces import ImageSpace, prefix_of

SPACE = ImageSpace((8, 8, 1), 10, max_layers=3, min_layers=1)
STOP = 8
LAYERS = [0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0]
KEY = "conv 16 3x3 relu > maxpool 2x2 > conv 16 3x3 /2 relu > flatten"


class Counting:
    """Pays the number of layers, the last flattening included, / 10 and counts its children."""

    def __init__(self, fail=False):
        self.seen, self.fail = [], fail

    def evaluate(self, architecture, recipe, seed, folder=None):
        self.seen.append((architecture.tokens, recipe.epochs, seed))
        if self.fail:
            return Failure("out of memory")
        return Metrics(val_accuracy=(0.0, len(architecture.layers) / 10))


def random_token(mask, rng):
    return int(rng.choice(np.flatnonzero(mask)))


def walk(env, rng):
    _, info = env.reset(seed=0)
    while True:
        step = env.step(random_token(info["action_mask"], rng))
        info = step[4]
        if step[2]:
            return step


def test_check_env_passes_with_warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(NASEnv(SPACE, Counting()), skip_render_check=True)


def test_import_registers_the_environment():
    env = gymnasium.make("rlnas/NAS-v0", space=SPACE, evaluator=Counting())
    assert isinstance(env.unwrapped, NASEnv)
    assert env.unwrapped.space is SPACE


def test_made_without_arguments_it_means_digits_and_the_default_space():
    env = gymnasium.make("rlnas/NAS-v0").unwrapped
    assert env.space.to_json() == ImageSpace((8, 8, 1), 10).to_json()


def test_default_training_is_made_repeatable_before_it_begins(monkeypatch):
    prepared = []
    monkeypatch.setattr("rlnas.children.runtime.prepare", prepared.append)
    env = NASEnv(SPACE, recipe=RecipeConfig(epochs=1))
    assert prepared == []
    _, reward, _, _, info = walk(env, np.random.default_rng(3))
    assert prepared == [None]
    assert 0 < reward == info["metrics"]["val_accuracy"][-1]


def test_spaces_are_those_of_the_design():
    env = NASEnv(SPACE, Counting())
    assert env.action_space == gymnasium.spaces.Discrete(9)
    assert env.observation_space.shape == (SPACE.max_tokens,)
    assert set(env.observation_space.nvec) == {10}


def test_reward_comes_on_the_last_token_and_is_a_python_float():
    evaluator = Counting()
    _, reward, terminated, truncated, info = walk(
        NASEnv(SPACE, evaluator), np.random.default_rng(3)
    )
    layers = len(SPACE.architecture(info["tokens"]).layers)
    assert type(reward) is float
    assert reward == layers / 10
    assert (terminated, truncated) == (True, False)
    assert len(evaluator.seen) == 1


def test_observation_shows_the_prefix():
    env = NASEnv(SPACE, Counting())
    env.reset(seed=0)
    observed, reward, ended, _, _ = env.step(0)
    observed, _, _, _, _ = env.step(2)
    assert prefix_of(observed) == (0, 2)
    assert observed.dtype == np.int64
    assert (reward, ended) == (0.0, False)


@pytest.mark.parametrize("token", [8, 99, -1])
def test_illegal_token_ends_the_episode_and_says_why(token):
    evaluator = Counting()
    env = NASEnv(SPACE, evaluator, failure_reward=-2.0)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(token)
    assert (reward, terminated) == (-2.0, True)
    assert f"token {token} at position 0 (layer)" in info["illegal"]
    assert evaluator.seen == []


def test_failed_child_pays_the_failure_reward_with_its_reason():
    env = NASEnv(SPACE, Counting(fail=True), failure_reward=-0.5)
    _, reward, terminated, _, info = walk(env, np.random.default_rng(0))
    assert (reward, terminated, info["failure"]) == (-0.5, True, "out of memory")


def test_step_after_the_end_asks_for_reset():
    env = NASEnv(SPACE, Counting())
    env.reset(seed=0)
    env.step(99)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(0)


def test_masks_in_both_forms_agree():
    env = NASEnv(SPACE, Counting())
    _, info = env.reset(seed=0)
    assert info["action_mask"].dtype == np.int8
    assert env.action_masks().tolist() == info["action_mask"].astype(bool).tolist()


def test_evaluator_without_its_space_is_refused():
    with pytest.raises(UsageError, match="pass the space"):
        NASEnv(evaluator=Counting())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"space": ImageSpace((28, 28, 1), 10)}, r"shape \(8, 8, 1\) and 10 classes, as digits"),
        ({"recipe": {"epochs": 1}}, "expected a rlnas.config.RecipeConfig, got dict"),
        ({"failure_reward": float("nan")}, "expected a finite number, got nan"),
    ],
)
def test_what_no_child_could_be_trained_with_is_refused_at_once(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        NASEnv(**options)


@pytest.mark.parametrize("action", ["a", 0.5, None, [0, 1]])
def test_action_that_is_no_whole_number_is_refused(action):
    env = NASEnv(SPACE, Counting())
    env.reset(seed=0)
    with pytest.raises(UsageError, match="expected the index of a choice"):
        env.step(action)


def test_another_number_of_actions_is_refused():
    env = vector(Counting())
    env.reset(seed=0)
    with pytest.raises(UsageError, match="one action for each of 3 episodes, got 2"):
        env.step(np.array([0, 0]))


def vector(evaluator, num_envs=3, **options):
    return NASVectorEnv(SPACE, InlineExecutor(evaluator), num_envs, **options)


def test_vector_declares_next_step_autoreset_and_batched_spaces():
    env = vector(Counting())
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert env.action_space.shape == (3,)
    assert env.observation_space.shape == (3, SPACE.max_tokens)


def test_vector_step_equals_single_environments():
    rng = np.random.default_rng(5)
    env, singles = vector(Counting()), [NASEnv(SPACE, Counting()) for _ in range(3)]
    observations, info = env.reset(seed=0)
    single = [one.reset(seed=0)[0] for one in singles]
    ended = np.zeros(3, dtype=bool)
    for _ in range(60):
        assert observations.tolist() == [row.tolist() for row in single]
        actions = [
            0 if end else random_token(mask, rng)
            for end, mask in zip(ended, info["action_mask"], strict=True)
        ]
        observations, rewards, now_ended, _, info = env.step(np.array(actions))
        for i, one in enumerate(singles):
            if ended[i]:
                single[i], reward, end = one.reset()[0], 0.0, False
            else:
                single[i], reward, end, _, _ = one.step(actions[i])
            assert (rewards[i], now_ended[i]) == (reward, end)
        ended = now_ended


def test_next_action_after_the_end_is_ignored_and_begins_anew():
    env = vector(Counting(), num_envs=1)
    env.reset(seed=0)
    _, _, ended, _, _ = env.step(np.array([99]))
    assert ended.tolist() == [True]
    observations, rewards, ended, _, info = env.step(np.array([7]))
    assert observations.sum() == 0
    assert (rewards.tolist(), ended.tolist()) == ([0.0], [False])
    assert info["action_mask"].tolist() == [SPACE.mask(()).tolist()]


class Held(InlineExecutor):
    """Finishes nothing until it is released."""

    held = True

    def completed(self):
        return [] if self.held else super().completed()


def test_episode_that_waits_for_its_child_does_not_hold_up_the_others():
    executor = Held(Counting())
    env = NASVectorEnv(SPACE, executor, 2)
    env.reset(seed=0)
    for token in [*LAYERS, STOP]:
        env.send([token], [0])
        if token != STOP:
            assert env.recv()[4]["env_id"].tolist() == [0]
    env.send([0], [1])
    assert env.recv()[4]["env_id"].tolist() == [1]
    executor.held = False
    env.send([0], [1])
    env.recv()
    _, rewards, ended, _, info = env.recv()
    assert (info["env_id"].tolist(), ended.tolist(), rewards.tolist()) == ([0], [True], [0.4])
    assert info["result"][0].job.architecture.tokens == (*LAYERS, STOP)


def test_action_for_an_episode_under_way_is_refused():
    env = NASVectorEnv(SPACE, Held(Counting()), 1)
    env.reset(seed=0)
    for token in [*LAYERS, STOP]:
        env.send([token], [0])
        if token != STOP:
            env.recv()
    with pytest.raises(UsageError, match="under way"):
        env.send([0], [0])


def test_second_action_before_recv_is_refused_and_the_first_kept():
    env = vector(Counting(), num_envs=2, failure_reward=-1.0)
    with pytest.raises(UsageError, match="episode 0 waits for reset"):
        env.send([0], [0])
    env.reset(seed=0)
    env.send([99], [0])
    with pytest.raises(UsageError, match="episode 0 waits for reset"):
        env.send([0, 0], [1, 0])
    _, rewards, ended, _, info = env.recv()
    assert (info["env_id"].tolist(), rewards.tolist(), ended.tolist()) == ([0], [-1.0], [True])
    assert "token 99" in info["illegal"][0]


def test_two_actions_at_once_for_one_episode_are_refused():
    env = vector(Counting())
    env.reset(seed=0)
    with pytest.raises(UsageError, match="episode 1 got two actions at once"):
        env.send([0, 0], [1, 1])
    env.send([0], [1])


@pytest.mark.parametrize("known", [{}, {KEY: Metrics(val_accuracy=(0.7,))}], ids=["new", "known"])
def test_reset_drops_children_that_nobody_waits_for(known):
    evaluator = Counting()
    env = NASVectorEnv(SPACE, CachedExecutor(InlineExecutor(evaluator), known.get), 2)
    env.reset(seed=0)
    for token in [*LAYERS, STOP]:
        env.send([token], [0])
        if token != STOP:
            env.recv()
    env.reset(seed=0)
    env.send([99], [1])
    assert env.recv()[4]["env_id"].tolist() == [1]
    env.send([0], [0])
    env.recv()
    with pytest.raises(UsageError, match="nothing to wait for"):
        env.recv()
    assert evaluator.seen == []


def test_recv_without_send_is_refused():
    env = vector(Counting())
    env.reset(seed=0)
    with pytest.raises(UsageError, match="call send"):
        env.recv()


def test_unknown_episode_is_refused():
    env = vector(Counting())
    env.reset(seed=0)
    with pytest.raises(UsageError, match=r"unknown env_id 3: expected 0\.\.2"):
        env.send([0], [3])


def test_known_keys_are_answered_without_training():
    evaluator = Counting()
    known = {KEY: Metrics(val_accuracy=(0.7,))}
    executor = CachedExecutor(InlineExecutor(evaluator), known.get)
    env = NASVectorEnv(SPACE, executor, 1)
    env.reset(seed=0)
    for token in LAYERS:
        env.step(np.array([token]))
    _, rewards, _, _, info = env.step(np.array([STOP]))
    assert rewards.tolist() == [0.7]
    assert info["result"][0].repeated
    assert evaluator.seen == []


def test_jobs_of_the_caller_carry_seed_and_recipe():
    evaluator = Counting()

    def make_job(env_id, architecture, key):
        return Job(7, key, architecture, RecipeConfig(epochs=9), 123)

    env = vector(evaluator, num_envs=1, make_job=make_job)
    env.reset(seed=0)
    for token in [*LAYERS, STOP]:
        env.step(np.array([token]))
    assert evaluator.seen == [((*LAYERS, STOP), 9, 123)]


FOREIGN = {
    "environment": "import gymnasium, rlnas; gymnasium.make('rlnas/NAS-v0')",
    "library": "import rlnas; rlnas.Search()",
    "class": "import rlnas; rlnas.NASEnv",
    "command": "import sys; from rlnas.cli import main; sys.exit(main(['search']))",
}


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=way, marks=[] if way in ("class", "command") else pytest.mark.slow)
        for way, code in FOREIGN.items()
    ],
)
def test_foreign_envs_package_gives_one_sentence(code, tmp_path, root):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("class Maze: ...\n", "utf-8")
    path = os.pathsep.join([str(tmp_path), str(root)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert f"{tmp_path / 'envs' / '__init__.py'} is not that of rlnas; start from" in last
    if "main" in code:
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
