"""The FastAPI app of a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from rlnas._version import __version__
from rlnas.service.access import OPEN, Guard
from rlnas.service.parts import Parts, Settings
from rlnas.service.problems import MEDIA_TYPE, ProblemDocument, add_handlers
from rlnas.service.routes import boards, health, pages, searches, workers

_REFUSALS = {
    400: "The body is no JSON",
    401: "The token is missing or wrong",
    403: "This token, this site or this server may not do that",
    404: "There is no such thing",
    405: "This address does not take this method",
    408: "The body came too slowly",
    409: "The search is not in a state for that",
    413: "The body is too large",
    421: "The server does not answer for this host",
    422: "A field is wrong",
    429: "Too many at a time",
    503: "The disk refused",
}


def make_app(settings: Settings) -> Guard:
    """Return the whole ASGI app of a server.

    Args:
        settings: How it is started.

    Raises:
        StorageError: The root cannot be used.
    """
    parts = Parts(settings)

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        parts.supervisor.start()
        try:
            yield
        finally:
            await parts.tensorboard.close()
            parts.close()

    refusals: dict[int | str, dict[str, Any]] = {
        status: {
            "description": text,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status, text in _REFUSALS.items()
    }
    app = FastAPI(
        title="rlnas",
        version=__version__,
        description="Architecture searches as jobs, and trials for trainers elsewhere.",
        lifespan=living,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=refusals,
        redirect_slashes=False,
    )
    app.state.parts = parts
    parts.catalogue.searches()  # reads all runs that are not known yet
    add_handlers(app, pages.error_page)
    for module in (searches, workers, health, pages, boards):
        app.include_router(module.router)
    _describe(app, token=settings.access.write is not None)
    return Guard(app, settings.access)


def _describe(app: FastAPI, *, token: bool) -> None:
    """Put the problem document among the described models, and the token if one is needed."""
    made = app.openapi

    def described() -> dict[str, Any]:
        schema = made()
        models = schema.setdefault("components", {}).setdefault("schemas", {})
        if "ProblemDocument" not in models:
            template = "#/components/schemas/{model}"
            own = ProblemDocument.model_json_schema(ref_template=template)
            models |= own.pop("$defs", {})
            models["ProblemDocument"] = own
        if token:
            schemes = {"token": {"type": "http", "scheme": "bearer"}}
            schema["components"]["securitySchemes"] = schemes
            schema["security"] = [{"token": []}]
            for path in (path for path in schema["paths"] if path.startswith(OPEN)):
                for operation in schema["paths"][path].values():
                    operation["security"] = []
        return schema

    app.openapi = described  # type: ignore[method-assign]
