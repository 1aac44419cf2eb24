"""A trained model to ONNX graphs, and the proof that both say the same."""


def main() -> None:
    """The command `emotion-export`; where its packages are missing, it says how to get them."""
    from emotion.command_line import run_extra

    run_extra("export.__main__", "cpu,export")
