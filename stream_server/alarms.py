"""What the operator's rules find in this node's calls, told to whoever follows them and to the webhook.

Only the node that carries a call watches it, so that an alert comes once however many nodes share a bus.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from emotion.alerts import Rule, Watch, watching
from emotion.messages import Alert, Event
from stream_server.hub import Hub
from stream_server.webhook import Courier

REPEAT_S: Final = 30.0
"""Of a channel's audio, after which an alert that still holds is published again, with the same id:
whoever begins to follow when its first time has left the ring hears of it, too."""


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

    def repeat(self, alert: Alert, at_s: float) -> None:
        """Publishes an alert again, so many seconds into its call."""
        self._hub.publish(alert, bus_id=f"{alert.id}:{at_s:g}")


class Alarm:
    """One call's; made by `Alarms.over`."""

    def __init__(self, watch: Watch, alarms: Alarms) -> None:
        self._watch = watch
        self._alarms = alarms
        self._raised: dict[
            tuple[str, str], tuple[Alert, float]
        ] = {}  # and when it was told, in audio

    def hear(self, event: Event) -> None:
        """Hears an event on the grid, after it was published."""
        alerts = self._watch.hear(event)
        self._alarms.tell(alerts)
        for alert in alerts:
            self._raised.pop((alert.channel, alert.rule), None)
            if alert.state == "raised":
                self._raised[alert.channel, alert.rule] = alert, alert.at_s
        for place, (alert, told_s) in self._raised.items():
            if alert.channel == event.channel and event.end_s - told_s >= REPEAT_S:
                self._alarms.repeat(alert, event.end_s)
                self._raised[place] = alert, event.end_s

    def end(self) -> None:
        """The call has ended: clears what is still raised."""
        self._alarms.tell(self._watch.end())
