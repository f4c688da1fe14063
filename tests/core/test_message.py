"""Ids, types, sizes and cursors."""

from __future__ import annotations

import pytest

from agent_hub.core.errors import Invalid
from agent_hub.core.message import (
    Cursor,
    Delivery,
    Draft,
    Message,
    check_agent_id,
    is_agent_id,
    is_message_id,
    is_sendable_type,
    is_traceparent,
    new_message_id,
)


def test_a_message_id_is_minted_from_128_random_bits() -> None:
    minted = {new_message_id() for _ in range(1_000)}
    assert len(minted) == 1_000
    assert all(is_message_id(message_id) for message_id in minted)


@pytest.mark.parametrize(
    "value",
    ["", "m_", "m_" + "x" * 21, "m_" + "x" * 23, "n_" + "x" * 22, "m_" + "é" * 22, "m_" + "+" * 22,
     "m_" + "x" * 22 + "\n", " m_" + "x" * 22],
)  # fmt: skip
def test_what_is_no_message_id(value: str) -> None:
    assert not is_message_id(value)


@pytest.mark.parametrize("value", ["a", "A", "0", "a.b_c-d", "x" * 64, "hub2", "all", "Hub"])
def test_what_may_name_an_agent(value: str) -> None:
    assert is_agent_id(value)
    check_agent_id(value, "/to")


@pytest.mark.parametrize(
    "value",
    ["", "x" * 65, ".a", "-a", "_a", ".", "..", "a b", "a/b", "é", "a\n", "ALL", "hub", "a\x00",
     "a\u200b", "٣"],
)  # fmt: skip
def test_what_may_not_name_an_agent(value: str) -> None:
    assert not is_agent_id(value)
    with pytest.raises(Invalid) as refused:
        check_agent_id(value, "/to")
    assert [fault.pointer for fault in refused.value.faults] == ["/to"]


@pytest.mark.parametrize(
    "value", ["message", "a", "task_proposal", "x.y-z_0", "x" * 64, "hub", "agent", "hubs.x"]
)
def test_what_a_client_may_send_as_a_type(value: str) -> None:
    assert is_sendable_type(value)


@pytest.mark.parametrize(
    "value",
    ["", "Message", "User Story", "0a", "_a", "x" * 65, "é", "a\n", "hub.undelivered", "hub.",
     "agent.joined"],
)  # fmt: skip
def test_what_a_client_may_not_send_as_a_type(value: str) -> None:
    assert not is_sendable_type(value)


@pytest.mark.parametrize(
    ("value", "legal"),
    [
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", True),
        ("00-" + "A" * 32 + "-" + "b" * 16 + "-01", False),
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01\n", False),
        ("00-" + "0" * 32 + "-" + "b" * 16 + "-01", False),
        ("00-" + "a" * 32 + "-" + "0" * 16 + "-01", False),
        ("ff-" + "a" * 32 + "-" + "b" * 16 + "-01", False),
        ("fe-" + "0" * 31 + "1-" + "0" * 15 + "1-00", True),
        ("", False),
    ],
)
def test_what_is_a_traceparent(value: str, legal: bool) -> None:
    assert is_traceparent(value) is legal


def test_size_is_in_bytes_of_utf_8() -> None:
    assert Draft(sender="a", to="b").size == 2
    assert Draft(sender="a", to="b", text="éa", payload=b'{"x":1}').size == 10
    message = Message("m", 1, "a", "b", "message", "é日", b"{}", None, None, False, 100.0, 20.0)
    assert message.size == 7
    assert message.expires_at == 120.0


def test_a_cursor_is_read_as_it_was_written() -> None:
    cursor = Cursor("0123456789abcdef", 42)
    assert str(cursor) == "0123456789abcdef:42"
    assert Cursor.parse(str(cursor), "?since") == cursor


def test_a_delivery_carries_its_cursor() -> None:
    message = Message("m", 7, "a", "b", "message", "", b"{}", None, None, False, 0.0, 1.0)
    assert str(Delivery(message, "e1", 1).cursor) == "e1:7"


@pytest.mark.parametrize(
    "value",
    ["", ":", "e", "e:", ":1", "e:-1", "e:+1", "e:1.0", "e: 1", "e:1:2", "é!:1", "e:٣", "e:²",
     "x" * 33 + ":1", "e:" + "9" * 19],
)  # fmt: skip
def test_a_cursor_that_no_hub_wrote_is_refused(value: str) -> None:
    with pytest.raises(Invalid) as refused:
        Cursor.parse(value, "?since")
    assert [fault.pointer for fault in refused.value.faults] == ["?since"]


def test_the_furthest_cursor_is_read() -> None:
    assert Cursor.parse("x" * 32 + ":" + "9" * 18, "?since").seq == 10**18 - 1
