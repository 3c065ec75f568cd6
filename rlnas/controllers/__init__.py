"""Who proposes architectures and learns from what they earned."""

from rlnas.controllers.base import Action, Controller, State, Trajectory
from rlnas.controllers.factory import make_controller

__all__ = ["Action", "Controller", "State", "Trajectory", "make_controller"]
