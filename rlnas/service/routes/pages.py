"""The pages: searches, one search live, the form that begins one, the trash, the login."""

import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader
from starlette.requests import ClientDisconnect

from rlnas.config import (
    CONTROLLERS,
    COST_FORMS,
    COSTS,
    DATASETS,
    EXECUTORS,
    FIDELITIES,
    METRICS,
    OPTIMIZERS,
    PRESETS,
    SCHEDULES,
    SPACES,
    SURROGATES,
    TASKS,
    Flag,
    config_flags,
)
from rlnas.config.names import CONTROLS
from rlnas.search.progress import duration
from rlnas.service.access import COOKIE
from rlnas.service.models import Search
from rlnas.service.parts import Parts
from rlnas.service.problems import Problem, not_found
from rlnas.service.routes.searches import Name, The

router = APIRouter(include_in_schema=False)

_HERE = Path(__file__).parent.parent

_SHOWN = 200
"""Searches of the list (chosen): the filter finds the others by the API."""

_STATES = (
    *("queued", "starting", "searching", "retraining", "finishing"),
    *("done", "paused", "stopped", "failed", "interrupted", "damaged"),
)

_FIRST = (
    *("name", "data.dataset", "space.name", "controller.name", "budget.trials"),
    *("budget.time_limit", "recipe.epochs", "engine.executor"),
)
"""What the form shows first; all else is behind its section."""

_HIDDEN = ("space.choices",)
"""What has no place in a form."""

_LONGEST_LOGIN = 4000
"""Bytes of the form that holds a token (chosen)."""

_LISTS = ("space.input_shape",)

_CHOICES = {
    "controller.name": CONTROLLERS,
    "controller.preset": PRESETS,
    "controller.surrogate": SURROGATES,
    "control": CONTROLS,
    "data.task": TASKS,
    "engine.executor": EXECUTORS,
    "fidelity.name": FIDELITIES,
    "objective.metric": METRICS,
    "objective.cost": COSTS,
    "objective.form": COST_FORMS,
    "recipe.optimizer": OPTIMIZERS,
    "recipe.schedule": SCHEDULES,
}
_KNOWN = {"data.dataset": DATASETS, "space.name": SPACES}

