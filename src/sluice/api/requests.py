"""Counts the answers of each API by their class. Sits in the way of every call, so it does little."""

from starlette.types import Message, Send

from sluice.core.node_figures import REQUESTS, Counts

_CLASSES = {first: f"{first}xx" for first in range(1, 6)}


class Answers:
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def counted(self, api: str, send: Send) -> Send:
        """`send`, which counts the answer of a call of this API as it begins."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counts.add(REQUESTS, api, _CLASSES[message["status"] // 100])
            await send(message)

        return noting
