"""The REST door described in OpenAPI 3.1, from the routes and the types that serve it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from http import HTTPStatus
from types import UnionType
from typing import Any, get_args

import msgspec
from aiohttp import web

from agent_hub.core.bounds import MAX_KEY_CHARACTERS
from agent_hub.core.errors import (
    BackendUnavailable,
    BodyTooLarge,
    Forbidden,
    HubError,
    InsufficientScope,
    Internal,
    Invalid,
    MalformedJson,
    RateLimited,
    SlowBody,
    Unauthenticated,
    UnsupportedMediaType,
    WrongHost,
    WrongOrigin,
)
from agent_hub.web.gate import Access
from agent_hub.web.reply import JSON, PROBLEM_JSON, Reply
from agent_hub.web.route import Route
from agent_hub.wire.agents import AgentId
from agent_hub.wire.messages import MessageId
from agent_hub.wire.problems import STATUS, Problem

Json = dict[str, Any]

EVERYWHERE = (WrongHost, WrongOrigin, Internal)
WITH_ANY_CREDENTIAL = (Unauthenticated, RateLimited, BackendUnavailable)
WITH_CREDENTIAL = (*WITH_ANY_CREDENTIAL, Forbidden, InsufficientScope)
WITH_QUERY = (Invalid,)
WITH_BODY = (MalformedJson, Invalid, BodyTooLarge, UnsupportedMediaType, SlowBody)

ABOUT = """\
Agents register, find each other, send, ask and read. Times are RFC 3339 in UTC, such as
`2026-11-20T08:00:00.000Z`, durations are in seconds, sizes in bytes. Every refusal is a problem
(RFC 9457) with a `code` from a closed list.