_TITLES = {
    "": "General",
    "data": "Data",
    "space": "Space of architectures",
    "controller": "Controller",
    "recipe": "Training of a child",
    "objective": "Objective",
    "fidelity": "Stopping children early",
    "evaluation": "Folds and repeats",
    "budget": "Budget",
    "engine": "Where children are trained",
    "final": "Retraining at the end",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form.

    Attributes:
        path: Where it lies in the config.
        label: Its name for people.
        text: What it means.
        kind: ``bool``, ``choice``, ``list`` or ``text``.
        default: Its default; empty where there is none to show.
        names: What may be chosen, or is proposed.
    """

    path: str
    label: str
    text: str
    kind: str
    default: str
    names: tuple[str, ...]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


_PAGES = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True)
_PAGES.filters |= {"figure": _figure, "duration": _duration, "moment": _moment}


@router.get("/")
def searches(request: Request, parts: The) -> Response:
    """Show all searches."""
    found = parts.catalogue.searches()
    shown: list[Search] = found[:_SHOWN]
    values = {"searches": shown, "total": len(found), "states": _STATES, "page": "list"}
    return _page(request, parts, "list.html", values)


@router.get("/searches/{name:plain}")
def search(name: Name, request: Request, parts: The) -> Response:
    """Show one search, live."""
    values = {
        "search": parts.catalogue.search(name),
        "external": parts.catalogue.is_external(name),
        "address": f"{request.url.scheme}://{request.headers.get('host', '')}",
    }
    return _page(request, parts, "search.html", values)


@router.get("/new")
def new(request: Request, parts: The) -> Response:
    """Show the form that begins a search."""
    if request.scope.get("rlnas.right") != "write":
        raise Problem(403, "read-only", "this token may only look; log in with the write token")
    fields = [_field(flag) for flag in config_flags() if flag.field not in _HIDDEN]
    sections: dict[str, list[Field]] = {section: [] for section in _TITLES}
    for field in fields:
        if field.path not in _FIRST:
            sections[field.path.rpartition(".")[0]].append(field)
    by_path = {field.path: field for field in fields}
    values = {
        "first": [by_path[path] for path in _FIRST],
        "sections": [
            {"title": _TITLES[section], "fields": found}
            for section, found in sections.items()
            if found
        ],
        "page": "new",
    }
    return _page(request, parts, "new.html", values)


@router.get("/trash")
def trash(request: Request, parts: The) -> Response:
    """Show what was deleted."""
    return _page(request, parts, "trash.html", {"deleted": parts.jobs.trash(), "page": "trash"})


@router.get("/login")
def login_form(wrong: bool = False, next: str = "/") -> Response:
    """Show the form for the token."""
    page = _PAGES.get_template("login.html").render(wrong=wrong, next=_own_address(next))
    return HTMLResponse(page)


@router.post("/login")
async def login(request: Request, parts: The) -> Response:
    """Take a token, and give the browser a cookie in its place."""
    try:
        body = await request.body()
    except ClientDisconnect:
        return Response(status_code=400)  # which nobody reads
    if len(body) > _LONGEST_LOGIN:
        raise Problem(413, "too-large", "a login is a token; send no more than that")
    form = parse_qs(body.decode("utf-8", "replace"))
    right = parts.access.right(form.get("token", [""])[0])
    next = _own_address(form.get("next", ["/"])[0])
    if right is None:
        return RedirectResponse(f"/login?wrong=true&next={quote(next)}", 303)
    answer = RedirectResponse(next, 303)
    if parts.access.write is not None:
        answer.set_cookie(
            COOKIE,
            parts.access.session(right),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


@router.post("/logout")
def logout() -> Response:
    """Take the cookie away again."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/static/{name:plain}")
def static(
    name: Literal[
        "style.css", "icon.svg", "common.js", "list.js", "search.js", "new.js", "trash.js"
    ],
) -> Response:
    """Return a file of the pages."""
    path = _HERE / "static" / name
    if not path.is_file():
        raise not_found("file", name)
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    return FileResponse(path, media_type=kinds[path.suffix])


def _own_address(address: str) -> str:
    """Return an address of this server to go to, the list where it is another one."""
    own = re.fullmatch(r"/(searches/[A-Za-z0-9._-]+|new|trash|tensorboard/)?", address)
    return address if own else "/"


def error_page(request: Request, problem: Problem) -> Response:
    """Return a page that tells a person why a request was refused."""
    values = {"title": HTTPStatus(problem.status_code).phrase, "detail": problem.detail}
    answer = _page(request, request.app.state.parts, "error.html", values)
    answer.status_code = problem.status_code
    return answer


def _page(request: Request, parts: Parts, template: str, values: dict[str, Any]) -> Response:
    shared = {
        "right": request.scope.get("rlnas.right", "read"),
        "has_token": parts.access.write is not None,
        "page": "",
    }
    return HTMLResponse(_PAGES.get_template(template).render(**{**shared, **values}))


def _field(flag: Flag) -> Field:
    names = _CHOICES.get(flag.field, _KNOWN.get(flag.field, ()))
    default = flag.default
    kind = "text"
    if isinstance(default, bool):
        # What is on by default is a choice: an empty box could not say "as usual".
        kind, names = ("choice", ("true", "false")) if default else ("bool", ())
    elif flag.field in _CHOICES:
        kind = "choice"
    elif flag.field in _LISTS:
        kind = "list"
    plain = isinstance(default, bool | int | float | str) and default != "" and default is not False
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    label = flag.path[-1].replace("_", " ")
    if label == "name" and len(flag.path) > 1:
        label = flag.path[-2]
    return Field(flag.field, label.capitalize(), flag.text, kind, shown if plain else "", names)
