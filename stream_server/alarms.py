"""What the operator's rules find in this node's calls, told to whoever follows them and to the webhook.

Only the node that carries a call watches it, so that an alert comes once however many nodes share a bus.
"""

from collections.abc import Iterable, Sequence

from emotion.alerts import Rule, Watch, watching
from emotion.messages import Alert, Event
from stream_server.hub import Hub
from stream_server.webhook import Courier


class Alarms:
    """The rules, and where their alerts go.

    Args:
        rules: the operator's.
        hub: where alerts are published.
        courier: to the webhook; None where there is none.
    """

    def __init__(self, rules: Sequence[Rule], hub: Hub, courier: Courier | None = None) -> None:
        self._rules = rules
        self._hub = hub
        self._courier = courier
        hub.metrics.rules(rule.name for rule in rules)

    def over(self, session_id: str, stream_id: str) -> "Alarm | None":
        """The alarm of a new call; None where no rule concerns it."""
        watch = watching(self._rules, session_id, stream_id)
        return None if watch is None else Alarm(watch, self)

    def tell(self, alerts: Iterable[Alert]) -> None:
        """Passes alerts on; returns at once."""
        for alert in alerts:
            if alert.state == "raised":
                self._hub.metrics.alert(alert.rule)
            self._hub.publish(alert)
            if self._courier is not None:
                self._courier.send(alert)


class Alarm:
    """One call's; made by `Alarms.over`."""

    def __init__(self, watch: Watch, alarms: Alarms) -> None:
        self._watch = watch
        self._alarms = alarms

    def hear(self, event: Event) -> None:
        """Hears an event on the grid, after it was published."""
        self._alarms.tell(self._watch.hear(event))

    def end(self) -> None:
        """The call has ended: clears what is still raised."""
        self._alarms.tell(self._watch.end())
