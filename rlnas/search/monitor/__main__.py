"""Prints ``docs/tensorboard.md``: ``python -m rlnas.search.monitor > docs/tensorboard.md``."""

from rlnas.search.monitor.tags import page

print(page(), end="")
