"""A whole agent in one file: REINFORCE with a baseline, on a table of trained networks.

Run it with ``python examples/table_agent.py``. The policy is a table of logits per position,
NumPy alone; the environment is `rlnas/NAS-v0`, and behind it stands a table instead of
training, so that the agent sees a thousand networks in a second and the best is known.
"""

from pathlib import Path

import gymnasium
import numpy as np

import rlnas  # noqa: F401 - registers rlnas/NAS-v0
from rlnas.evaluation import TableEvaluator, TableFormat, read_table

TABLE = Path(__file__).with_name("digits_table.csv")
COLUMNS = TableFormat(reward="val_accuracy", key="none")
EPISODES, RATE, DECAY, SEED = 1000, 1.0, 0.95, 0


def main() -> None:
    """Let the agent write networks, and print how it gets better."""
    table = read_table(TABLE, COLUMNS)
    env = gymnasium.make("rlnas/NAS-v0", space=table.space, evaluator=TableEvaluator(table))
    logits = np.zeros((table.space.max_tokens, env.action_space.n))
    rng, baseline, rewards = np.random.default_rng(SEED), None, []

    for episode in range(1, EPISODES + 1):
        _, info = env.reset(seed=SEED)
        gradient, position, ended = np.zeros_like(logits), 0, False
        while not ended:
            weights = np.exp(logits[position]) * info["action_mask"]  # forbidden tokens weigh 0
            policy = weights / weights.sum()
            token = int(rng.choice(len(policy), p=policy))
            gradient[position] = np.eye(len(policy))[token] - policy  # of the log-probability
            _, reward, ended, _, info = env.step(token)
            position += 1
        baseline = reward if baseline is None else DECAY * baseline + (1 - DECAY) * reward
        logits += RATE * (reward - baseline) * gradient
        rewards.append(reward)
        if episode % 250 == 0:
            print(f"networks {episode - 249} to {episode} earned {np.mean(rewards[-250:]):.3f}")
    print(f"best found {max(rewards):.3f}, best in the table {table.best_reward:.3f}")


if __name__ == "__main__":
    main()
