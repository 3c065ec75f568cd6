"""What a journal holds about a run as a whole, where a test does not care."""

META = {
    "status": "searching",
    "space": {},
    "space_fingerprint": "",
    "data": {"name": "none", "test": 0, "fingerprint": ""},
    "own": [],
    "threads": 1,
    "evaluator": "training",
    "baseline": None,
    "versions": {},
    "best_trial": None,
}
