"""The process of one search of the service: ``python -m rlnas.service.runner ROOT NAME``.

It begins the run or goes on with it, and leaves behind how it ended. It needs no server: that
may end and begin again meanwhile.
"""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rlnas.config import make_config
from rlnas.errors import InterruptedRunError, RlnasError, first_line
from rlnas.search.folder import RunFolder
from rlnas.search.progress import Lines
from rlnas.service.job_folder import JobFolder
from rlnas.service.jobs import Jobs

BUSY = 75
"""Exit code where another runner has the search (EX_TEMPFAIL of sysexits.h)."""

BROKEN = 70
"""Exit code of an error that is a mistake of rlnas (EX_SOFTWARE)."""


def main(arguments: Sequence[str]) -> int:
    """Run a search until it ends or is stopped; return the exit code.

    Args:
        arguments: The folder of all runs, and the name of the search.
    """
    root, name = Path(arguments[0]), arguments[1]
    folder = JobFolder(root, name)
    with folder.running() as mine:
        if not mine:
            return BUSY
        code, message = _searched(root, name)
        folder.write_outcome(code, message)
        print(message, flush=True)
        return code


def _searched(root: Path, name: str) -> tuple[int, str]:
    try:
        with closing(Jobs(root)) as jobs:
            entry = jobs.entry(name)
        from rlnas.search.resuming import resume_run, start_run

        run, progress = RunFolder(root, name), Lines(sys.stdout)
        if run.journal.is_file():
            budget = entry.config.get("budget", {})
            given: dict[tuple[str, ...], Any] = {
                ("budget", field): value for field, value in budget.items() if value
            }
            resume_run(run, given, progress)
        else:
            start_run(make_config(entry.config), root, progress, reserved=True)
    except RlnasError as error:
        return error.exit_code, str(error)
    except KeyboardInterrupt:
        return InterruptedRunError.exit_code, "stopped before anything was begun"
    except Exception as error:  # the log has the traceback, the user one sentence
        sys.excepthook(type(error), error, error.__traceback__)
        return BROKEN, f"{type(error).__name__}: {first_line(error)}; the log has more"
    return 0, "ended"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
