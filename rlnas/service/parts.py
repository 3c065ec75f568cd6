"""All that a server is made of, put together once."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request

from rlnas.service.access import Access
from rlnas.service.admission import Admission
from rlnas.service.catalogue import Catalogue
from rlnas.service.desk import Desk
from rlnas.service.jobs import Jobs
from rlnas.service.supervisor import EXTERNAL_AT_ONCE, Supervisor
from rlnas.service.tensorboard import TensorBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server is started.

    Attributes:
        root: Folder of all runs.
        data: Folder of the files that clients may name; None for none.
        python: Whether clients may name Python objects.
        at_once: Searches that train here at the same time.
        external_at_once: Searches at the same time whose children are trained elsewhere.
        access: Tokens and hosts.
    """

    root: Path
    data: Path | None = None
    python: bool = False
    at_once: int = 1
    external_at_once: int = EXTERNAL_AT_ONCE
    access: Access = field(default_factory=Access)


class Parts:
    """The parts of one server.

    Args:
        settings: How it is started.

    Raises:
        StorageError: The root cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        """See the class."""
        self.settings = settings
        self.access = settings.access
        self.jobs = Jobs(settings.root)
        self.jobs.recover()
        self.supervisor = Supervisor(self.jobs, settings.at_once, settings.external_at_once)
        self.catalogue = Catalogue(self.jobs, self.supervisor)
        self.desk = Desk(self.catalogue)
        self.tensorboard = TensorBoard(settings.root)
        self.streams = 0  # of events, now
        self.reporting = asyncio.Semaphore(1)  # matplotlib is not for several threads
        self.admission = Admission(settings.root, settings.data, python=settings.python)

    def close(self) -> None:
        """Stop watching; runners go on."""
        self.supervisor.close()
        self.desk.close()
        self.catalogue.close()
        self.jobs.close()


def parts_of(request: Request) -> Parts:
    """Return the parts of the server that got a request."""
    parts: Parts = request.app.state.parts
    return parts
