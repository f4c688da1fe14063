"""Who sent a request: the credential in its header, and the address that it came from."""

from __future__ import annotations

from aiohttp import hdrs, web

from agent_hub.core.authentication import Authentication
from agent_hub.core.errors import Unauthenticated
from agent_hub.core.principal import Principal
from agent_hub.web.lobby import Lobby
from agent_hub.web.proxies import Proxies

BEARER = "bearer "
NOT_SHOWN = "this hub asks for a credential: Authorization: Bearer <token>"


class Callers:
    """Without `authentication` everybody is let in, and may act as anybody."""

    def __init__(
        self, authentication: Authentication | None = None, proxies: Proxies | None = None
    ) -> None:
        self._authentication = authentication
        self._proxies = proxies
        self.lobby: Lobby | None = None
        if authentication is not None:
            self.lobby = Lobby() if proxies is None else Lobby(proxies.is_trusted)

    @property
    def are_asked(self) -> bool:
        """Whether a credential is needed."""
        return self._authentication is not None

    def peer(self, request: web.Request) -> str:
        """The client's address; empty when it is not known."""
        return self._proxies.client(request).peer if self._proxies else request.remote or ""

    def scheme(self, request: web.Request) -> str:
        """http or https, as the client used it."""
        return self._proxies.client(request).scheme if self._proxies else request.scheme

    def shows_credential(self, request: web.Request) -> bool:
        return hdrs.AUTHORIZATION in request.headers

    async def identify(self, request: web.Request, via: str) -> Principal:
        """The caller by the request's header, at the door `via`.

        Raises Unauthenticated, RateLimited, BackendUnavailable.
        """
        if self._authentication is None:
            return self.anyone(request, via)
        shown = request.headers.getall(hdrs.AUTHORIZATION, ())
        if not shown:
            raise Unauthenticated(NOT_SHOWN, is_missing=True)
        if len(shown) > 1 or not shown[0].lower().startswith(BEARER):
            raise Unauthenticated("the credential must be one Authorization: Bearer <token>")
        return await self.prove(shown[0][len(BEARER) :].strip(" "), request, via)

    async def prove(self, credential: str, request: web.Request, via: str) -> Principal:
        """The caller by a credential that came in another way."""
        if self._authentication is None:
            return self.anyone(request, via)
        peer = self.peer(request)
        caller = await self._authentication.authenticate(credential, via=via, peer=peer)
        if self.lobby is not None:
            self.lobby.leave(request.protocol)
        return caller

    def anyone(self, request: web.Request, via: str) -> Principal:
        return Principal(via, self.peer(request))
