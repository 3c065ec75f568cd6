"""Ask and tell, for trainers elsewhere."""

from typing import Annotated

from fastapi import APIRouter, Path

from rlnas.service import models
from rlnas.service.routes.searches import Name, The

router = APIRouter(prefix="/v1", tags=["workers"])

TrialName = Annotated[str, Path(pattern=r"^trial-[1-9][0-9]{0,8}$", description="Such as trial-7")]


@router.post("/searches/{name:plain}/trials:ask")
async def ask(name: Name, body: models.Ask, parts: The) -> models.Asked:
    """Lease trials to train. None may be free: then ask again, or give `wait`."""
    return await parts.desk.ask(name, body)


@router.post("/searches/{name:plain}/trials/{trial:plain}:heartbeat")
def heartbeat(name: Name, trial: TrialName, body: models.Beat, parts: The) -> models.Beaten:
    """Keep a lease, and learn whether to go on."""
    return parts.desk.beat(name, trial, body)


@router.post("/searches/{name:plain}/trials/{trial:plain}:tell")
def tell(name: Name, trial: TrialName, body: models.Tell, parts: The) -> models.Told:
    """Tell what became of a trial: metrics or a failure. To tell it again changes nothing.

    A lease that has ended may still tell while nobody else has the trial; after that, or with
    another outcome than the one that was told, the answer is 409.
    """
    return parts.desk.tell(name, trial, body)


@router.get("/searches/{name:plain}/leases")
def leases(name: Name, parts: The) -> models.Leases:
    """Show which trials workers have."""
    return parts.desk.leases(name)
