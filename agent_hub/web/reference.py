"""The OpenAPI document as a page to read: no script, nothing from the network (docs/decisions)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from aiohttp import web

from agent_hub.web.reply import Reply

Json = dict[str, Any]

BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "format": "format {}",
}
UNSAID = ("minLength", 1)
"""That a word is not empty goes without saying."""

_CODE = re.compile(r"`([^`]+)`")
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class Reference:
    """The page, made when first asked for, of the document that the hub also serves as JSON."""

    def __init__(self, describe: Callable[[], Json]) -> None:
        self._describe = describe

    @cached_property
    def _made(self) -> tuple[bytes, str]:
        template = files("agent_hub.web").joinpath("reference.html").read_text(encoding="utf-8")
        page = _Page(self._describe())
        text = template.replace("<!-- contents -->", page.contents())
        return text.replace("<!-- calls -->", page.calls()).encode(), policy(template)

    async def show(self, request: web.Request) -> Reply:
        """The page."""
        text, allowed = self._made
        reply = Reply(200, text, "text/html; charset=utf-8")
        reply.add("Content-Security-Policy", allowed)
        reply.add("X-Content-Type-Options", "nosniff")
        reply.add("Referrer-Policy", "no-referrer")
        return reply


def policy(template: str) -> str:
    """The page's one style sheet and nothing else: no script, no picture, no frame, no form."""
    (style,) = _STYLE.findall(template)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'"
    )


class _Page:
    """The parts of the page. Whatever comes from the document is escaped where it is written."""

    def __init__(self, document: Json) -> None:
        self._document = document

    def contents(self) -> str:
        """What there is, with links to it."""
        lines = ['<p><a href="/">Agent Hub</a> · <a href="/api/v1/openapi.json">OpenAPI</a></p>']
        for tag in self._document["tags"]:
            lines.append(f"<p><strong>{escape(tag['name'])}</strong></p><ul>")
            lines += [
                f'<li><a href="#{_anchor(method, path)}">{_method(method)}'
                f"<code>{escape(path)}</code></a></li>"
                for method, path, _ in self._operations(tag["name"])
            ]
            lines.append("</ul>")
        names = self._document["components"]["schemas"]
        shapes = "".join(f'<li><a href="#{escape(name)}">{escape(name)}</a></li>' for name in names)
        lines.append(f'<p><strong>shapes</strong></p><ul class="shapes">{shapes}</ul>')
        return "\n".join(lines)

    def calls(self) -> str:
        """Every call, and the shapes of what is sent and answered."""
        info = self._document["info"]
        version = escape(info["version"])
        parts = [f"<h1>{escape(info['title'])} <small>{version}, the REST calls</small></h1>"]
        parts.append(_paragraphs(info["description"]))
        for tag in self._document["tags"]:
            parts.append(f"<h2>{escape(tag['name'])}</h2>{_paragraphs(tag['description'])}")
            parts += [self._call(*one) for one in self._operations(tag["name"])]
        parts.append("<h2>shapes</h2><p>What is sent and what is answered</p>")
        schemas = self._document["components"]["schemas"]
        parts += [self._shape(name, schema) for name, schema in schemas.items()]
        return "\n".join(parts)

    def _operations(self, tag: str) -> Iterator[tuple[str, str, Json]]:
        for path, item in self._document["paths"].items():
            for method, operation in item.items():
                if tag in operation["tags"]:
                    yield method, path, operation

    def _call(self, method: str, path: str, operation: Json) -> str:
        parts = [
            f'<article id="{_anchor(method, path)}">',
            f"<h3>{_method(method)}<code>{escape(path)}</code></h3>",
            _paragraphs(operation["summary"]),
            _paragraphs(operation.get("description", "")),
            _paragraphs(self._credential(operation)),
            _table("Parameters", map(self._parameter, operation["parameters"])),
        ]
        if "requestBody" in operation:
            (body,) = operation["requestBody"]["content"].values()
            needed = "" if operation["requestBody"]["required"] else "may be left out"
            parts.append(_table("Body", [("JSON", _type(body["schema"]), needed)]))
        parts.append(_table("Answers", map(self._answer, operation["responses"].items())))
        return "".join([*parts, "</article>"])

    def _credential(self, operation: Json) -> str:
        """What to show; nothing is said where no call asks for anything."""
        asked = self._document["security"]
        if not asked:
            return ""
        one_of = operation.get("security", asked)
        if not one_of:
            return "Needs no credential."
        return "A credential may be left out." if {} in one_of else "Needs a credential."

    def _parameter(self, given: Json) -> tuple[str, str, str]:
        parameter = self._resolved(given)
        place = f"in the {parameter['in']}" + (", needed" if parameter.get("required") else "")
        about = _sentences(parameter["description"], _bounds(parameter["schema"]))
        return _named(parameter["name"], place), _type(parameter["schema"]), about

    def _answer(self, given: tuple[str, Json]) -> tuple[str, str, str]:
        status, answer = given[0], self._resolved(given[1])
        kinds = answer.get("content", {}).items()
        # A refusal is a problem with one of a few codes, which its description names.
        shapes = {_type(content["schema"]): kind for kind, content in kinds}
        names = ", ".join(shapes) or '<span class="quiet">nothing</span>'
        return f"<code>{escape(status)}</code>", names, _inline(answer["description"])

    def _shape(self, name: str, schema: Json) -> str:
        needed = schema.get("required", ())
        rows = [
            (
                _named(field, "" if field in needed else "optional"),
                _type(kind),
                _sentences(_about(kind), _bounds(kind)),
            )
            for field, kind in schema.get("properties", {}).items()
        ]
        heading = f'<article id="{escape(name)}"><h3>{escape(name)}</h3>'
        return f"{heading}{_paragraphs(schema['description'])}{_table('Fields', rows)}</article>"

    def _resolved(self, thing: Json) -> Json:
        """What a reference stands for."""
        while "$ref" in thing:
            place: Any = self._document
            for step in thing["$ref"].removeprefix("#/").split("/"):
                place = place[step]
            thing = place
        return thing


