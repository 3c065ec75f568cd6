"""Searches: begin, list, show, steer, delete, and take the best away."""

import asyncio
import json
import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from rlnas.config import EXTERNAL, SearchConfig
from rlnas.errors import RlnasError
from rlnas.search.folder import RunFolder
from rlnas.search.summary import TrialQuery
from rlnas.service import models
from rlnas.service.catalogue import REPORT
from rlnas.service.jobs import PAUSE, RUN, STOP
from rlnas.service.parts import Parts, parts_of
from rlnas.service.problems import Problem, not_found

router = APIRouter(prefix="/v1", tags=["searches"])

_LOOK = 0.5
"""Seconds between two looks for what is new in a stream of events (chosen)."""

_MOST_EVENTS = 200
"""Trials of one look (chosen); the rest come with the next."""

_MOST_STREAMS = 200
"""Streams of events at a time (chosen)."""

_END = ("done", "failed", "stopped", "damaged")
_AT_WORK = ("queued", "starting", "searching", "retraining", "finishing")

The = Annotated[Parts, Depends(parts_of)]
Name = Annotated[str, Path(pattern=models.NAME, description="Name of the search")]
Number = Annotated[int, Path(ge=1, le=10_000_000, description="Number of the trial")]
Limit = Annotated[int, Query(ge=1, le=500, description="How many at most")]
Offset = Annotated[int, Query(ge=0, le=10_000_000, description="How many are passed over")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[A-Za-z0-9_-]{1,100}$",
        description="Your name for this request: sent again, it makes no second search",
    ),
]


@router.get("/searches")
def list_searches(
    parts: The,
    state: Annotated[models.State | None, Query(description="Only in this state")] = None,
    text: Annotated[
        str, Query(max_length=100, description="Only those whose name has this, in any case")
    ] = "",
    limit: Limit = 100,
    offset: Offset = 0,
) -> models.SearchPage:
    """List all searches, the newest first."""
    words = text.strip().lower()
    found = [
        each
        for each in parts.catalogue.searches()
        if state in (None, each.state) and words in each.name.lower()
    ]
    return models.SearchPage(searches=found[offset : offset + limit], total=len(found))


@router.post(
    "/searches",
    status_code=201,
    responses={200: {"model": models.Search, "description": "It was made before"}},
)
def create_search(
    config: SearchConfig, parts: The, response: Response, key: Key = None
) -> models.Search:
    """Begin a search. The fields are those of the command line; all may be left out."""
    admitted = parts.admission.admitted(config)
    executor = admitted.engine.chosen
    entry, new = parts.jobs.add(
        admitted.name,
        _stem(admitted),
        {**admitted.model_dump(mode="json", exclude_unset=True)},
        executor,
        key=key,
    )
    parts.supervisor.look()
    response.headers["Location"] = f"/v1/searches/{entry.name}"
    if not new:
        response.status_code = 200
    return parts.catalogue.search(entry.name)


@router.get("/searches/{name:plain}")
def show_search(name: Name, parts: The) -> models.Search:
    """Show a search."""
    return parts.catalogue.search(name)


@router.post("/searches/{name:plain}:pause")
def pause_search(name: Name, parts: The) -> models.Search:
    """Pause a search: all is saved, and its place is free for others."""
    return _steered(parts, name, PAUSE)


@router.post("/searches/{name:plain}:stop")
def stop_search(name: Name, parts: The) -> models.Search:
    """Stop a search; the best so far can be taken away. It can still be resumed."""
    return _steered(parts, name, STOP)


@router.post("/searches/{name:plain}:resume")
def resume_search(name: Name, parts: The, body: models.Resume | None = None) -> models.Search:
    """Go on with a search, also one that has failed or ended if its budget grows."""
    found = parts.catalogue.search(name)
    if found.python:
        raise Problem(
            409,
            "own-python",
            f"{name} was begun from Python with objects of its own; resume it there",
        )
    if found.state == "damaged":
        raise Problem(409, "damaged", f"{found.message}; it can only be deleted")
    entry = parts.jobs.find(name)
    if found.state in _AT_WORK and entry is None:
        raise Problem(409, "busy", f"{name} is running already, begun by the command line")
    budget = {} if body is None else body.model_dump(exclude_none=True)
    if found.state in _AT_WORK and not budget:
        return found
    if found.state in _AT_WORK:
        raise Problem(409, "busy", f"{name} is running; pause it to give it another budget")
    if found.state == "done" and not _grows(found, budget):
        raise Problem(
            409, "ended", f"{name} has ended; to search on, resume it with a larger budget"
        )
    if entry is None:
        config = RunFolder(parts.jobs.root, name).read_config().model_dump(mode="json")
        entry = parts.jobs.adopt(name, config, found.executor)
    if budget:
        known = entry.config.get("budget", {})
        parts.jobs.configure(name, {**entry.config, "budget": {**known, **budget}})
    return _wanted(parts, name, RUN)


