"""What the package says of itself: its version, and how its extras are had."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version; empty where the package runs from a folder without being installed."""
    try:
        return version("emotion-monitor")
    except PackageNotFoundError:
        return ""


def install_line(extra: str) -> str:
    """How an extra is had: the package is on no index, and its versions are pinned."""
    return f"pip install -c constraints.txt '.[{extra}]' in the project's folder"
