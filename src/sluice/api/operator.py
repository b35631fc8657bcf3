"""Who may use ``/api/v1``: the bearer of the admin token. No body is read from anybody else.

An address that guesses has to wait, longer with each wrong token (`core.fairness.BackOff`).
"""

import hmac
import math
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, params
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from sluice.api.admission import address_of
from sluice.api.refusals import Refusals
from sluice.core.errors import AccessRefused
from sluice.core.fairness import BackOff, TooOften
from sluice.core.limits import MOST_ADMIN_TRIES

_ASK = "send the header Authorization: Bearer <admin_token of credentials.json>"
_bearer = HTTPBearer(auto_error=False, description="admin_token of credentials.json")


class Operator:
    """One for all resources, so that guesses are counted together. `clock` tells seconds."""

    def __init__(
        self,
        admin_token: str,
        *,
        tries: int = MOST_ADMIN_TRIES,
        refusals: Refusals | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = admin_token.encode()
        self._back_off = BackOff(tries)
        self._refusals = refusals or Refusals()
        self._clock = clock

    @property
    def only(self) -> list[params.Depends]:
        """The dependencies of the operator's routes; `NativeRoute` checks them before it reads a body."""
        return [Depends(self)]

    async def __call__(
        self, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> None:
        """Only for the OpenAPI document, which shows what is to be sent."""

    def check(self, request: Request) -> None:
        """Raises AccessRefused, and TooOften after too many guesses."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        address, now = address_of(request), self._clock()
        closed_s = self._back_off.wait_s(address, now)
        if closed_s and not self._back_off.trusts(address, now):
            self._close(closed_s, address)
        if scheme.lower() != "bearer" or not given.strip():
            raise AccessRefused(_ASK)
        right = bool(self._token) and hmac.compare_digest(given.strip().encode(), self._token)
        self._back_off.note(address, now, right=right)
        if right:
            return
        if closed_s:
            self._close(closed_s, address)
        raise AccessRefused(_ASK)

    def _close(self, wait_s: float, address: str) -> None:
        why = "too many admin tokens from your address were wrong"
        self._refusals.count(why, address)
        raise TooOften(f"{why}; try again in {math.ceil(wait_s)} s", wait_s)
