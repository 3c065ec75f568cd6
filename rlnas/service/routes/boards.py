"""TensorBoard, behind the same address."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from rlnas.service.routes.searches import The

router = APIRouter(include_in_schema=False)


@router.get("/tensorboard")
def without_slash() -> Response:
    """Show the right address."""
    return RedirectResponse("/tensorboard/", 308)


@router.api_route("/tensorboard/{path:path}", methods=["GET", "HEAD", "POST"])
async def tensorboard(path: str, request: Request, parts: The) -> Response:
    """Pass a request on to TensorBoard, which is started at its first use."""
    return await parts.tensorboard.answer(request)
