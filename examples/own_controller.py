"""A controller of your own: what the protocol asks for, checked, and against random on a table.

Run it with ``python examples/own_controller.py``. It remembers what each choice earned on
average, whatever stood around it, and draws by that. On your own data the same class goes with
``rlnas search --controller own_controller:Averages`` in this folder.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlnas.config import ControllerConfig
from rlnas.controllers import Action, Trajectory, make_controller, propose
from rlnas.errors import RunError
from rlnas.evaluation import TableFormat, read_table
from rlnas.spaces import Space, max_choices, prefix_of
from rlnas.testing import check_controller

TABLE = Path(__file__).with_name("digits_table.csv")
COLUMNS = TableFormat(reward="val_accuracy", key="none")
TRIALS, SHARPNESS = 150, 20.0


class Averages:
    """Draws each token with weight ``exp(SHARPNESS * mean reward of what had it)``."""

    def __init__(self, space: Space, seed: int) -> None:
        """Rlnas makes it so: by the grammar, and the seed of all its randomness."""
        self.space = space
        self.rng = np.random.default_rng(seed)
        shape = len(space.decisions), max_choices(space)
        self.earned, self.seen = np.zeros(shape), np.zeros(shape)

    def probabilities(self, observation: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the policy, a row for each episode; it draws nothing."""
        rows = np.zeros(mask.shape)
        for row, observed in enumerate(observation):
            decision = self.space.decision(prefix_of(observed))
            if decision is not None:
                place = self.space.decisions.index(decision)
                usual = self.earned.sum() / max(self.seen.sum(), 1)  # what is new counts as usual
                mean = (self.earned[place] + usual) / (self.seen[place] + 1)
                weights = np.exp(SHARPNESS * mean) * mask[row]  # what is masked weighs 0
                rows[row] = weights / weights.sum()
        return rows

    def act(self, observation: np.ndarray, mask: np.ndarray) -> Action:
        """Choose the next token of each episode; of an ended one, which has no choice, 0."""
        policy = self.probabilities(observation, mask)
        tokens = np.zeros(len(policy), dtype=np.int64)
        for row in np.flatnonzero(policy.any(axis=1)):
            tokens[row] = self.rng.choice(policy.shape[1], p=policy[row])
        chosen = policy[np.arange(len(policy)), tokens]
        return Action(tokens, np.log(np.where(chosen > 0, chosen, 1.0)))

    def learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Learn from results, in any order; a failed child has no reward."""
        for each in trajectories:
            for position, token in enumerate(each.tokens):
                decision = self.space.decision(each.tokens[:position])
                place = self.space.decisions.index(decision)
                self.earned[place, token] += each.reward or 0.0
                self.seen[place, token] += 1
        return {"controller/results": float(self.seen[0].sum())}

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on, as copies."""
        return {
            "rng": self.rng.bit_generator.state,
            "earned": self.earned.copy(),
            "seen": self.seen.copy(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state, or say that it is not one of ours."""
        if "earned" not in state:
            raise RunError("expected a state of Averages; pass the state of the same run")
        self.rng.bit_generator.state = state["rng"]
        self.earned, self.seen = state["earned"].copy(), state["seen"].copy()


def main() -> None:
    """Check the contract, then play against random."""
    table = read_table(TABLE, COLUMNS)
    check_controller(lambda seed: Averages(table.space, seed), table.space)
    print("the contract holds")
    rivals = {
        "Averages": Averages(table.space, 0),
        "random": make_controller(table.space, ControllerConfig(name="random"), 0),
    }
    for name, controller in rivals.items():
        rewards = []
        for _ in range(TRIALS):
            tokens, log_probs = propose(controller, table.space)
            reward = table.rows[table.space.key(table.space.architecture(tokens))].reward
            controller.learn([Trajectory(tokens, log_probs, reward)])
            rewards.append(reward)
        print(f"{name}: the last 50 of {TRIALS} earned {np.mean(rewards[-50:]):.3f}")


if __name__ == "__main__":
    main()