@router.delete("/searches/{name:plain}")
def delete_search(name: Name, parts: The) -> models.Deleted:
    """Move a search to the trash, from which it can be restored."""
    parts.catalogue.search(name)
    with parts.jobs.mutex:
        if parts.supervisor.is_running(name):
            raise Problem(409, "busy", f"{name} is running; stop it first")
        found = parts.jobs.delete(name)
    parts.catalogue.forget(name)
    parts.desk.forget(name)
    return models.Deleted(id=found.id, name=found.name, deleted=found.deleted)


@router.get("/trash")
def list_trash(parts: The) -> models.Trash:
    """List what was deleted, the newest first."""
    found = parts.jobs.trash()
    return models.Trash(
        deleted=[models.Deleted(id=each.id, name=each.name, deleted=each.deleted) for each in found]
    )


TrashId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="Id in the trash")]


@router.post("/trash/{id:plain}:restore")
def restore_search(id: TrashId, parts: The) -> models.Search:
    """Take a search back from the trash; it is stopped."""
    _check_trash(parts, id)
    with parts.jobs.mutex:
        name = parts.jobs.restore(id)
    return parts.catalogue.search(name)


@router.delete("/trash/{id:plain}", status_code=204)
def purge_search(id: TrashId, parts: The) -> None:
    """Remove a search from the trash for ever."""
    _check_trash(parts, id)
    with parts.jobs.mutex:
        parts.jobs.purge(id)


@router.get("/searches/{name:plain}/trials")
def list_trials(
    name: Name,
    parts: The,
    state: Literal["running", "done", "failed"] | None = None,
    order: Literal["number", "ended", "reward", "seconds", "params"] = "number",
    descending: bool = False,
    limit: Limit = 50,
    offset: Offset = 0,
) -> models.TrialPage:
    """List trials of a search."""
    query = TrialQuery(state, order, descending, offset, limit)
    trials, total = parts.catalogue.trials(name, query)
    return models.TrialPage(trials=trials, total=total)


@router.get("/searches/{name:plain}/trials/{number:plain}")
def show_trial(name: Name, number: Number, parts: The) -> models.Trial:
    """Show a trial."""
    return parts.catalogue.trial(name, number)


@router.get("/searches/{name:plain}/trials/{number:plain}/diagram.svg", response_class=Response)
def show_diagram(name: Name, number: Number, parts: The) -> Response:
    """Draw the architecture of a trial."""
    return Response(parts.catalogue.diagram(name, number), media_type="image/svg+xml")


@router.get("/searches/{name:plain}/trials/{number:plain}/log", response_class=PlainTextResponse)
def show_trial_log(name: Name, number: Number, parts: The) -> str:
    """Show what the child of a trial printed."""
    return parts.catalogue.trial_log(name, number)


@router.get("/searches/{name:plain}/log", response_class=PlainTextResponse)
def show_log(name: Name, parts: The) -> str:
    """Show the end of what the process of a search printed."""
    return parts.catalogue.log(name)


@router.get("/searches/{name:plain}/curve")
def show_curve(name: Name, parts: The) -> models.CurvePage:
    """Show the rewards by step, and those of the control."""
    return parts.catalogue.curve(name)


@router.get("/searches/{name:plain}/policy")
def show_policy(name: Name, parts: The) -> models.Policy:
    """Show what the policy has become sure of: the probability of each choice."""
    return parts.catalogue.policy(name)


@router.get("/searches/{name:plain}/best")
def show_best(name: Name, parts: The) -> models.Best:
    """Show the best architecture."""
    return parts.catalogue.best(name)


@router.get("/searches/{name:plain}/pareto")
def show_pareto(
    name: Name,
    parts: The,
    cost: Literal["params", "flops", "latency", "size"] = "params",
    others: Annotated[int, Query(ge=0, le=10_000, description="How many others at most")] = 1000,
) -> models.ParetoPage:
    """Show the trials that no other one beats in both the metric and a cost, and some others."""
    return parts.catalogue.pareto(name, cost, others)


