"""The checker of the load finds each kind of fault: a test that it passes says something."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.load.checker import Findings
from tests.acceptance.load.records import Record


def accepted(number: int, **facts: Any) -> Record:
    place = {"to": "reader-0", "epoch": "e", "seq": number, "text": f"0:{number}"}
    return {"kind": "accepted", "id": f"m{number}", "at": 2.0, "began": 1.0, **place, **facts}


def read(number: int, **facts: Any) -> Record:
    return {**accepted(number), "kind": "read", "at": 3.0 + number, "attempt": 1, **facts}


def sound() -> list[Record]:
    """Two messages, the first of which was read twice."""
    records = [accepted(1), accepted(2), read(1), read(2), read(1, attempt=2)]
    return [*records, {"kind": "acked", "ids": ["m1", "m2"]}]


def test_what_is_as_it_should_be_passes() -> None:
    findings = Findings(sound())
    findings.check()
    findings.check_acked()
    assert findings.read_again == 1
    assert findings.delays() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("fault", "records"),
    [
        ("lost", [accepted(3)]),
        ("unexpected", [read(3)]),
        ("two sends have one id", [accepted(2)]),
        ("one send was accepted twice", [accepted(3, text="0:1"), read(3, text="0:1")]),
        ("a hole", [accepted(4), read(4)]),
        ("a hole", [accepted(3, seq=2), read(3, seq=2)]),
        ("an epoch changed", [accepted(3, epoch="f", seq=1), read(3, epoch="f", seq=1)]),
        ("text", [accepted(3), read(3, text="0:1")]),
        ("reader-1", [accepted(3), read(3, to="reader-1")]),
        ("a duplicate that does not say so", [read(2)]),
        ("a duplicate that does not say so", [accepted(3), read(3, attempt=2), read(3)]),
        ("a first delivery out of order", [accepted(3), read(3, at=1.0)]),
    ],
)
def test_each_fault_is_found(fault: str, records: list[Record]) -> None:
    with pytest.raises(AssertionError, match=fault):
        Findings(sound() + records).check()


def test_a_message_without_an_acknowledgement_is_found() -> None:
    with pytest.raises(AssertionError, match="never acked"):
        Findings([*sound(), accepted(3), read(3)]).check_acked()
