"""Data sets: from a name, a path, arrays or a `tf.data.Dataset` to parts ready for training.

Each source is read into one `Raw` record; `prepare` then checks it, splits off what is
missing and gives the `Data` that all the rest works on.
"""

from rlnas.children.datasets.loading import load_data

__all__ = ["load_data"]
