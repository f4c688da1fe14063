"""What the description says in words, for schemathesis to make values of (loaded by its runs)."""

from __future__ import annotations

from secrets import token_hex
from string import hexdigits
from typing import Any

import schemathesis
from hypothesis import strategies as st

from agent_hub.core.agent import MAX_SESSION_ID_CHARACTERS
from agent_hub.core.message import ALL, new_message_id

KEY_BYTES = 24
EPOCHS = st.text(hexdigits, min_size=16, max_size=16)

schemathesis.openapi.format("message-id", st.builds(new_message_id))
schemathesis.openapi.format("cursor", st.builds("{}:{}".format, EPOCHS, st.integers(0, 10**6)))
schemathesis.openapi.format(
    "label",
    st.text(
        st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")),
        min_size=1,
        max_size=MAX_SESSION_ID_CHARACTERS,
    ),
)
schemathesis.openapi.format("idempotency-key", st.builds(token_hex, st.just(KEY_BYTES)))


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: Any
) -> None:
    """A good key is used once: with other content it is refused, as it should be."""
    if len(case.headers.get("Idempotency-Key") or "") == 2 * KEY_BYTES:
        case.headers["Idempotency-Key"] = token_hex(KEY_BYTES)


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """What the hub refuses and JSON Schema has no words for."""
    if not isinstance(body, dict):
        return body
    if isinstance(limit := body.get("limit"), float) and limit.is_integer():
        return {**body, "limit": int(limit)}  # 21.0 is an integer there
    if body.get("to") in (body.get("from"), ALL):
        return {name: value for name, value in body.items() if name != "wait"}
    return body
