"""The page on which a person agrees or refuses, and the ways to know who it is."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent_hub.auth.attempts import Attempts
from agent_hub.auth.oauth import page
from agent_hub.auth.oauth.login_codes import LoginCode, LoginCodes
from agent_hub.auth.oauth.outside import NotAllowed, OutsideProvider
from agent_hub.auth.oauth.page import Form
from agent_hub.auth.oauth.provider import Provider
from agent_hub.auth.oauth.requests import Outside, Request, Requests
from agent_hub.auth.oauth.where import BASE
from agent_hub.core.audit import DONE, Audit, Record
from agent_hub.core.errors import (
    BackendUnavailable,
    Forbidden,
    Invalid,
    RateLimited,
    Unauthenticated,
)
from agent_hub.core.message import check_agent_id
from agent_hub.core.principal import Principal

COOKIE = "agent_hub_sign_in"
COOKIE_SECONDS = 600
MAX_AGENT_ID_CHARACTERS = 64
BAD_CODE = "This login code is not good, or not any more."
_COOKIE_VALUE = re.compile(r"[A-Za-z0-9_-]{22}")
_NO_ID = re.compile(r"[^a-z0-9._-]+")

OwnerOf = Callable[[str], Awaitable[str | None]]


class Refused(Exception):
    """The page is shown again, with a word beside one field."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field
        self.text = text


