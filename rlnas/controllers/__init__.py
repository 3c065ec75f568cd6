"""Who proposes architectures and learns from what they earned."""

from rlnas.controllers.base import Action, Controller, State, Trajectory
from rlnas.controllers.factory import (
    check_controller_class,
    has_network,
    has_policy,
    make_controller,
    plans_by_budget,
)
from rlnas.controllers.guest import OWN_FIGURES
from rlnas.controllers.history import Scored
from rlnas.controllers.proposing import propose
from rlnas.controllers.variation import uniform

__all__ = [
    "OWN_FIGURES",
    "Action",
    "Controller",
    "Scored",
    "State",
    "Trajectory",
    "check_controller_class",
    "has_network",
    "has_policy",
    "make_controller",
    "plans_by_budget",
    "propose",
    "uniform",
]
