"""The search: loop, run folder, journal, monitor, retraining, export."""
