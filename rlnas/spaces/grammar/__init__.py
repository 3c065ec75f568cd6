"""Spaces that a user writes: decisions, choices, conditions and the layers they become."""

from rlnas.spaces.grammar.check import Extent, check_grammar
from rlnas.spaces.grammar.reading import place_in_text, read_grammar
from rlnas.spaces.grammar.rules import Grammar, GrammarError
from rlnas.spaces.grammar.space import GrammarSpace

__all__ = [
    "Extent",
    "Grammar",
    "GrammarError",
    "GrammarSpace",
    "check_grammar",
    "place_in_text",
    "read_grammar",
]
