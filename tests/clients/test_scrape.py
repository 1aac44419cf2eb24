"""What is read out of a server's metrics."""

import pytest

from clients.connect import Access
from clients.scrape import Usage, fetch, median, usage_in, value

TEXT = """# HELP process_cpu_seconds_total Time
process_cpu_seconds_total 12.5
windows_total{result="inferred"} 40.0
windows_total{result="silent"} 1e+03
judged_bucket{le="0.025"} 0.0
judged_bucket{le="0.05"} 4.0
judged_bucket{le="0.1"} 20.0
judged_bucket{le="+Inf"} 20.0
judged_count 20.0
slow_bucket{le="0.1"} 1.0
slow_bucket{le="+Inf"} 9.0
slow_count 9.0
none_bucket{le="0.1"} 0.0
none_bucket{le="+Inf"} 0.0
none_count 0.0
broken 1.2.3
"""


def test_a_value_is_found_by_its_name_and_labels() -> None:
    assert value(TEXT, 'windows_total{result="silent"}') == 1000
    assert value(TEXT, 'windows_total{result="skipped"}') is None
    assert value(TEXT, "windows_total") is value(TEXT, "broken") is None
    assert usage_in(TEXT) == Usage(cpu_s=12.5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("judged", 0.05 + 6 / 16 * 0.05), ("slow", None), ("none", None), ("absent", None)],
)
def test_a_median_is_interpolated_in_its_bucket(name: str, expected: float | None) -> None:
    assert median(TEXT, name) == (None if expected is None else pytest.approx(expected))


async def test_nobody_there_says_nothing(unused_tcp_port: int) -> None:
    assert await fetch(Access(f"ws://127.0.0.1:{unused_tcp_port}"), "/metrics") == ""


async def test_the_real_server_says_what_is_looked_for(server: str) -> None:
    access = Access(server)
    assert '"sessions"' in await fetch(access, "/v1/info")
    assert await fetch(access, "/nothing") == ""
    assert value(await fetch(access, "/metrics"), "emotion_monitor_sessions") is not None
