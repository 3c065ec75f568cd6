"""Let MaskablePPO of sb3-contrib write networks in the environment, with a table behind it.

Run it with ``python examples/maskable_ppo.py``, after ``pip install "rlnas[examples]"``. The
table holds what each of 324 small networks reached on the digits, so that nothing is trained
and the best is known; `benchmarks/digits_table.py` made it.
"""

from pathlib import Path

import gymnasium
import numpy as np
from sb3_contrib import MaskablePPO

import rlnas  # registers rlnas/NAS-v0
from rlnas.evaluation import TableEvaluator, TableFormat, read_table

TABLE = Path(__file__).with_name("digits_table.csv")
COLUMNS = TableFormat(reward="val_accuracy", key="none")
STEPS, EPISODES, SEED = 2048, 20, 0


def mean_reward(env: gymnasium.Env, agent: MaskablePPO | None) -> float:
    """Return what networks earn on average; without an agent, uniform ones."""
    rng, rewards = np.random.default_rng(SEED), []
    for _ in range(EPISODES):
        observed, _ = env.reset()
        ended = False
        while not ended:
            mask = env.unwrapped.action_masks()
            if agent is None:
                token = rng.choice(np.flatnonzero(mask))
            else:
                token, _ = agent.predict(observed, action_masks=mask, deterministic=False)
            observed, reward, ended, _, _ = env.step(token)
        rewards.append(reward)
    return float(np.mean(rewards))


def main() -> None:
    """Train the agent and print what it has learned."""
    table = read_table(TABLE, COLUMNS)
    env = gymnasium.make("rlnas/NAS-v0", space=table.space, evaluator=TableEvaluator(table))
    agent = MaskablePPO("MlpPolicy", env, n_steps=256, learning_rate=3e-3, seed=SEED)
    print(f"rlnas {rlnas.__version__}, {table.space.size} networks, best {table.best_reward:.3f}")
    print(f"uniform networks earn {mean_reward(env, None):.3f}")
    agent.learn(STEPS)
    print(f"those of MaskablePPO earn {mean_reward(env, agent):.3f}")


if __name__ == "__main__":
    main()
