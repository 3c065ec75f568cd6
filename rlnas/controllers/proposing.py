"""A whole architecture from a controller, outside of any environment."""

from rlnas.controllers.base import Controller
from rlnas.spaces import Space, observation


def propose(controller: Controller, space: Space) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Let a controller write an architecture; return its tokens and their log-probabilities."""
    tokens: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    while space.decision(tokens) is not None:
        observed = observation(tokens, space.max_tokens)[None]
        action = controller.act(observed, space.mask(tokens)[None])
        tokens = (*tokens, int(action.tokens[0]))
        log_probs = (*log_probs, float(action.log_probs[0]))
    return tokens, log_probs
