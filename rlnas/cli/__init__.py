"""The command line: what ``rlnas`` and its commands do."""

from rlnas.cli.app import main

__all__ = ["main"]
