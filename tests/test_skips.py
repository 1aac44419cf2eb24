"""A test that CI should be able to run must not be skipped there."""

from pathlib import Path

import pytest

CONFTEST = (Path(__file__).parents[1] / "conftest.py").read_text()
MODULE = "import pytest\n{body}\ndef test_other(): pass\n"
IN_TEST = 'def test_it(): pytest.skip("{reason}")'
IN_MODULE = 'pytest.skip("{reason}", allow_module_level=True)'
MARKED = '@pytest.mark.skipif(True, reason="{reason}")\ndef test_it(): pass'


@pytest.mark.parametrize("body", [IN_TEST, IN_MODULE, MARKED])
@pytest.mark.parametrize(
    ("reason", "switch", "failed"),
    [
        ("no recordings", "EMOTION_CI=1", True),
        ("no recordings", "CI=true", True),
        ("no recordings", "EMOTION_CI=", False),
        ("not in CI: no GPU", "EMOTION_CI=1", False),
    ],
)
def test_a_skip_without_an_excuse_fails_in_ci_only(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    reason: str,
    switch: str,
    failed: bool,
) -> None:
    for name in ("EMOTION_CI", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(*switch.split("="))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(MODULE.format(body=body.format(reason=reason)))
    outcomes = pytester.runpytest("-p", "no:asyncio", "-p", "no:hypothesispytest").parseoutcomes()
    assert outcomes.get("skipped", 0) == (not failed)
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == failed


def test_an_expected_failure_is_no_skip(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOTION_CI", "1")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("import pytest\n@pytest.mark.xfail\ndef test_it(): assert False")
    outcomes = pytester.runpytest("-p", "no:asyncio", "-p", "no:hypothesispytest").parseoutcomes()
    assert outcomes == {"xfailed": 1}
