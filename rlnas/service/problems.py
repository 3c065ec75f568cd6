"""Refusals as problem documents (RFC 9457): what is wrong, in which field, in one sentence."""

from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from rlnas.config.reading import complaint
from rlnas.errors import ConfigError, DataError, RlnasError, SpaceError, StorageError
from rlnas.service.jobs import BusyError, CrowdedError, KeyTakenError, TakenError

MEDIA_TYPE = "application/problem+json"

_MOST_ERRORS, _LONGEST = 20, 1000
_NO_OBJECT = "expected one JSON object; mend this field"


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    pointer: str = Field(description="Where it stands: body, query, path or header, then its name")
    detail: str = Field(description="What was expected there")


class ProblemDocument(BaseModel):
    """A refusal, as RFC 9457 has it."""

    type: str = Field(description="A name of the kind of problem, as a URN")
    title: str = Field(description="The kind of problem in words")
    status: int = Field(description="The HTTP status")
    detail: str = Field(description="What was expected, what came, and what to do")
    errors: list[FieldError] = Field(default=[], description="The fields that are wrong")


class Problem(HTTPException):
    """A request that is refused.

    Args:
        status: The HTTP status.
        kind: Name of the kind of problem, for example ``name-taken``.
        detail: What was expected, what came, and what to do.
        errors: Pointer and sentence for each field that is wrong.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        """See the class."""
        super().__init__(status, detail, headers)
        self.kind, self.errors = kind, errors

    def response(self) -> JSONResponse:
        """Return the answer."""
        document = ProblemDocument(
            type=f"urn:rlnas:problem:{self.kind}",
            title=HTTPStatus(self.status_code).phrase,
            status=self.status_code,
            detail=_plain(self.detail),
            errors=[
                FieldError(pointer=_plain(pointer), detail=_plain(detail))
                for pointer, detail in self.errors[:_MOST_ERRORS]
            ],
        )
        return JSONResponse(
            document.model_dump(), self.status_code, media_type=MEDIA_TYPE, headers=self.headers
        )


def field_problem(pointer: str, detail: str) -> Problem:
    """Return the refusal of one field."""
    return Problem(422, "invalid-field", f"{pointer}: {detail}", [(pointer, detail)])


def not_found(what: str, name: str) -> Problem:
    """Return the refusal of something that is not there."""
    return Problem(404, "not-found", f"there is no {what} {name!r}; see the list for what there is")


def problem_of(error: RlnasError) -> Problem:
    """Return the refusal that an error of rlnas stands for."""
    if isinstance(error, KeyTakenError):
        return Problem(409, "key-taken", str(error))
    if isinstance(error, TakenError):
        return Problem(409, "name-taken", str(error))
    if isinstance(error, CrowdedError):
        return Problem(429, "too-many-searches", str(error))
    if isinstance(error, BusyError):
        return Problem(409, "busy", str(error))
    if isinstance(error, ConfigError | DataError | SpaceError):
        return Problem(422, "invalid", str(error))
    if isinstance(error, StorageError):
        return Problem(503, "storage", str(error))
    return Problem(409, "not-usable", str(error))


Page = Callable[[Request, Problem], Response]
"""Shows a refusal to a person."""


def add_handlers(app: FastAPI, page: Page) -> None:
    """Let an app answer every refusal with a problem document, or a browser with a page.

    Args:
        app: The app.
        page: Makes the page.
    """

    def answer(request: Request, problem: Problem) -> Response:
        reads = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if reads and not request.url.path.startswith(("/v1/", "/tensorboard/")):
            return page(request, problem)
        return problem.response()

    @app.exception_handler(Problem)
    def refused(request: Request, problem: Problem) -> Response:
        return answer(request, problem)

    @app.exception_handler(RlnasError)
    def failed(request: Request, error: RlnasError) -> Response:
        return answer(request, problem_of(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        found = [(_pointer(each["loc"]), _sentence(each)) for each in error.errors()]
        given = request.headers.get("content-type", "none")
        if found[:1] == [("body", _NO_OBJECT)] and "json" not in given.lower():
            sentence = f"expected the header Content-Type: application/json, got {given}; send it"
            found = [("header.content-type", sentence)]
        return answer(request, _invalid(found))

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> Response:
        detail = "a mistake of the server's own; its log has more"
        return answer(request, Problem(500, "mistake", detail))

    @app.exception_handler(HTTPException)
    def refused_by_framework(request: Request, error: HTTPException) -> Response:
        detail = _FRAMEWORK.get(error.status_code, str(error.detail))
        headers = dict(error.headers) if error.headers else None
        if error.status_code == 405:
            headers = {"Allow": ", ".join(_methods(request))}
        return answer(request, Problem(error.status_code, "http", detail, headers=headers))


def _methods(request: Request) -> list[str]:
    """Return the methods that an address takes."""
    found: set[str] = set()
    for route in _each(request.app.routes):
        for method in getattr(route, "methods", None) or ():
            match, _ = route.matches({**request.scope, "method": method})
            if match is Match.FULL:
                found.add(method)
    return sorted(found)


def _each(routes: Sequence[Any]) -> Iterator[Any]:
    """Return all routes, also those of routers that are kept as they were included."""
    for route in routes:
        included = getattr(route, "original_router", None)
        yield from (route,) if included is None else _each(included.routes)


_FRAMEWORK = {
    400: "the body is no JSON that can be read: expected one JSON object, not nested deeply, with "
    "numbers of at most 4,300 digits; mend it",
    404: "there is nothing at this address; see /v1/openapi.json for what there is",
    405: "this address does not take this method; the header Allow says which it takes",
}


def _invalid(found: Sequence[tuple[str, str]]) -> Problem:
    first = f"{found[0][0]}: {found[0][1]}" if found else "the request is not valid"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Problem(422, "invalid-field", f"{first}{more}", found)


def _pointer(location: Sequence[Any]) -> str:
    return ".".join(str(part) for part in location) or "body"


def _sentence(error: Any) -> str:
    match error["type"]:
        case "extra_forbidden":
            return (
                "there is no such field; leave it out, or see the description at /v1/openapi.json"
            )
        case "missing":
            return "expected this field, got nothing; add it"
        case "json_invalid":
            return f"expected JSON, got what cannot be read as such: {error['ctx']['error']}"
        case "string_pattern_mismatch":
            return f"expected text of the form {error['ctx']['pattern']}; mend this field"
        case "literal_error":
            return f"expected {error['ctx']['expected']}; mend this field"
        case "model_attributes_type" | "model_type":
            return _NO_OBJECT
    return f"{complaint(error)}; mend this field"


def _plain(text: str) -> str:
    """Return text that UTF-8 can hold, and not too much of it."""
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return short.encode("utf-8", "replace").decode("utf-8")