class SignIn:
    """`owner_of` says to whom an agent id belongs; None for one that nobody registered."""

    def __init__(
        self,
        provider: Provider,
        requests: Requests,
        codes: LoginCodes,
        attempts: Attempts,
        owner_of: OwnerOf,
        outside: OutsideProvider | None,
        audit: Audit,
    ) -> None:
        self._audit = audit
        self._provider = provider
        self._requests = requests
        self._codes = codes
        self._attempts = attempts
        self._owner_of = owner_of
        self._outside = outside

    async def show(self, http: HttpRequest) -> Response:
        """GET: the page for a request that waits."""
        request = await self._requests.find(http.query_params.get("request", ""))
        if request is None or request.outside is not None or request.base != BASE.get():
            return _gone()
        cookie = _cookie(http) or secrets.token_urlsafe(16)
        form = Form(
            proof=_proof(cookie, request.id),
            agent=suggested(request.client_name),
            outside=None if self._outside is None else self._outside.host,
        )
        response = self._page(request, form, 200)
        secure = request.base.startswith("https:")
        response.set_cookie(
            _cookie_name(request.base),
            cookie,
            max_age=COOKIE_SECONDS,
            path="/",
            secure=secure,
            httponly=True,
            samesite="lax",  # strict would not come back from the identity provider
        )
        return response

    def _page(self, request: Request, form: Form, status: int) -> HTMLResponse:
        targets = ("'self'", page.form_target(request.redirect_uri))
        return _html(page.consent(request, form), status, *targets)

    # --- the answer -----------------------------------------------------------------------

    async def answer(self, http: HttpRequest) -> Response:
        """POST: the person's decision."""
        given = {name: str(value) for name, value in (await http.form()).items()}
        request = await self._requests.find(given.get("request", ""))
        if request is None or request.outside is not None or request.base != BASE.get():
            return _gone()
        cookie = _cookie(http)
        if cookie is None or not _is_own_page(http, request, cookie, given.get("proof", "")):
            return _foreign(request.base)
        try:
            return await self._decide(http, request, cookie, given)
        except Refused as refusal:
            self._note(http, Forbidden.code)
            form = Form(
                proof=given["proof"],
                agent=given.get("agent", "")[:MAX_AGENT_ID_CHARACTERS],
                outside=None if self._outside is None else self._outside.host,
                faults={refusal.field: refusal.text},
            )
            return self._page(request, form, 403)

    async def _decide(
        self, http: HttpRequest, request: Request, cookie: str, given: dict[str, str]
    ) -> Response:
        decision = given.get("decision")
        if decision == "refuse":
            return await self._refuse(request)
        agent = _checked(given.get("agent", ""))
        if decision == "outside" and self._outside is not None:
            return await self._send_outside(self._outside, request, agent, cookie)
        if decision != "agree":
            raise Refused("page", "Agree or refuse.")
        text = given.get("code", "")
        code = await self._judge(text, http)
        await self._check_may_be(agent, f"person:{code.name}", code)
        # Of two uses of one code, one counts; and so of two answers to one request.
        if not await self._codes.take(text):
            raise Refused("code", BAD_CODE)
        if not await self._requests.take(request.id):
            return _gone()
        self._note(http, DONE, f"person:{code.name}", agent)
        return await self._agree(
            request,
            subject=f"person:{code.name}",
            person=code.name,
            proof="login code",
            agent=agent,
            scopes=tuple(scope for scope in request.scopes if scope in code.scopes),
        )

    async def _judge(self, text: str, http: HttpRequest) -> LoginCode:
        peer = _peer(http)
        try:
            self._attempts.check(peer)
            code = await self._codes.look(text)
            if code is None:
                self._attempts.fail(peer)
        except RateLimited:
            raise Refused("code", "Too many wrong codes came from your network. Wait.") from None
        if code is None:
            raise Refused("code", BAD_CODE)
        return code

    async def _check_may_be(self, agent: str, subject: str, code: LoginCode | None) -> None:
        if code is not None:
            try:
                Principal("", agents=frozenset(code.agents)).must_act_as(agent)
            except Forbidden:
                named = ", ".join(code.agents)
                raise Refused("agent", f"This login code is for {named}.") from None
        owner = await self._owner_of(agent)
        if owner is not None and owner != subject:
            raise Refused("agent", "This agent id belongs to somebody else.")

    def _note(
        self, http: HttpRequest, outcome: str, subject: str = "", agent: str | None = None
    ) -> None:
        """Keep who signed in, or that somebody could not."""
        self._audit.record(
            Record(
                action="sign_in",
                outcome=outcome,
                subject=subject,
                via="page",
                peer=_peer(http),
                agent=agent,
            )
        )

    async def _agree(self, request: Request, **session: object) -> Response:
        scopes = session["scopes"]
        if not scopes:
            return _redirect(
                request.answer(
                    error="access_denied",
                    error_description="nothing that was asked for may be given",
                )
            )
        return _redirect(await self._provider.agreed(request, **session))  # type: ignore[arg-type]

    async def _refuse(self, request: Request) -> Response:
        await self._requests.take(request.id)
        return _redirect(
            request.answer(error="access_denied", error_description="the person refused")
        )

    # --- the outside identity provider ----------------------------------------------------

    async def _send_outside(
        self, outside: OutsideProvider, request: Request, agent: str, cookie: str
    ) -> Response:
        state, nonce = self._requests.name(), secrets.token_urlsafe(16)
        verifier = secrets.token_urlsafe(48)
        address = await outside.address(request.base, state=state, nonce=nonce, verifier=verifier)
        if not await self._requests.take(request.id):
            return _gone()
        there = Outside(_digest(cookie), agent, nonce, verifier)
        await self._requests.keep(msgspec.structs.replace(request, id=state, outside=there))
        # Not by redirecting the form: a browser would hold all further ways to the form's targets,
        # and nobody knows where the provider sends its people on to.
        return _html(page.onward(outside.host, address, request.base), 200)

    async def come_back(self, http: HttpRequest) -> Response:
        """GET: the person is back from the identity provider."""
        answer = http.query_params
        request = await self._requests.find(answer.get("state", ""))
        if request is None or request.outside is None or request.base != BASE.get():
            return _gone()
        cookie, there = _cookie(http), request.outside
        if cookie is None or not secrets.compare_digest(_digest(cookie), there.browser):
            return _foreign(request.base)
        if not await self._requests.take(request.id):
            return _gone()
        if "code" not in answer:
            return _redirect(
                request.answer(
                    error="access_denied",
                    error_description="the identity provider did not say who it is",
                )
            )
        return await self._welcome(http, request, there)

    async def _welcome(self, http: HttpRequest, request: Request, there: Outside) -> Response:
        assert self._outside is not None
        try:
            person = await self._outside.person(
                http.query_params["code"],
                request.base,
                issuer=http.query_params.get("iss"),
                nonce=there.nonce,
                verifier=there.verifier,
            )
            await self._check_may_be(there.agent, person.subject, None)
        except (NotAllowed, Refused, Unauthenticated) as refusal:
            self._note(http, Forbidden.code)
            return _not_welcome(refusal, request.base)
        self._note(http, DONE, person.subject, there.agent)
        return await self._agree(
            request,
            subject=person.subject,
            person=person.name,
            proof=self._outside.issuer,
            agent=there.agent,
            scopes=request.scopes,
        )


