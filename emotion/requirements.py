"""What a stream asks of the model that judges it."""

from emotion.adapt import Baseline
from emotion.contract import Contract
from emotion.errors import MessageError
from emotion.messages import Start


def check_requirements(start: Start, contract: Contract, prior: Baseline | None) -> None:
    """Refuses what the model cannot do.

    Raises:
        MessageError: `unsupported`.
    """
    if start.adapt and prior is None:
        raise MessageError(
            "unsupported",
            f"start: adapt is true, but the model '{contract.name}' cannot adapt: "
            "its classifier knows no statistics; start with adapt false",
        )
    longest_s = contract.max_samples / contract.sample_rate
    if start.window_s > longest_s:
        raise MessageError(
            "unsupported",
            f"start: window_s is {start.window_s:g}: "
            f"expected at most {longest_s:g} with the model '{contract.name}'",
        )
