"""Which names the hub answers to, and the pages of which origins may call it.

A browser lets a page call anything and says where the page is from: this is what keeps a foreign
page from the hub on its reader's machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from aiohttp import hdrs, web

from agent_hub.core.errors import WrongHost, WrongOrigin
from agent_hub.web.limits import Headers
from agent_hub.web.reply import Reply

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
FOREIGN_SITES = frozenset({"cross-site", "same-site"})
"""Another port of this machine is the same site, but another origin."""
CORS_METHODS = "GET, POST, DELETE"
CORS_HEADERS = (
    "Content-Type, Idempotency-Key, X-Request-Id, traceparent, Authorization, "
    "Mcp-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, Last-Event-ID"
)
CORS_EXPOSED = (
    "X-Request-Id, RateLimit, RateLimit-Policy, Retry-After, Idempotency-Replayed, WWW-Authenticate"
)
CORS_SECONDS = "600"
REMEMBERED_HOSTS = 100
PAGES = frozenset({"/", "/docs"})
"""What a browser shows as a whole; no other page can look into it."""

_PORT = re.compile(r":\d{1,5}$")


class Origins:
    """`hosts` are the names this hub answers to, without port; None means any. `allowed` are the
    foreign origins that may call, `own` is the hub's, where that is not what a request says.
    `scheme` tells by which one a request came.
    """

    def __init__(
        self,
        scheme: Callable[[web.Request], str],
        *,
        hosts: Collection[str] | None = LOCAL_HOSTS,
        allowed: Collection[str] = (),
        own: str | None = None,
    ) -> None:
        self._scheme = scheme
        self._hosts = None if hosts is None else frozenset(hosts)
        self._allowed = frozenset(allowed)
        self._own = own
        self._pages = set(PAGES)
        self._welcome_hosts: set[str] = set()

    def add_page(self, path: str) -> None:
        """To this one any other page may link."""
        self._pages.add(path)

    def check(self, request: web.Request) -> None:
        """Raise WrongHost or WrongOrigin.

        A web page cannot choose its Host: a name that is not ours was rebound to us.
        """
        # What a target names itself counts before the header (RFC 9112, 3.2.2).
        named = "" if request.raw_path.startswith("/") else request.url.authority
        host = named or request.headers.get(hdrs.HOST, "")
        if host not in self._welcome_hosts:
            self._welcome(host)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            self._check_site(request)
        elif not self._is_allowed(origin.lower(), request, host):
            raise WrongOrigin("web pages of that origin may not call this hub; see --cors-origin")

    def _welcome(self, host: str) -> None:
        """Raise WrongHost for a foreign name, or none; remember a good one as it was written."""
        if self._hosts is not None and _PORT.sub("", host).lower() not in self._hosts:
            names = ", ".join(sorted(self._hosts))
            raise WrongHost(f"this hub answers to {names}; behind a proxy, see --trusted-proxy")
        if len(self._welcome_hosts) < REMEMBERED_HOSTS:
            self._welcome_hosts.add(host)

    def _is_allowed(self, origin: str, request: web.Request, host: str) -> bool:
        own = f"{self._scheme(request)}://{host}"
        return origin in self._allowed or origin in (own.lower(), self._own)

    def _check_site(self, request: web.Request) -> None:
        """An image or a script of a foreign page is fetched without an Origin, but says this.

        The page does not see the answer, but it would cost an agent its rate and tell, by the
        time it takes, that mail came. A link to the hub's own pages may stand anywhere.
        """
        if request.headers.get("Sec-Fetch-Site") in FOREIGN_SITES and not (
            request.path in self._pages and request.headers.get("Sec-Fetch-Dest") == "document"
        ):
            raise WrongOrigin("web pages of other origins may not call this hub; see --cors-origin")

    def is_preflight(self, request: web.Request) -> bool:
        return (
            request.headers.get(hdrs.ORIGIN, "").lower() in self._allowed
            and "Access-Control-Request-Method" in request.headers
        )

    def preflight(self) -> Reply:
        """What an allowed page may send."""
        reply = Reply(204)
        reply.add("Access-Control-Allow-Methods", CORS_METHODS)
        reply.add("Access-Control-Allow-Headers", CORS_HEADERS)
        reply.add("Access-Control-Max-Age", CORS_SECONDS)
        return reply

    def add_cors(self, request: web.Request, reply: Headers) -> None:
        """Tell a page that it may read this answer."""
        if not self._allowed:
            return
        reply.add("Vary", "Origin")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and origin.lower() in self._allowed:
            reply.add("Access-Control-Allow-Origin", origin)
            reply.add("Access-Control-Expose-Headers", CORS_EXPOSED)
