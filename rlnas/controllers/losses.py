"""The loss of a policy, as small pure functions on arrays of any Keras backend.

Letters: B trajectories, T steps, V entries of the vocabulary. A trailing ``_t`` marks
what has one value per step. Steps behind the end of a trajectory weigh 0.
"""

from typing import Any

from rlnas.children.backend import keras

Tensor = Any
"""An array of the Keras backend, or a NumPy array."""

_LONGEST_STEP = 2.0
"""Largest change of a log-probability that still teaches (chosen)."""

_MASKED = -1e9
"""Added to a masked logit: exp() of it is exactly 0 in float32, yet 0 times it is not NaN."""


def masked_log_softmax(logits_t: Tensor, mask_t: Tensor) -> Tensor:
    """Return log-probabilities of the softmax over what the mask allows.

    Args:
        logits_t: float32[B, T, V].
        mask_t: int8[B, T, V], 1 for allowed.

    Returns:
        float32[B, T, V]; about -1e9 where masked.

    Raises:
        ValueError: An argument has the wrong rank.
    """
    _check_rank(3, logits_t=logits_t, mask_t=mask_t)
    forbidden_t = 1.0 - keras.ops.cast(mask_t, logits_t.dtype)
    return keras.ops.log_softmax(logits_t + _MASKED * forbidden_t, axis=-1)


def policy_gradient_loss(
    log_p_t: Tensor, action_t: Tensor, advantage: Tensor, weight_t: Tensor
) -> Tensor:
    """Return the loss whose gradient is that of REINFORCE with a baseline.

    Williams 1992, as written by Zoph & Le 2016, section 3.2: the mean over the batch of
    ``-sum_t log pi(a_t) * (R - b)``. No gradient flows through the advantage.

    Args:
        log_p_t: float32[B, T, V], log-probabilities.
        action_t: int32[B, T], the entry that was chosen.
        advantage: float32[B], reward less baseline.
        weight_t: float32[B, T], 1 for a step of the trajectory, 0 behind its end.

    Raises:
        ValueError: An argument has the wrong rank.
    """
    _check_rank(3, log_p_t=log_p_t)
    _check_rank(2, action_t=action_t, weight_t=weight_t)
    _check_rank(1, advantage=advantage)
    advantage = keras.ops.stop_gradient(advantage)
    log_p_action_t = log_prob_of(log_p_t, action_t)
    log_p_trajectory = keras.ops.sum(weight_t * log_p_action_t, axis=-1)
    return -keras.ops.mean(advantage * log_p_trajectory)


def clipped_policy_gradient_loss(
    log_p_t: Tensor,
    action_t: Tensor,
    log_p_old_t: Tensor,
    advantage: Tensor,
    weight_t: Tensor,
    *,
    clip: float,
) -> Tensor:
    """Return the clipped surrogate loss of PPO (Schulman et al. 2017, equation 7).

    The mean over the batch of ``-sum_t min(r_t A, clip(r_t, 1 - c, 1 + c) A)``, r_t the
    ratio of the new to the old probability of what was chosen. The ratio itself is held
    between e^-2 and e^2, so that a bad choice that grew far more likely weighs no more than
    e^2 (as the dual clip of Ye et al. 2020, equation 3, does) and nothing overflows. No gradient
    flows through the advantage or the old probabilities.

    Args:
        log_p_t: float32[B, T, V], log-probabilities.
        action_t: int32[B, T], the entry that was chosen.
        log_p_old_t: float32[B, T], log-probability it had when it was chosen.
        advantage: float32[B].
        weight_t: float32[B, T], 1 for a step of the trajectory, 0 behind its end.
        clip: c, how far the ratio may go from 1.

    Raises:
        ValueError: An argument has the wrong rank.
    """
    _check_rank(3, log_p_t=log_p_t)
    _check_rank(2, action_t=action_t, log_p_old_t=log_p_old_t, weight_t=weight_t)
    _check_rank(1, advantage=advantage)
    advantage_t = keras.ops.stop_gradient(advantage)[:, None]
    step_t = log_prob_of(log_p_t, action_t) - keras.ops.stop_gradient(log_p_old_t)
    ratio_t = keras.ops.exp(keras.ops.clip(step_t, -_LONGEST_STEP, _LONGEST_STEP))
    near_t = keras.ops.clip(ratio_t, 1.0 - clip, 1.0 + clip)
    gain_t = keras.ops.minimum(ratio_t * advantage_t, near_t * advantage_t)
    return -keras.ops.mean(keras.ops.sum(weight_t * gain_t, axis=-1))


def log_prob_of(log_p_t: Tensor, action_t: Tensor) -> Tensor:
    """Return the log-probability of what was chosen, float32[B, T]."""
    chosen_t = keras.ops.one_hot(action_t, log_p_t.shape[-1], dtype=log_p_t.dtype)
    return keras.ops.sum(chosen_t * log_p_t, axis=-1)


def policy_entropy(log_p_t: Tensor) -> Tensor:
    """Return the entropy of each step's distribution, float32[B, T], in nats.

    Args:
        log_p_t: float32[B, T, V], log-probabilities, finite also where masked.

    Raises:
        ValueError: The argument has the wrong rank.
    """
    _check_rank(3, log_p_t=log_p_t)
    return -keras.ops.sum(keras.ops.exp(log_p_t) * log_p_t, axis=-1)


def entropy_bonus(entropy_t: Tensor, weight_t: Tensor) -> Tensor:
    """Return the entropy along a trajectory, mean over the batch, in nats.

    Summed over the steps like the policy gradient (Williams & Peng 1991 add it to
    each step's reward), so that a bonus weighs as much in long trajectories as in short.

    Args:
        entropy_t: float32[B, T].
        weight_t: float32[B, T], 1 for a step of the trajectory, 0 behind its end.

    Raises:
        ValueError: An argument has the wrong rank.
    """
    _check_rank(2, entropy_t=entropy_t, weight_t=weight_t)
    return keras.ops.mean(keras.ops.sum(weight_t * entropy_t, axis=-1))


def _check_rank(rank: int, **arrays: Tensor) -> None:
    for name, array in arrays.items():
        if len(array.shape) != rank:
            raise ValueError(f"{name} must have rank {rank}, got shape {tuple(array.shape)}")