@router.get("/searches/{name:plain}/files/{file:plain}", response_class=Response)
async def download(
    name: Name, file: Annotated[str, Path(pattern=r"^[a-z]{1,20}\.[a-z]{1,8}$")], parts: The
) -> Response:
    """Download a file of the best architecture, or the report of the search."""
    saved = {"Content-Disposition": f'attachment; filename="{name}-{file}"'}
    if file == REPORT:
        async with parts.reporting:  # one at a time, and no thread waits for another
            text = await run_in_threadpool(parts.catalogue.report, name)
        return HTMLResponse(text, headers=saved)
    content = await run_in_threadpool(parts.catalogue.file, name, file)
    kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
    return Response(content, media_type=kind, headers=saved)


@router.get("/searches/{name:plain}/events", response_class=EventSourceResponse)
async def watch(
    name: Name,
    parts: The,
    request: Request,
    last: Annotated[
        str | None, Header(alias="Last-Event-ID", description="Step after which to go on")
    ] = None,
    after: Annotated[int, Query(ge=0, le=10_000_000, description="The same as a parameter")] = 0,
) -> EventSourceResponse:
    """Watch a search: an event for each trial that ends, and for each change of its state.

    The stream ends with the search. Events of trials have their step as id, so that a client
    that comes back misses none.
    """
    await run_in_threadpool(parts.catalogue.search, name)
    if parts.streams >= _MOST_STREAMS:
        raise Problem(429, "too-many-streams", "too many watch already; ask for the trials instead")
    step = int(last) if last is not None and last.isdecimal() and len(last) < 9 else after
    return EventSourceResponse(_events(parts, name, step), ping=15)


async def _events(parts: Parts, name: str, step: int) -> AsyncIterator[ServerSentEvent]:
    parts.streams += 1
    try:
        shown: dict[str, Any] | None = None
        while True:
            try:
                found = await run_in_threadpool(parts.catalogue.search, name)
                trials = await run_in_threadpool(
                    parts.catalogue.trials_after, name, step, _MOST_EVENTS
                )
            except Problem:  # deleted meanwhile
                yield ServerSentEvent("{}", event="deleted")
                return
            except RlnasError:  # its journal cannot be read, which its state says
                trials = []
            for trial in trials:
                step = trial.step or step
                yield ServerSentEvent(trial.model_dump_json(), event="trial", id=str(step))
            state = found.model_dump(mode="json")
            if state != shown and len(trials) < _MOST_EVENTS:
                yield ServerSentEvent(json.dumps(state), event="state")
                shown = state
                if found.state in _END:
                    return
            if len(trials) < _MOST_EVENTS:
                await asyncio.sleep(_LOOK)
    finally:
        parts.streams -= 1


def _stem(config: SearchConfig) -> str:
    """Return what a name that is made begins with: what is searched on, and the controller."""
    data = config.data.dataset
    if config.engine.chosen == EXTERNAL:
        data = config.space.name or EXTERNAL
    stem = f"{FilePath(data).name.partition('.')[0]}-{config.controller.name}"
    plain = "".join(each if each.isascii() and each.isalnum() else "-" for each in stem)
    return plain.strip("-")[:60] or "search"


def _steered(parts: Parts, name: str, wanted: str) -> models.Search:
    found = parts.catalogue.search(name)
    if parts.jobs.find(name) is None:
        raise Problem(
            409,
            "not-ours",
            f"{name} was begun by the command line, or is the control of another search; stop it "
            "there, or resume it here",
        )
    if found.state == "done":
        raise Problem(409, "ended", f"{name} has ended; there is nothing to {wanted}")
    return _wanted(parts, name, wanted)


def _wanted(parts: Parts, name: str, wanted: str) -> models.Search:
    parts.jobs.want(name, wanted)
    parts.catalogue.forget(name)
    parts.supervisor.look()
    return parts.catalogue.search(name)


def _grows(found: models.Search, budget: dict[str, Any]) -> bool:
    limits = {"trials": found.budget, "time_limit": found.time_limit}
    return any(budget.get(name, 0) > (spent or 0) for name, spent in limits.items())


def _check_trash(parts: Parts, number: str) -> None:
    if number not in (each.id for each in parts.jobs.trash()):
        raise not_found("search in the trash with the id", number)