A send that the hub accepted is owed to its recipient until it is acked, or expires, or was given
back too often. Delivery is at least once: a duplicate has the same `id` and `attempt` above 1.\
"""

BEARER = "bearer"
WWW_AUTHENTICATE = "WWW-Authenticate"
SCHEME: Json = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of this hub, or what signing in or the issuer of JWTs gave.",
}
SECURITY: dict[Access, list[Json]] = {
    Access.CREDENTIAL: [{BEARER: []}],
    Access.OPTIONAL: [{BEARER: []}, {}],
    Access.OPEN: [],
}
IS_ASKED = "This hub asks for a credential: `Authorization: Bearer`, followed by a token."
IS_NOT_ASKED = "This hub asks for no credential."

TAGS = {
    "agents": "Who is here",
    "messages": "Sending, asking, reading and settling",
    "operations": "For those who run the hub; never counted by the rate limit",
}

PATH_PARAMETERS: dict[str, tuple[str, Any]] = {
    "agent_id": ("The agent", AgentId),
    "message_id": ("The message", MessageId),
}

HEADER_PARAMETERS: dict[str, Json] = {
    "X-Request-Id": {
        "description": "Comes back in the answer and stands in the log. One that is not 1 to"
        " 128 of A-Z a-z 0-9 . _ - is replaced.",
        "schema": {"type": "string"},
    },
    "traceparent": {
        "description": "A W3C trace context; travels with the message. One that is not valid is"
        " ignored.",
        "schema": {"type": "string"},
    },
    "Idempotency-Key": {
        "description": "The same key with the same content gets the same answer again, and with"
        " other content a refusal. Printable characters.",
        "schema": {
            "type": "string",
            "format": "idempotency-key",
            "minLength": 1,
            "maxLength": MAX_KEY_CHARACTERS,
        },
    },
}

ANSWER_HEADERS: dict[str, Json] = {
    "X-Request-Id": {
        "description": "This request's name in the log",
        "required": True,
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "What is left to this agent, and the seconds until its bucket is full",
        "schema": {"type": "string", "examples": ['"agent";r=19;t=1']},
    },
    "RateLimit-Policy": {
        "description": "Requests a second",
        "schema": {"type": "string", "examples": ['"agent";q=10;w=1']},
    },
    "Retry-After": {
        "description": "Seconds to wait before the same call",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    WWW_AUTHENTICATE: {
        "description": "What to show",
        "schema": {"type": "string"},
    },
    "Idempotency-Replayed": {
        "description": "The same key got this answer before",
        "schema": {"const": "true"},
    },
}

_PLACE = re.compile(r"{(\w+)}")


class Document:
    """The description as one JSON text, made when it is first asked for."""

    def __init__(self, describe: Callable[[], Json]) -> None:
        self._describe = describe

    @cached_property
    def _text(self) -> bytes:
        return msgspec.json.encode(self._describe())

    async def show(self, request: web.Request) -> Reply:
        """This document."""
        return Reply(200, self._text)


def describe(routes: Sequence[Route], version: str, *, asks: bool) -> Json:
    """The document of these routes; `asks`: on a hub that asks for credentials."""
    schemas, components = _schemas(routes)
    responses: Json = {}
    paths: Json = {}
    operation_ids: set[str] = set()
    for route in routes:
        operation = _operation(route, schemas, components, responses, asks=asks)
        if operation["operationId"] in operation_ids:  # another path to the same call
            del operation["operationId"]
        else:
            operation_ids.add(operation["operationId"])
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    for query in {route.query for route in routes if route.query is not None}:
        del components[query.__name__]  # its fields stand at their calls, as parameters
    about = f"{ABOUT}\n\n{IS_ASKED if asks else IS_NOT_ASKED}"
    return {
        "openapi": "3.1.0",
        "info": {"title": "Agent Hub", "version": version, "description": about},
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": responses,
            "parameters": _parameters(),
            "headers": {
                name: header
                for name, header in ANSWER_HEADERS.items()
                if asks or name != WWW_AUTHENTICATE
            },
            **({"securitySchemes": {BEARER: SCHEME}} if asks else {}),
        },
        "security": SECURITY[Access.CREDENTIAL if asks else Access.OPEN],
    }


def _parameters() -> Json:
    """Those that many calls take, each described once."""
    in_path = {
        name: {
            "name": name,
            "in": "path",
            "required": True,
            "description": description,
            "schema": msgspec.json.schema(kind),
        }
        for name, (description, kind) in PATH_PARAMETERS.items()
    }
    in_headers = {
        name: {"name": name, "in": "header", **parameter}
        for name, parameter in HEADER_PARAMETERS.items()
    }
    return in_path | in_headers


# --- types --------------------------------------------------------------------------------


def _schemas(routes: Sequence[Route]) -> tuple[dict[int, Json], Json]:
    """The schema of each type by its identity, and the named ones that they refer to."""
    types: list[Any] = [Problem]
    for route in routes:
        types += [kind for kind in (route.query, route.body) if kind is not None]
        for answer in route.answers.values():
            types += _alternatives(answer)
    found, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    for schema in components.values():
        schema.pop("title", None)  # its name once more
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return {id(kind): schema for kind, schema in zip(types, found, strict=True)}, components


def _alternatives(answer: Any) -> tuple[Any, ...]:
    if answer is None:
        return ()
    return get_args(answer) if isinstance(answer, UnionType) else (answer,)


# --- one call -----------------------------------------------------------------------------


def _operation(
    route: Route, schemas: dict[int, Json], components: Json, responses: Json, *, asks: bool
) -> Json:
    operation: Json = {
        "operationId": getattr(route.handler, "__name__", route.path),
        "tags": [route.tag],
        "summary": route.summary,
    }
    about = inspect.getdoc(route.handler)
    if about is not None and about.rstrip(".") != route.summary:
        operation["description"] = about
    operation["parameters"] = [
        *_in_path(route),
        *_in_query(route, components),
        *_in_headers(route),
    ]
    if route.body is not None:
        content = {JSON: {"schema": schemas[id(route.body)]}}
        operation["requestBody"] = {"required": _is_needed(route), "content": content}
    if asks and route.access is not Access.CREDENTIAL:
        operation["security"] = SECURITY[route.access]
    operation["responses"] = _successes(route, schemas) | _refusals(route, responses, asks=asks)
    return operation


def _is_needed(route: Route) -> bool:
    """An empty body reads as `{}`."""
    try:
        msgspec.json.decode(b"{}", type=route.body)
    except msgspec.ValidationError:
        return True
    return False


def _in_path(route: Route) -> Iterable[Json]:
    return _references(_PLACE.findall(route.path))


def _in_query(route: Route, components: Json) -> Iterable[Json]:
    if route.query is None:
        return
    schema = components[route.query.__name__]
    for name, given in schema["properties"].items():
        # In a URL there is no null: what may be left out is left out.
        kind = dict(given)
        alternatives = [one for one in kind.pop("anyOf", ()) if one != {"type": "null"}]
        if alternatives:
            [alternative] = alternatives
            kind = {**alternative, **kind}
            kind.pop("default", None)
        yield {
            "name": name,
            "in": "query",
            **({"required": True} if name in schema.get("required", ()) else {}),
            "description": kind.pop("description", ""),
            "schema": kind,
        }


def _in_headers(route: Route) -> Iterable[Json]:
    names = ["X-Request-Id"]
    if route.idempotent:
        names += ["Idempotency-Key", "traceparent"]
    return _references(names)


def _references(names: Iterable[str]) -> list[Json]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


# --- answers ------------------------------------------------------------------------------


def _successes(route: Route, schemas: dict[int, Json]) -> Json:
    names = ["X-Request-Id"]
    if RateLimited in route.refusals:
        names += ["RateLimit", "RateLimit-Policy"]
    if route.idempotent:
        names.append("Idempotency-Replayed")
    answers: Json = {}
    for status, kind in route.answers.items():
        answers[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": _headers(names),
        }
        shapes = [schemas[id(one)] for one in _alternatives(kind)]
        if shapes:
            schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
            answers[str(status)]["content"] = {
                media_type: {"schema": schema} for media_type in route.media_types
            }
    return answers


def _refusals(route: Route, responses: Json, *, asks: bool) -> Json:
    """References by status; calls that can give the same codes share one description."""
    kinds: list[type[HubError]] = [*EVERYWHERE, *route.refusals]
    if asks and route.access is not Access.OPEN:
        kinds += WITH_CREDENTIAL if route.access is Access.CREDENTIAL else WITH_ANY_CREDENTIAL
    kinds += WITH_QUERY if route.query is not None else ()
    kinds += WITH_BODY if route.body is not None else ()
    by_status: dict[int, list[type[HubError]]] = {}
    for kind in sorted(set(kinds), key=lambda kind: kind.code):
        by_status.setdefault(STATUS[kind.code], []).append(kind)
    answers: Json = {}
    for status, refusals in sorted(by_status.items()):
        name = ".".join(kind.code for kind in refusals)
        responses.setdefault(name, _problem(refusals))
        answers[str(status)] = {"$ref": f"#/components/responses/{name}"}
    return answers


def _problem(refusals: list[type[HubError]]) -> Json:
    names = ["X-Request-Id"]
    if STATUS[refusals[0].code] in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        names.append("Retry-After")
    if RateLimited in refusals:
        names += ["RateLimit", "RateLimit-Policy"]
    if {Unauthenticated, InsufficientScope} & set(refusals):
        names.append(WWW_AUTHENTICATE)
    schema = {
        "$ref": f"#/components/schemas/{Problem.__name__}",
        "properties": {"code": {"enum": [kind.code for kind in refusals]}},
    }
    return {
        "description": "; ".join(f"{kind.title} (`{kind.code}`)" for kind in refusals),
        "headers": _headers(names),
        "content": {PROBLEM_JSON: {"schema": schema}},
    }


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
