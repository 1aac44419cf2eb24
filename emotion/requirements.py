"""What a stream asks of the model that judges it."""

from emotion.adapt import Baseline
from emotion.contract import Contract
from emotion.errors import MessageError
from emotion.messages import Start


def adapts(start: Start, prior: Baseline | None) -> bool:
    """Whether a stream adapts: where it says nothing about that, it does if the model can.

    Args:
        start: fulfils the requirements.
        prior: the model's, as `Engine.prior` gives it.
    """
    return prior is not None and start.adapt is not False


def check_requirements(start: Start, contract: Contract, prior: Baseline | None) -> None:
    """Refuses what the model cannot do.

    Raises:
        MessageError: `unsupported`.
    """
    if start.adapt and prior is None:
        raise MessageError(
            "unsupported",
            f"start: adapt is true, but the model '{contract.name}' cannot adapt: "
            "it has no classifier that takes a channel's statistics; leave adapt out",
        )
    longest_s = contract.max_samples / contract.sample_rate
    if start.window_s > longest_s:
        raise MessageError(
            "unsupported",
            f"start: window_s is {start.window_s:g}: "
            f"expected at most {longest_s:g} with the model '{contract.name}'",
        )