# --- pieces of HTML -----------------------------------------------------------------------


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{re.sub(r'[^A-Za-z0-9]+', '-', path)}".rstrip("-"))


def _method(method: str) -> str:
    return f'<span class="method {escape(method)}">{escape(method.upper())}</span> '


def _named(name: str, about: str) -> str:
    return f'<code>{escape(name)}</code> <span class="quiet">{escape(about)}</span>'


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_inline(one)}</p>" for one in text.split("\n\n") if one)


def _table(heading: str, rows: Iterable[tuple[str, str, str]]) -> str:
    """Three columns; nothing at all without rows."""
    lines = "".join(f"<tr><td>{a}</td><td>{b}</td><td>{c}</td></tr>" for a, b, c in rows)
    return f'<h4>{heading}</h4><div class="scroll"><table>{lines}</table></div>' if lines else ""


def _sentences(*texts: str) -> str:
    return "; ".join(_inline(text) for text in texts if text)


# --- schemas in words ---------------------------------------------------------------------


def _alternatives(schema: Json) -> list[Json]:
    """The schemas of which one holds; itself, when it offers no choice."""
    given = schema.get("anyOf", ()) if "$ref" not in schema else ()
    return [one for one in given if "required" not in one] or [schema]


def _type(schema: Json) -> str:
    """What a value is, in a few words, as HTML."""
    words = [_one_type(one) for one in _alternatives(schema)]
    return " or ".join(dict.fromkeys(words))


def _one_type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    kinds = schema.get("type", "anything")
    return escape(" or ".join(kinds) if isinstance(kinds, list) else kinds)


def _about(schema: Json) -> str:
    """The description, which stands beside a choice or inside it."""
    inside = (one.get("description", "") for one in _alternatives(schema))
    return schema.get("description", "") or next(filter(None, inside), "")


def _bounds(schema: Json) -> str:
    """The limits of a value, its default and an example."""
    said = [
        text.format(f"{one[name]:g}" if isinstance(one[name], float) else one[name])
        for one in _alternatives(schema)
        for name, text in BOUNDS.items()
        if name in one and (name, one[name]) != UNSAID
    ]
    if schema.get("default") not in (None, [], {}):
        default = schema["default"]
        said.append(
            f"default `{default:g}`" if isinstance(default, float) else f"default `{default}`"
        )
    for one in _alternatives(schema):
        said += [f"such as `{example}`" for example in one.get("examples", ())]
    return ", ".join(said)
