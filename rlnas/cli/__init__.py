"""The command line: ``rlnas search | resume | list | show | sample | retrain | export``."""

from rlnas.cli.app import main

__all__ = ["main"]
