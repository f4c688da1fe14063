"""Compares what all load processes wrote: what was accepted was read, in order, and no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import quantiles

from tests.acceptance.load.records import Record


class Findings:
    """All records, put together; each check raises AssertionError with what is wrong."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.accepted: dict[str, Record] = {}
        self.read: dict[str, list[Record]] = defaultdict(list)
        self.acked: set[str] = set()
        self.refused: list[Record] = []
        self.opened: list[Record] = []
        for record in records:
            self._take(record)

    def _take(self, record: Record) -> None:
        match record["kind"]:
            case "accepted":
                assert record["id"] not in self.accepted, "two sends have one id"
                self.accepted[record["id"]] = record
            case "read":
                self.read[record["id"]].append(record)
            case "acked":
                self.acked.update(record["ids"])
            case "refused":
                self.refused.append(record)
            case "opened":
                self.opened.append(record)

    @property
    def read_again(self) -> int:
        return sum(len(reads) - 1 for reads in self.read.values())

    def check(self) -> None:
        """Nothing lost, nothing that nobody sent, no hole, no silent duplicate, all in order."""
        self._check_lost()
        self._check_places()
        self._check_attempts()

    def check_acked(self) -> None:
        """Where readers ack by hand: no message was left without."""
        assert self.accepted.keys() - self.acked == set(), "never acked"

    def _check_lost(self) -> None:
        assert self.accepted.keys() - self.read.keys() == set(), "lost"
        assert self.read.keys() - self.accepted.keys() == set(), "unexpected"
        for message_id, sent in self.accepted.items():
            for read in self.read[message_id]:
                for fact in ("to", "epoch", "seq", "text"):
                    assert read[fact] == sent[fact], (read, sent)
        texts = [sent["text"] for sent in self.accepted.values()]
        assert len(texts) == len(set(texts)), "one send was accepted twice"

    def _check_places(self) -> None:
        """The numbers of an inbox are dense, and it never began anew."""
        seqs = defaultdict(list)
        for sent in self.accepted.values():
            seqs[sent["to"], sent["epoch"]].append(sent["seq"])
        assert len(seqs) == len({to for to, _ in seqs}), "an epoch changed"
        for place, numbers in seqs.items():
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), f"a hole in {place}"

    def _check_attempts(self) -> None:
        last: dict[str, int] = defaultdict(int)
        for reads in self.read.values():
            firsts = [read for read in reads if read["attempt"] == 1]
            assert len(firsts) <= 1, "a duplicate that does not say so"
            assert all(read["attempt"] > 1 for read in reads[1:]), (
                "a duplicate that does not say so"
            )
        firsts = [read for reads in self.read.values() for read in reads if read["attempt"] == 1]
        for read in sorted(firsts, key=lambda read: float(read["at"])):
            assert read["seq"] > last[read["to"]], "a first delivery out of order"
            last[read["to"]] = read["seq"]

    def delays(self) -> list[float]:
        """Seconds from the first try of each send to its first reading."""
        return [self.read[i][0]["at"] - sent["began"] for i, sent in self.accepted.items()]

    def percentile(self, percent: int) -> float:
        """Of the delays, in seconds."""
        return quantiles(self.delays(), n=100)[percent - 1]