def _checked(agent: str) -> str:
    try:
        check_agent_id(agent, "agent")
    except Invalid:
        raise Refused("agent", "This cannot be an agent's id.") from None
    return agent


def suggested(client_name: str) -> str:
    """An agent id made of a client's name."""
    name = client_name.lower()
    if "://" in name:
        name = urlsplit(name).hostname or ""
    return _NO_ID.sub("-", name).strip("-._")[:MAX_AGENT_ID_CHARACTERS]


# --- the browser ------------------------------------------------------------------------------


def _peer(http: HttpRequest) -> str:
    return http.client.host if http.client else ""


def _cookie_name(base: str) -> str:
    """With the prefix a browser takes it from nobody but this host, by TLS."""
    return f"__Host-{COOKIE}" if base.startswith("https:") else COOKIE


def _cookie(http: HttpRequest) -> str | None:
    value = http.cookies.get(_cookie_name(BASE.get()))
    return value if value is not None and _COOKIE_VALUE.fullmatch(value) else None


def _proof(cookie: str, request_id: str) -> str:
    """What only a page that was shown to the browser with this cookie holds."""
    return _digest(f"{cookie} {request_id}")


def _is_own_page(http: HttpRequest, request: Request, cookie: str, proof: str) -> bool:
    """Whether the form was sent from the hub's own page, in the browser that was shown it."""
    expected = _proof(cookie, request.id)
    own = http.headers.get("origin", "").lower() == request.base
    return own and secrets.compare_digest(expected.encode(), proof.encode("utf-8", "replace"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- answers ----------------------------------------------------------------------------------


def _html(text: str, status: int, *form_targets: str) -> HTMLResponse:
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": page.policy(*form_targets or ("'none'",)),
        # With no referrer at all a browser would say that our own form came from nowhere.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return HTMLResponse(text, status, headers)


def _redirect(address: str) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(address, 303, headers)


def _sorry(title: str, text: str, base: str, status: int) -> Response:
    return _html(page.message(title, text, base), status)


def _not_welcome(refusal: Exception, base: str) -> Response:
    title = "It is not certain who you are"
    if isinstance(refusal, NotAllowed):
        title = "You may not sign in here"
    elif isinstance(refusal, Refused):
        title = "Choose another agent id"
    return _sorry(title, str(refusal), base, 403)


def _gone() -> Response:
    text = "Each sign-in is good for ten minutes, once. Start it again from your program."
    return _sorry("This sign-in is over", text, BASE.get(), 400)


def _foreign(base: str) -> Response:
    text = (
        "The answer did not come from the page that this browser was shown."
        " Start the sign-in again from your program, and allow cookies for this page."
    )
    return _sorry("This is not your sign-in", text, base, 403)


def unavailable(error: BackendUnavailable) -> Response:
    """For a page whose hub cannot reach what it needs."""
    return _sorry("Not now", f"{error.detail}. Try again in a moment", BASE.get(), 503)
