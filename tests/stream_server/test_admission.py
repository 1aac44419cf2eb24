"""Slots, pace, connections, and whose they are."""

import pytest

from emotion.errors import MessageError
from stream_server.admission import MAX_ADDRESSES, Admission, Doors, Pace, Proxies
from stream_server.auth import Principal, Role

DESK = Principal("desk", frozenset(Role), max_sessions=2)
OTHER = Principal("other", frozenset(Role))


def test_a_slot_comes_back_also_after_a_failure() -> None:
    admission = Admission(1, max_per_address=1)
    with pytest.raises(ZeroDivisionError), admission.slot(DESK, "a"):
        assert admission.active == 1
        raise ZeroDivisionError
    assert admission.active == 0
    with admission.slot(DESK, "a"):
        pass
    assert not admission._of_name and not admission._of_address  # nothing is kept of who left


def test_a_token_has_no_more_sessions_than_its_own() -> None:
    refused: list[str] = []
    admission = Admission(10, refused=refused.append)
    with admission.slot(DESK, "a"), admission.slot(DESK, "b"):
        with pytest.raises(MessageError, match="all 2 sessions of this token") as error:
            with admission.slot(DESK, "c"):
                raise AssertionError
        with admission.slot(OTHER, "a"):
            pass
    assert error.value.code == "at_capacity" and refused == ["token"] and admission.active == 0


def test_an_address_has_no_more_sessions_than_its_own() -> None:
    refused: list[str] = []
    admission = Admission(10, max_per_address=1, refused=refused.append)
    with admission.slot(DESK, "a"), admission.slot(OTHER, "b"), admission.slot(), admission.slot():
        with pytest.raises(MessageError, match="all 1 sessions of this address"):
            with admission.slot(OTHER, "a"):
                raise AssertionError
    assert refused == ["address"]


def test_refusals_are_counted_by_reason() -> None:
    refused: list[str] = []
    admission = Admission(1, refused=refused.append)
    with admission.slot(), pytest.raises(MessageError), admission.slot():
        raise AssertionError
    admission.draining = True
    with pytest.raises(MessageError, match="shutting down"), admission.slot():
        raise AssertionError
    assert refused == ["at_capacity", "draining"]


def test_an_address_is_held_to_its_pace_and_no_other() -> None:
    pace = Pace(60)
    assert all(pace.allows("a", 0.0) for _ in range(60))
    assert not pace.allows("a", 0.0) and pace.allows("b", 0.0)
    assert pace.allows("a", 2.0) and pace.allows("a", 2.0) and not pace.allows("a", 2.0)
    assert sum(pace.allows("a", 10_000.0) for _ in range(100)) == 60


def test_no_pace_is_no_limit_and_nothing_kept() -> None:
    pace = Pace(0)
    assert all(pace.allows("a", 0.0) for _ in range(1000)) and len(pace) == 0


def test_the_address_not_heard_of_for_longest_is_forgotten() -> None:
    pace = Pace(1)
    for number in range(MAX_ADDRESSES):
        pace.allows(str(number), 0.0)
    assert not pace.allows("0", 0.0)  # heard of again
    pace.allows("new", 0.0)
    assert len(pace) == MAX_ADDRESSES
    assert not pace.allows("0", 0.0) and pace.allows("1", 0.0)


def test_doors_count_in_and_out() -> None:
    refused: list[str] = []
    doors = Doors(2, refused.append)
    assert [doors.enter() for _ in range(3)] == [True, True, False]
    doors.leave()
    doors.leave()
    assert doors.enter() and doors.open == 2 and refused == ["connections"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("1.2.3.4", [], "1.2.3.4"),
        ("1.2.3.4", ["9.9.9.9"], "1.2.3.4"),  # a stranger's word
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", ["9.9.9.9:1234"], "9.9.9.9"),
        ("10.0.0.1", ["[2001:db8::5]:1234"], "2001:db8::/64"),
        ("10.0.0.1", ["6.6.6.6, 9.9.9.9"], "9.9.9.9"),  # what the client claimed before
        ("10.0.0.1", ["6.6.6.6", "9.9.9.9, 10.0.0.2"], "9.9.9.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["9.9.9.9, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["9.9.9.9, "], "10.0.0.1"),
        ("10.0.0.1", [",".join(["10.0.0.9"] * 10_000)], "10.0.0.9"),
        ("::ffff:10.0.0.1", ["::ffff:9.9.9.9"], "9.9.9.9"),
        ("2001:db8::1:2:3:4", [], "2001:db8::/64"),
        ("2001:db8::5", [], "2001:db8::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("", [], ""),
        ("/run/socket", ["9.9.9.9"], "/run/socket"),
    ],
)
def test_only_a_trusted_proxy_says_who_came(peer: str, forwarded: list[str], address: str) -> None:
    assert Proxies(["10.0.0.0/8"]).client(peer, forwarded) == address
