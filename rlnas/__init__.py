"""rlnas finds a Keras architecture for your data by reinforcement learning.

The names below are loaded when they are first used, so that ``import rlnas`` is quick
and loads neither Keras nor TensorFlow. It registers the Gymnasium environment
``rlnas/NAS-v0``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium

from rlnas._version import __version__

if TYPE_CHECKING:
    from envs import NASEnv, NASVectorEnv
    from rlnas.children.data import Data
    from rlnas.children.datasets import load_data
    from rlnas.children.decoder import decode
    from rlnas.client import Client
    from rlnas.config import SearchConfig
    from rlnas.errors import RlnasError
    from rlnas.objectives import Failure, Metrics, Objective
    from rlnas.search.external import ExternalSearch
    from rlnas.search.progress import Lines
    from rlnas.search.result import SearchResult
    from rlnas.search.run import Search
    from rlnas.spaces import Architecture, ImageSpace

_HOME = {
    "Architecture": "rlnas.spaces",
    "Client": "rlnas.client",
    "Data": "rlnas.children.data",
    "ExternalSearch": "rlnas.search.external",
    "Failure": "rlnas.objectives",
    "ImageSpace": "rlnas.spaces",
    "Lines": "rlnas.search.progress",
    "Metrics": "rlnas.objectives",
    "NASEnv": "rlnas.search.own_envs",
    "NASVectorEnv": "rlnas.search.own_envs",
    "Objective": "rlnas.objectives",
    "RlnasError": "rlnas.errors",
    "Search": "rlnas.search.run",
    "SearchConfig": "rlnas.config",
    "SearchResult": "rlnas.search.result",
    "decode": "rlnas.children.decoder",
    "load_data": "rlnas.children.datasets",
}

__all__ = [
    "Architecture",
    "Client",
    "Data",
    "ExternalSearch",
    "Failure",
    "ImageSpace",
    "Lines",
    "Metrics",
    "NASEnv",
    "NASVectorEnv",
    "Objective",
    "RlnasError",
    "Search",
    "SearchConfig",
    "SearchResult",
    "__version__",
    "decode",
    "load_data",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rlnas' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _make_env(**options: Any) -> Any:
    from rlnas.search.own_envs import NASEnv

    return NASEnv(**options)


gymnasium.register("rlnas/NAS-v0", entry_point=_make_env)
