"""The contract checks must catch what they are there for: each with a part that is broken."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import binomtest

from rlnas.controllers import Action
from rlnas.controllers.uniform import RandomController
from rlnas.cost import Dense
from rlnas.errors import SpaceError
from rlnas.spaces import Architecture, Decision, ImageSpace, check_tokens
from rlnas.testing import (
    KnownRewards,
    better_ends,
    check_controller,
    check_space,
    ending,
    small_space,
)

COLOUR = Decision("colour", (8, 16, 32))
MORE = Decision("more", (False, True))


@dataclass(frozen=True)
class TinySpace:
    """One to three dense layers: units, then whether another one follows."""

    name: str = "tiny"
    decisions: tuple = (COLOUR, MORE)
    max_tokens: int = 6

    def decision(self, prefix):
        if len(prefix) == 6 or (prefix and len(prefix) % 2 == 0 and prefix[-1] == 0):
            return None
        return self.decisions[len(prefix) % 2]

    def mask(self, prefix):
        if self.decision(prefix) is None:
            return np.zeros(3, dtype=np.int8)
        allowed = (1, 1, 1) if len(prefix) % 2 == 0 else (1, len(prefix) < 5, 0)
        return np.array(allowed, dtype=np.int8)

    def architecture(self, tokens):
        check_tokens(self, tokens)
        layers = tuple(Dense(COLOUR.choices[token], "relu") for token in tokens[::2])
        return Architecture(tuple(int(token) for token in tokens), layers, (4,), 2)

    def key(self, architecture):
        return architecture.describe()

    def reference(self):
        return self.architecture((1, 0))

    def to_json(self):
        return {"type": self.name}


def check_tiny(space):
    check_space(space, np.random.default_rng(0), walks=30, read=lambda record: type(space)())


def test_a_good_space_passes():
    check_tiny(TinySpace())


class WideMask(TinySpace):
    def mask(self, prefix):
        return np.append(super().mask(prefix), np.int8(0))


class FloatMask(TinySpace):
    def mask(self, prefix):
        return super().mask(prefix).astype(np.float32)


class TwosMask(TinySpace):
    def mask(self, prefix):
        return super().mask(prefix) * np.int8(2)


class DeadEnd(TinySpace):
    def mask(self, prefix):
        return np.zeros(3, dtype=np.int8) if tuple(prefix[:1]) == (2,) else super().mask(prefix)


class MaskBeyondChoices(TinySpace):
    def mask(self, prefix):
        return np.ones(3, dtype=np.int8) if len(prefix) == 1 else super().mask(prefix)


class MaskBehindTheEnd(TinySpace):
    def mask(self, prefix):
        return np.maximum(super().mask(prefix), np.array([1, 0, 0], dtype=np.int8))


class SharedMask(TinySpace):
    shared = TinySpace().mask(())

    def mask(self, prefix):
        return super().mask(prefix) if prefix else self.shared


class TooLong(TinySpace):
    def __init__(self):
        super().__init__(max_tokens=4)


class StrangeDecision(TinySpace):
    def decision(self, prefix):
        decision = super().decision(prefix)
        return Decision("other", (0, 1, 2)) if len(prefix) == 2 and decision else decision


class NameTwice(TinySpace):
    def __init__(self):
        super().__init__(decisions=(COLOUR, replace(MORE, name="colour")))


class NoChoices(TinySpace):
    def __init__(self):
        super().__init__(decisions=(COLOUR, MORE, Decision("nothing", ())))


class KeyThatCounts(TinySpace):
    calls = 0

    def key(self, architecture):
        KeyThatCounts.calls += 1
        return str(KeyThatCounts.calls)


class KeyOfBytes(TinySpace):
    def key(self, architecture):
        return super().key(architecture).encode()


class ForgetfulJson(TinySpace):
    def to_json(self):
        return {"type": self.name, "id": id(self)}


class OtherTokens(TinySpace):
    def architecture(self, tokens):
        return replace(super().architecture(tokens), tokens=(0, 0))


class NumpyTokens(TinySpace):
    def architecture(self, tokens):
        return replace(super().architecture(tokens), tokens=tuple(np.array(tokens)))


class NumpyLayers(TinySpace):
    def architecture(self, tokens):
        return replace(super().architecture(tokens), layers=(Dense(np.int64(8), "relu"),))


class TakesAnything(TinySpace):
    def architecture(self, tokens):
        return Architecture(tuple(int(token) for token in tokens), (), (4,), 2)


class UnfinishedReference(TinySpace):
    def reference(self):
        return replace(super().reference(), tokens=(1,))


class LongReference(TinySpace):
    def reference(self):
        return replace(super().reference(), tokens=(1, 0, 1))


class ForeignReference(TinySpace):
    def reference(self):
        return replace(super().reference(), tokens=(7, 0))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (WideMask, "shape"),
        (FloatMask, "type"),
        (TwosMask, "zeros and ones"),
        (DeadEnd, "dead end"),
        (MaskBeyondChoices, "choices of more"),
        (MaskBehindTheEnd, "finished: expected zeros"),
        (SharedMask, "asked again"),
        (TooLong, "max_tokens"),
        (StrangeDecision, "one of the space's decisions"),
        (NameTwice, "each name once"),
        (NoChoices, "nothing: expected a choice"),
        (KeyThatCounts, "read again"),
        (KeyOfBytes, "expected str, got bytes"),
        (ForgetfulJson, "round trip"),
        (OtherTokens, "tokens of architecture"),
        (NumpyTokens, "Python ints"),
        (TakesAnything, "expected SpaceError"),
        (UnfinishedReference, "reference: expected a finished"),
        (LongReference, "reference: expected it to end"),
        (ForeignReference, "reference: expected token 0"),
    ],
)
def test_a_broken_space_is_caught(broken, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_tiny(broken())


def test_a_network_that_is_not_json_is_caught():
    with pytest.raises(TypeError, match="not JSON serializable"):
        check_tiny(NumpyLayers())


def test_a_twin_that_differs_behind_json_is_caught():
    with pytest.raises(AssertionError, match=r"key of .* behind JSON"):
        check_space(TinySpace(), np.random.default_rng(0), read=lambda record: OtherKey())


class OtherKey(TinySpace):
    def key(self, architecture):
        return "other"


class CappedReference(TinySpace):
    """Its reference begins with a masked token, behind which it answers no more."""

    def mask(self, prefix):
        return super().mask(prefix) if prefix else np.array([1, 0, 1], dtype=np.int8)

    def decision(self, prefix):
        if tuple(prefix[:1]) == (1,):
            raise SpaceError("masked")
        return super().decision(prefix)

    def reference(self):
        return Architecture((1, 0), (Dense(16, "relu"),), (4,), 2)


def test_a_reference_beyond_the_caps_is_allowed():
    check_tiny(CappedReference())


SPACE = TinySpace()


def check_tiny_controller(kind):
    check_controller(lambda seed: kind(SPACE, seed), SPACE)


def test_a_good_controller_passes():
    check_tiny_controller(RandomController)


class Unmasked(RandomController):
    def act(self, observation, mask):
        action = super().act(observation, np.ones_like(mask))
        return Action(action.tokens, np.log(self.probabilities(observation, mask).max(axis=1)))


class WrongLogProbs(RandomController):
    def act(self, observation, mask):
        action = super().act(observation, mask)
        return Action(action.tokens, action.log_probs - 0.1)


class IntTokens(RandomController):
    def act(self, observation, mask):
        action = super().act(observation, mask)
        return Action(action.tokens.astype(np.int32), action.log_probs)


class ScribblesOnTheMask(RandomController):
    def act(self, observation, mask):
        action = super().act(observation, mask)
        mask[:] = 0
        return action


class LeakyProbabilities(RandomController):
    def probabilities(self, observation, mask):
        return np.where(mask == 1, super().probabilities(observation, mask), 1e-9)


class HalfProbabilities(RandomController):
    def probabilities(self, observation, mask):
        return super().probabilities(observation, mask) / 2


class ProbabilitiesThatDraw(RandomController):
    def probabilities(self, observation, mask):
        self._rng.random()
        return super().probabilities(observation, mask)

    def act(self, observation, mask):
        before = self._rng.bit_generator.state
        probabilities = self.probabilities(observation, mask)
        self._rng.bit_generator.state = before
        tokens = np.array([self._rng.choice(3, p=row) for row in probabilities])
        return Action(tokens, np.log(probabilities[np.arange(len(tokens)), tokens]))


class LooksAtItsNeighbours(RandomController):
    def probabilities(self, observation, mask):
        if len(mask) > 1:
            return super().probabilities(observation, mask)
        first = np.zeros((1, 3))
        first[0, np.argmax(mask[0])] = 1.0
        return first


class GlobalRandomness(RandomController):
    def __init__(self, space, seed):
        super().__init__(space, None)


class NeedsRewards(RandomController):
    def learn(self, trajectories):
        return {"controller/baseline": float(sum(one.reward for one in trajectories))}


class NumpyFigures(RandomController):
    def learn(self, trajectories):
        return {"controller/baseline": np.float32(0)}


class NanFigures(RandomController):
    def learn(self, trajectories):
        return {"controller/baseline": float("nan")}


class ForgetsItsGenerator(RandomController):
    def load(self, state):
        super().load({**state, "generator": self._rng.bit_generator.state})


class ForgetsWhatItLearned(RandomController):
    """Counts trajectories, reports the count, and leaves it out of its state."""

    learned = 0

    def learn(self, trajectories):
        self.learned += len(trajectories)
        return {"controller/baseline": float(self.learned)}


class SharesItsState(RandomController):
    def __init__(self, space, seed):
        super().__init__(space, seed)
        self.counts = np.zeros(3)

    def act(self, observation, mask):
        action = super().act(observation, mask)
        self.counts[action.tokens] += 1
        return action

    def state(self):
        return {**super().state(), "counts": self.counts}

    def load(self, state):
        super().load(state)
        self.counts = state["counts"].copy()


class KeepsWhatItLoads(SharesItsState):
    def state(self):
        return {**super().state(), "counts": self.counts.copy()}

    def load(self, state):
        RandomController.load(self, state)
        self.counts = state["counts"]


class HugeState(RandomController):
    def state(self):
        return {**super().state(), "history": np.zeros(200_000)}


class StateOfObjects(RandomController):
    def state(self):
        return {**super().state(), "rng": self._rng}


class LoadsByName(RandomController):
    def load(self, state):
        super().load({"origin": state["origin"], "generator": state["generator"]})


class LoadsAnything(RandomController):
    def load(self, state):
        if "generator" in state:
            super().load(state)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (Unmasked, "tokens that the mask allows"),
        (WrongLogProbs, "log_probs"),
        (IntTokens, "type of tokens"),
        (ScribblesOnTheMask, "what was given to act"),
        (LeakyProbabilities, "0 where masked"),
        (HalfProbabilities, "sum to 1"),
        (ProbabilitiesThatDraw, "same seed"),
        (LooksAtItsNeighbours, "its prefix alone"),
        (GlobalRandomness, "same seed"),
        (NumpyFigures, "Python floats"),
        (NanFigures, "finite"),
        (ForgetsItsGenerator, r"state\(\) after load"),
        (ForgetsWhatItLearned, r"after load\(\)"),
        (SharesItsState, "a state after its controller went on"),
        (KeepsWhatItLoads, "a state after it was loaded"),
        (HugeState, "bytes"),
        (StateOfObjects, "got Generator"),
        (LoadsAnything, "foreign state"),
        (LoadsByName, "foreign state: expected RunError, got KeyError: 'generator'"),
    ],
)
def test_a_broken_controller_is_caught(broken, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_tiny_controller(broken)


def test_a_controller_that_chokes_on_failed_children_is_caught():
    with pytest.raises(TypeError):
        check_tiny_controller(NeedsRewards)


def test_known_rewards_are_equal_for_equal_networks():
    space = small_space()
    rewards = KnownRewards(space, seed=3)
    rng = np.random.default_rng(0)
    by_key = {}
    for _ in range(300):
        tokens = []
        while space.decision(tokens) is not None:
            tokens.append(int(rng.choice(np.flatnonzero(space.mask(tokens)))))
        architecture = space.architecture(tokens)
        reward = rewards(architecture)
        assert by_key.setdefault(space.key(architecture), reward) == reward
        assert 0 < reward < 1
    assert len(by_key) < 300
    assert np.std(list(by_key.values())) > 0.05


class AlwaysTheFirst(RandomController):
    def act(self, observation, mask):
        tokens = np.argmax(mask, axis=1)
        return Action(tokens, np.zeros(len(tokens)))


def test_a_search_that_only_repeats_itself_is_caught():
    space = small_space()
    with pytest.raises(AssertionError, match="expected 3 different architectures, got 1"):
        ending(AlwaysTheFirst(space, 0), space, KnownRewards(space, 0), trials=3)


def test_ending_is_that_of_the_last_twenty_new_ones():
    space = ImageSpace((28, 28, 1), 10, max_layers=2, choices=small_space().choices)
    rewards = KnownRewards(space, 0)
    seen = []

    def remembered(architecture):
        seen.append((space.key(architecture), rewards(architecture)))
        return seen[-1][1]

    end = ending(RandomController(space, 0), space, remembered, trials=40)
    new = list(dict(seen).values())
    assert len(new) == 40
    assert end.repeats == len(seen) - 40 > 0
    assert (end.last, end.best) == (pytest.approx(sum(new[-20:]) / 20), max(new))


def test_sign_test_agrees_with_scipy():
    ours = [3.0] * 14 + [1.0] * 4 + [2.0] * 2
    wins, p = better_ends(ours, [2.0] * 20)
    assert wins == 14
    assert p == pytest.approx(binomtest(14, 18, 0.5, alternative="greater").pvalue)
