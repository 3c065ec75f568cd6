"""The package ``envs`` of rlnas, or one sentence where a foreign one of that name hides it.

Many projects have an ``envs`` of their own, and the working folder comes first on the path.
"""

from importlib.util import find_spec

from rlnas.errors import UsageError

try:
    from envs import BELONGS_TO, NASEnv, NASVectorEnv
except Exception as error:  # a foreign package may raise whatever it likes
    spec = find_spec("envs")
    raise UsageError(
        f"the package envs at {spec.origin if spec else '?'} is not that of rlnas; "
        "start from another folder, or put rlnas before it on the path"
    ) from error

__all__ = ["BELONGS_TO", "NASEnv", "NASVectorEnv"]
