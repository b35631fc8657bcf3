"""The page ``/room``, where people see and hear everyone in a room. One file, no assets from elsewhere.

App, room and token stand behind the ``#`` of its address; browsers never send that part to a server.
"""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes() -> list[BaseRoute]:
    html = files("sluice.api").joinpath("room.html").read_text()

    async def room(request: Request) -> Response:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        return HTMLResponse(html, headers=headers)

    return [Route("/room", room, methods=["GET"])]
