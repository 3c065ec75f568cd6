"""TensorBoard of a run: every tag declared once, event files written without TensorFlow."""

from rlnas.search.monitor.control import write_control
from rlnas.search.monitor.monitor import Monitor
from rlnas.search.monitor.policy import policy_table
from rlnas.search.monitor.records import FinalRecord, TrialRecord

__all__ = ["FinalRecord", "Monitor", "TrialRecord", "policy_table", "write_control"]
