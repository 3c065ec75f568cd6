"""The Gymnasium environments of rlnas: networks written one token at a time."""

from envs.nas import NASEnv
from envs.vector import NASVectorEnv

BELONGS_TO = "rlnas"
"""Tells this package from a foreign one of the same name."""

__all__ = ["BELONGS_TO", "NASEnv", "NASVectorEnv"]
