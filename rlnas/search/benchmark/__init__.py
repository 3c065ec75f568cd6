"""Controllers against each other on tables of trained networks."""

from rlnas.search.benchmark.benchmark import Benchmark
from rlnas.search.benchmark.contestant import Contestant, read_contestants
from rlnas.search.benchmark.play import Played, play
from rlnas.search.benchmark.standings import standings

__all__ = ["Benchmark", "Contestant", "Played", "play", "read_contestants", "standings"]
