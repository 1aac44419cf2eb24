"""In CI no test may be skipped for want of something that CI should have installed.

A skip whose reason begins with "needs " names something that can be installed or fetched: a package, a
program, recordings. Elsewhere it is a skip; with EMOTION_CI=1 or CI=true it is a failure. What cannot
be had there (a GPU) gives its reason in other words.
"""

import os
from collections.abc import Generator

import pytest

STRICT = os.environ.get("EMOTION_CI") == "1" or os.environ.get("CI") == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_missing(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_missing(report)
    return report


def _refuse_missing(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (STRICT and report.skipped and isinstance(report.longrepr, tuple)):
        return
    path, line, reason = report.longrepr
    if reason.removeprefix("Skipped: ").startswith("needs "):
        report.outcome = "failed"
        report.longrepr = f"{path}:{line}: {reason} (CI installs all that tests need: .ci/run)"
