"""The closed list of codes: each is one class, and no class has another."""

from __future__ import annotations

import pytest

from agent_hub.core.errors import Forbidden, HubError, Invalid, MethodNotAllowed
from tests.codes import CODES

RETRYABLE = {
    "slow_body",
    "rate_limited",
    "inbox_full",
    "sender_share",
    "too_many_waits",
    "too_many_inboxes",
    "backend_unavailable",
    "draining",
}


def refusals(base: type[HubError] = HubError) -> list[type[HubError]]:
    below = base.__subclasses__()
    return below + [each for one in below for each in refusals(one)]


def test_each_code_of_the_closed_list_has_exactly_one_class() -> None:
    assert sorted(refusal.code for refusal in refusals()) == sorted(CODES)


def test_each_refusal_has_a_title_of_its_own() -> None:
    titles = [refusal.title for refusal in refusals()]
    assert len(set(titles)) == len(titles)
    assert all(titles)


def test_what_may_succeed_later_says_so() -> None:
    assert {refusal.code for refusal in refusals() if refusal.retryable} == RETRYABLE


def test_a_fault_names_its_place() -> None:
    refusal = Invalid.at("/to", "nobody")
    assert refusal.detail == str(refusal) == "/to: nobody"
    assert refusal.faults == (("/to", "nobody"),)
    assert refusal.retry_after is None


def test_a_wrong_method_says_what_is_allowed() -> None:
    assert MethodNotAllowed("no", allowed=("GET",)).allowed == ("GET",)


@pytest.mark.parametrize("code", ["insufficient_scope", "wrong_origin"])
def test_kinds_of_forbidden_are_forbidden(code: str) -> None:
    assert code in {refusal.code for refusal in refusals(Forbidden)}
