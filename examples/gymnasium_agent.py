"""Write networks with an agent of your own in the Gymnasium environment.

Run it with ``python examples/gymnasium_agent.py``. The agent is the smallest that learns: a
table with one number for each token at each position, raised when the reward was good.
"""

import gymnasium
import numpy as np

import rlnas  # registers rlnas/NAS-v0
from rlnas.config import RecipeConfig

EPISODES, EPOCHS, RATE, SEED = 2, 2, 2.0, 3  # tiny, so that it takes seconds: give it more


def main() -> None:
    """Let the agent write some networks, and print what each of them earned."""
    space = rlnas.ImageSpace((8, 8, 1), classes=10, max_layers=4)
    env = gymnasium.make("rlnas/NAS-v0", space=space, recipe=RecipeConfig(epochs=EPOCHS))
    table = np.zeros((space.max_tokens, env.action_space.n))
    rng, average = np.random.default_rng(SEED), None

    for episode in range(EPISODES):
        _, info = env.reset(seed=SEED)
        tokens: list[int] = []
        ended = False
        while not ended:
            weights = np.exp(table[len(tokens)]) * info["action_mask"]  # forbidden tokens weigh 0
            tokens.append(int(rng.choice(len(weights), p=weights / weights.sum())))
            _, reward, ended, _, info = env.step(tokens[-1])
        average = reward if average is None else 0.9 * average + 0.1 * reward
        table[np.arange(len(tokens)), tokens] += RATE * (reward - average)
        print(f"network {episode + 1} earned {reward:.3f}: {info['key']}")


if __name__ == "__main__":
    main()
