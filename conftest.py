"""In CI no test may be skipped for want of something that CI should have installed.

Elsewhere a test without its package, program or recordings is skipped with a reason; with EMOTION_CI=1
or CI=true that is a failure. What cannot be had there, such as a GPU, gives a reason that begins with
"not in CI: ".
"""

import os
from collections.abc import Generator

import pytest

pytest_plugins = ["pytester"]  # for the test of this file

EXCUSE = "not in CI: "


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse(report)
    return report


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Makes a failure of a skip without an excuse."""
    in_ci = os.environ.get("EMOTION_CI") == "1" or os.environ.get("CI") == "true"
    if not (in_ci and report.skipped and isinstance(report.longrepr, tuple)):
        return  # an expected failure is `skipped` too, and has no such reason
    path, line, reason = report.longrepr
    if not reason.removeprefix("Skipped: ").startswith(EXCUSE):
        report.outcome = "failed"
        report.longrepr = f"{path}:{line}: {reason} (.ci/run installs what tests need)"
