"""The version of this package."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version; empty where the package runs from a folder without being installed."""
    try:
        return version("emotion-monitor")
    except PackageNotFoundError:
        return ""
