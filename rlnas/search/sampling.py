"""What the trained controller of a run would build now."""

from typing import Any

import numpy as np

from rlnas.controllers import Controller, has_policy, make_controller, propose
from rlnas.errors import RunError
from rlnas.search.folder import RunFolder
from rlnas.spaces import Space, observation, space_from_json


def sample_run(folder: RunFolder, number: int, seed: int) -> list[dict[str, Any]]:
    """Draw architectures from the policy of a run, without changing it.

    Of a controller without a policy, such as evolution, its next proposals are told; they do
    not depend on the seed.

    Args:
        folder: The run's folder.
        number: How many to draw.
        seed: Seed of the draw.

    Returns:
        For each: ``tokens``, ``layers``, ``log_prob`` (natural logarithm; None without a
        policy), ``params``, ``flops``, and the ``reward`` if it was a trial.

    Raises:
        RunError: There is no such run, or its controller has no state yet.
    """
    journal = folder.open()
    try:
        meta, state = journal.meta(), journal.state()
        rewards = {trial.key: trial.reward for trial in journal.trials()}
    finally:
        journal.close()
    if state is None:
        line = folder.resume_line(python=bool(meta["own"]))
        raise RunError(f"{folder.name} has no trial yet; go on with: {line}")
    space = space_from_json(meta["space"])
    config = folder.read_config().controller
    controller = make_controller(space, config, meta["config"]["seed"])
    controller.load(state["controller"])
    if not has_policy(config):
        return [_row(space, propose(controller, space)[0], None, rewards) for _ in range(number)]
    rng = np.random.default_rng(seed)
    return [_row(space, *_draw(space, controller, rng), rewards) for _ in range(number)]


def _draw(
    space: Space, controller: Controller, rng: np.random.Generator
) -> tuple[tuple[int, ...], float]:
    tokens: list[int] = []
    log_prob = 0.0
    while space.decision(tokens) is not None:
        observed = observation(tokens, space.max_tokens)[None]
        policy = controller.probabilities(observed, space.mask(tokens)[None])[0]
        token = int(rng.choice(len(policy), p=policy / policy.sum()))
        log_prob += float(np.log(policy[token]))
        tokens.append(token)
    return tuple(tokens), log_prob


def _row(
    space: Space, tokens: tuple[int, ...], log_prob: float | None, rewards: dict[str, float | None]
) -> dict[str, Any]:
    architecture = space.architecture(tokens)
    cost = architecture.cost
    return {
        "tokens": list(tokens),
        "layers": architecture.describe(),
        "log_prob": log_prob,
        "params": cost.params,
        "flops": cost.flops,
        "reward": rewards.get(space.key(architecture)),
    }
