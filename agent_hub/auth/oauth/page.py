"""The pages that a person sees: who asks for what, and what the hub has to say. No script."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import urlsplit

from msgspec import Struct

from agent_hub.auth.oauth.requests import Request
from agent_hub.core.network import is_this_machine
from agent_hub.core.principal import Scope


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


STYLE = _part("page.css")
FRAME = Template(_part("page.html"))
STYLE_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"

_PLACE = re.compile(r"[A-Za-z0-9.-]+(:\d+)?")

MEANINGS = {
    Scope.REGISTER: "register itself as this agent",
    Scope.SEND: "send messages as this agent",
    Scope.READ: "read the messages sent to this agent",
    Scope.BROADCAST: "send messages to all agents",
    Scope.LIST: "see which agents there are",
}


class Form(Struct, frozen=True):
    """What the page shows beside the request. `faults` are by the name of a field.

    `outside` names the outside identity provider, if there is one.
    """

    proof: str
    agent: str
    outside: str | None = None
    faults: dict[str, str] = {}


def consent(request: Request, form: Form) -> str:
    """The page on which a person agrees or refuses."""
    name = escape(request.client_name)
    content = f"""<h1>{name} wants to use this hub</h1>
{_fault(form, "page")}
<dl>
{_row("Program", _program(request))}
{_row("Sends you back to", _back(request))}
{_row("It may", _may(request))}
</dl>
{_warning(request)}
<form method="post" action="/oauth/sign-in" autocomplete="off">
<input type="hidden" name="request" value="{escape(request.id)}">
<input type="hidden" name="proof" value="{escape(form.proof)}">
{_agent_field(form)}
{_ways(form)}
</form>"""
    return _frame(f"Sign in: {request.client_name}", request.base, content)


def message(title: str, text: str, base: str) -> str:
    """A page that says one thing, as a sentence."""
    text = text[:1].upper() + text[1:].removesuffix(".") + "."
    return _frame(title, base, f"<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>")


def onward(host: str, address: str, base: str) -> str:
    """A page that goes on by itself, with a link for a browser that does not."""
    text = f"""<meta http-equiv="refresh" content="0;url={escape(address)}">
<h1>On to {escape(host)}</h1>
<p><a href="{escape(address)}">Sign in there</a>, and you come back here.</p>"""
    return _frame(f"On to {host}", base, text)


def policy(*form_targets: str) -> str:
    """The Content-Security-Policy: a style of our own, and forms that end at these places."""
    return (
        f"default-src 'none'; style-src {STYLE_SOURCE}; form-action {' '.join(form_targets)};"
        " base-uri 'none'; frame-ancestors 'none'"
    )


def form_target(uri: str) -> str:
    """A redirect URI as CSP can say it: browsers hold a form's redirects to it as well."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and _PLACE.fullmatch(parts.netloc):
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"  # CSP knows no IPv6, and must not be told more by a client's words


def _frame(title: str, base: str, content: str) -> str:
    return FRAME.substitute(
        title=escape(title),
        style=STYLE,
        host=escape(urlsplit(base).netloc),
        content=content,
    )


def _row(term: str, html: str) -> str:
    return f"<div><dt>{escape(term)}</dt><dd>{html}</dd></div>"


def _program(request: Request) -> str:
    if request.client_id.startswith("https://"):
        host = escape(urlsplit(request.client_id).netloc)
        return f"{escape(request.client_name)}, as <code>{host}</code> describes it"
    return f"{escape(request.client_name)}, as it calls itself"


def _back(request: Request) -> str:
    parts = urlsplit(request.redirect_uri)
    if parts.scheme not in ("http", "https"):
        return f"the program on this computer that opens <code>{escape(parts.scheme)}:</code> links"
    where = "this computer" if is_this_machine(parts.hostname) else "another site"
    return f"<code>{escape(parts.netloc)}</code> ({where})"


def _may(request: Request) -> str:
    said = (escape(MEANINGS[Scope(scope)]) for scope in request.scopes)
    return "<ul>" + "".join(f"<li>{one}</li>" for one in said) + "</ul>"


def _warning(request: Request) -> str:
    """What the hub cannot know for the person (RFC 8252, 8.6)."""
    if urlsplit(request.redirect_uri).scheme == "https":
        text = "Agree only if you know this site and have just started this from it."
    else:
        text = (
            "Any program on your computer can claim this name."
            " Agree only if you have just started this yourself."
        )
    return f'<p class="note">{text}</p>'


def _agent_field(form: Form) -> str:
    return f"""<div class="field">
<label for="agent">Agent id it will act as</label>
<input id="agent" name="agent" value="{escape(form.agent)}" required maxlength="64"
 pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" spellcheck="false" autocapitalize="none"\
{_invalid(form, "agent")}>
{_fault(form, "agent")}
<p class="hint">Letters, digits, dot, dash and underscore. Other agents write to it by this id.</p>
</div>"""


def _ways(form: Form) -> str:
    if form.outside is None:
        return f"""{_code_field(form, needed=True)}
<div class="actions">
<button class="agree" name="decision" value="agree">Agree</button>
{_REFUSE}
</div>"""
    is_open = " open" if "code" in form.faults else ""
    return f"""<div class="actions field">
<button class="agree" name="decision" value="outside" formnovalidate>
Agree and sign in at {escape(form.outside)}</button>
{_REFUSE}
</div>
<details{is_open}>
<summary>I have a login code</summary>
{_code_field(form, needed=False)}
<div class="actions"><button name="decision" value="agree">Agree with the code</button></div>
</details>"""


_REFUSE = '<button name="decision" value="refuse" formnovalidate>Refuse</button>'


def _code_field(form: Form, *, needed: bool) -> str:
    required = " required" if needed else ""
    return f"""<div class="field">
<label for="code">Login code</label>
<input id="code" name="code" maxlength="32" spellcheck="false" autocapitalize="characters"\
{required}{_invalid(form, "code")}>
{_fault(form, "code")}
<p class="hint">Who runs the hub makes one with <code>agent-hub login-code</code>.
It is good for ten minutes, once.</p>
</div>"""


def _invalid(form: Form, field: str) -> str:
    return ' aria-invalid="true"' if field in form.faults else ""


def _fault(form: Form, field: str) -> str:
    text = form.faults.get(field)
    return "" if text is None else f'<p class="error" role="alert">{escape(text)}</p>'
