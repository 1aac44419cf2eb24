"""The PyTorch pipeline: recordings to a trained model."""


def main() -> None:
    """The command `emotion-train`; where its packages are missing, it says how to get them."""
    from emotion.command_line import run_extra

    run_extra("train.__main__", "train")
