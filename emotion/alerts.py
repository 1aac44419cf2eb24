"""Rules over the events of a call, and the alerts that they raise. Time is the audio's.

    watch = watching(rules, session_id, stream_id)     None where no rule concerns the call
    watch.hear(event)                                  after each event on the grid: its alerts
    watch.end()                                        once, before the summary: what is still raised

Each second of a channel counts once, whatever the hop: an `emotion` stands for the seconds that no
event of its channel covered before, a `silence` for none. Skipped windows are heard as far as the next
window reaches back; what lies before that counts like silence. The events of a `flush` are not heard:
the same audio raises the same alerts whatever is asked in between.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple, Protocol

from emotion.contract import SAMPLE_RATE
from emotion.errors import ConfigurationError
from emotion.labels import EMOTIONS
from emotion.messages import Alert, Emotion, Event

MAX_RULES: Final = 16
MAX_NAME: Final = 64  # characters
MAX_HELD_S: Final = 600.0
MAX_WITHIN_S: Final = 300.0
"""Of a rule that looks back: at four windows a second, 1,200 of them, 16 KiB a channel."""
QUIET_S: Final = 30.0

Reason = Literal["below", "silence"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When an alert is raised: either `above` and `for_s`, or `share` and `within_s`.

    Attributes:
        name: the alert's, for people and programs.
        emotions: one or several.
        above: the smoothed probabilities, summed over the emotions, are above this...
        for_s: ...for so many seconds of speech.
        share: of the speech of the last...
        within_s: ...so many seconds, more than this is labelled with one of the emotions.
        min_speech_s: speech that there must be within them; None: a quarter of `within_s`. What was
            raised holds with half of it.
        quiet_s: a longer silence ends what was `above`; None: `QUIET_S`.
        hysteresis: what was raised is cleared this far below its limit.
        streams: glob over the streams that it concerns.
        channel: that it concerns; None: each that is analysed.
    """

    name: str
    emotions: tuple[str, ...]
    above: float | None = None
    for_s: float | None = None
    share: float | None = None
    within_s: float | None = None
    min_speech_s: float | None = None
    quiet_s: float | None = None
    hysteresis: float = 0.1
    streams: str = "*"
    channel: str | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: a value cannot be used; names it.
        """
        if not (1 <= len(self.name) <= MAX_NAME and self.name.isprintable()):
            raise ConfigurationError(
                f"name is {self.name!r}: expected 1 to {MAX_NAME} printable characters"
            )
        unknown = [name for name in self.emotions if name not in EMOTIONS]
        if unknown or not self.emotions or len(set(self.emotions)) != len(self.emotions):
            raise ConfigurationError(
                f"emotions is {list(self.emotions)}: expected some of {', '.join(EMOTIONS)}, "
                "each once"
            )
        if (self.above is None) == (self.share is None):
            raise ConfigurationError("expected either above (with for_s) or share (with within_s)")
        if self.above is not None:
            self._check("above", "for_s", others=("within_s", "min_speech_s"))
            self._check_range("for_s", 0, MAX_HELD_S)
            self._check_range("quiet_s", 0, MAX_HELD_S)
        else:
            self._check("share", "within_s", others=("for_s", "quiet_s"))
            self._check_range("within_s", 1, MAX_WITHIN_S)
            self._check_range("min_speech_s", 0, self.within_s or 0)

    def _check(self, limit: str, seconds: str, others: tuple[str, ...]) -> None:
        value = getattr(self, limit)
        if not 0 < value < 1:
            raise ConfigurationError(f"{limit} is {value:g}: expected more than 0, less than 1")
        if getattr(self, seconds) is None:
            raise ConfigurationError(f"{seconds} is missing: {limit} needs it")
        for name in others:
            if getattr(self, name) is not None:
                raise ConfigurationError(f"{name}: does not go with {limit}")
        if not 0 <= self.hysteresis < value:
            raise ConfigurationError(
                f"hysteresis is {self.hysteresis:g}: "
                f"expected 0 or more, and less than {limit}, which is {value:g}"
            )

    def _check_range(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if value is not None and not low <= value <= high:
            raise ConfigurationError(f"{name} is {value:g}: expected {low:g} to {high:g}")

    @property
    def message(self) -> str:
        """What it says, for people: `angry above 0.6 for 10 s`."""
        if self.above is not None:
            return f"{' + '.join(self.emotions)} above {self.above:g} for {self.for_s:g} s"
        *others, last = self.emotions
        named = f"{', '.join(others)} or {last}" if others else last
        return f"{named} in more than {self.share:.0%} of the last {self.within_s:g} s"

    def concerns(self, stream_id: str) -> bool:
        """Whether it is for this stream."""
        return fnmatchcase(stream_id, self.streams)


def check_rules(rules: Sequence[Rule]) -> None:
    """
    Raises:
        ConfigurationError: there are too many, or two have the same name.
    """
    names = [rule.name for rule in rules]
    if len(names) > MAX_RULES:
        raise ConfigurationError(f"alerts: expected at most {MAX_RULES} rules, found {len(names)}")
    if len(set(names)) != len(names):
        raise ConfigurationError(f"alerts: expected distinct names, found {names}")


def watching(rules: Sequence[Rule], session_id: str, stream_id: str) -> "Watch | None":
    """A watch over a call; None where no rule concerns it."""
    concerned = [rule for rule in rules if rule.concerns(stream_id)]
    return Watch(concerned, session_id, stream_id) if concerned else None


class Watch:
    """The rules' view of one call; it lives as long as the call, over all its connections.

    Args:
        rules: those that concern the call.
        session_id: the call's.
        stream_id: its client's name for it.
    """

    def __init__(self, rules: Sequence[Rule], session_id: str, stream_id: str) -> None:
        self._rules = rules
        self._session_id = session_id
        self._stream_id = stream_id
        self._channels: dict[str, _Channel] = {}
        self._count = 0

    def hear(self, event: Event) -> list[Alert]:
        """Alerts that an event raises or clears, in the order of the rules."""
        channel = self._channels.get(event.channel)
        if channel is None:
            channel = self._channels[event.channel] = _Channel(self._rules, event.channel)
        return [self._alert(change) for change in channel.hear(event)]

    def end(self) -> list[Alert]:
        """Clears what is still raised: the call has ended."""
        changes = [change for channel in self._channels.values() for change in channel.end()]
        return [self._alert(change) for change in changes]

    def _alert(self, change: "_Change") -> Alert:
        self._count += 1
        return Alert(
            id=f"{self._session_id}:alert:{self._count}",
            stream_id=self._stream_id,
            session_id=self._session_id,
            channel=change.channel,
            rule=change.rule.name,
            state="raised" if change.reason is None else "cleared",
            at_s=_seconds(change.at),
            since_s=_seconds(change.since),
            message=change.rule.message,
            reason=change.reason,
        )


class _Change(NamedTuple):
    """A rule began to hold, or, where there is a reason, no longer does; positions in samples."""

    rule: Rule
    channel: str
    at: int
    since: int
    reason: Literal["below", "silence", "ended"] | None


class _Step(NamedTuple):
    """What an event adds: the speech from `begin` to `end`; none where it is a silence."""

    begin: int
    end: int
    emotion: Emotion | None


class _Condition(Protocol):
    """Whether a rule holds in a channel.

    Attributes:
        since: where the samples that decided begin, when it begins to hold.
        reason: why it does not hold.
    """

    since: int
    reason: Reason

    def holds(self, step: _Step, raised: bool) -> bool:
        """Whether it holds after one more step; `raised`: whether it did before."""
        ...


class _Channel:
    """One channel's rules."""

    def __init__(self, rules: Sequence[Rule], name: str) -> None:
        self._name = name
        self._covered = 0  # up to which sample events have come
        self._history = _History()
        self._span = 0  # of the history
        self._conditions: list[tuple[Rule, _Condition]] = []
        self._raised: dict[str, int] = {}  # since when, by the rule's name
        for rule in rules:
            if rule.channel in (None, name):
                self._conditions.append((rule, self._condition(rule)))

    def _condition(self, rule: Rule) -> _Condition:
        if rule.above is not None:
            return _Above(rule)
        self._span = max(self._span, _samples(rule.within_s))
        return _Share(rule, self._history)

    def hear(self, event: Event) -> Iterator[_Change]:
        end = _samples(event.end_s)
        begin = end
        if isinstance(event, Emotion):
            begin = max(self._covered, _samples(event.start_s))
            if self._span:
                self._history.add(end, end - begin, event.label)
        step = _Step(begin, end, event if isinstance(event, Emotion) else None)
        self._covered = end
        for rule, condition in self._conditions:
            raised = rule.name in self._raised
            holds = condition.holds(step, raised)
            if holds and not raised:
                since = self._raised[rule.name] = condition.since
                yield _Change(rule, self._name, end, since, None)
            elif raised and not holds:
                since = self._raised.pop(rule.name)
                yield _Change(rule, self._name, end, since, condition.reason)
        self._history.forget(end - self._span)

    def end(self) -> Iterator[_Change]:
        for rule, _ in self._conditions:
            since = self._raised.pop(rule.name, None)
            if since is not None:
                yield _Change(rule, self._name, self._covered, since, "ended")


class _Above:
    """The smoothed probabilities are above a limit for some seconds of speech."""

    def __init__(self, rule: Rule) -> None:
        self.since = 0
        self.reason: Reason = "below"
        self._emotions = rule.emotions
        self._limit = rule.above or 0.0
        self._kept = self._limit - rule.hysteresis
        self._enough = max(_samples(rule.for_s), 1)
        self._quiet = _samples(QUIET_S if rule.quiet_s is None else rule.quiet_s)
        self._held = 0  # samples of speech
        self._spoke = 0  # where the last speech ended

    def holds(self, step: _Step, raised: bool) -> bool:
        if step.begin - self._spoke > self._quiet:
            self._held, raised, self.reason = 0, False, "silence"
        if step.emotion is not None:
            self._spoke = step.end
            probabilities = step.emotion.smoothed.probabilities
            level = sum(probabilities[name] for name in self._emotions)
            if level <= (self._kept if raised else self._limit):
                self._held, self.reason = 0, "below"
            else:
                self.since = self.since if self._held else step.begin
                self._held += step.end - step.begin
        return self._held >= self._enough


class _Share:
    """More than a share of the speech of the last seconds has one of the labels."""

    def __init__(self, rule: Rule, history: "_History") -> None:
        self.since = 0
        self.reason: Reason = "below"
        self._history = history
        self._hits = frozenset(EMOTIONS.index(name) for name in rule.emotions)
        self._limit = rule.share or 0.0
        self._kept = self._limit - rule.hysteresis
        self._within = _samples(rule.within_s)
        quarter = (rule.within_s or 0.0) / 4
        self._enough = max(_samples(quarter if rule.min_speech_s is None else rule.min_speech_s), 1)
        self._kept_enough = max(self._enough // 2, 1)  # who speaks just so much must not flap
        self._first = 0  # the oldest judgement within
        self._speech = self._hit = 0  # samples

    def holds(self, step: _Step, raised: bool) -> bool:
        if step.emotion is not None:
            self._count(self._history.count - 1, 1)
        begin = step.end - self._within
        while self._first < self._history.count and self._history.at(self._first)[0] <= begin:
            self._count(self._first, -1)
            self._first += 1
        self.since = max(0, begin)
        if self._speech < (self._kept_enough if raised else self._enough):
            self.reason = "silence"
            return False
        self.reason = "below"
        return self._hit > (self._kept if raised else self._limit) * self._speech

    def _count(self, number: int, sign: int) -> None:
        _, length, label = self._history.at(number)
        self._speech += sign * length
        self._hit += sign * length * (label in self._hits)


class _History:
    """A channel's last judgements, each under a number, in few bytes.

    Attributes:
        count: judgements ever; the next one's number.
    """

    def __init__(self) -> None:
        self.count = 0
        self._ends = array("q")  # samples
        self._lengths = array("i")
        self._labels = bytearray()

    def add(self, end: int, length: int, label: str) -> None:
        self._ends.append(end)
        self._lengths.append(length)
        self._labels.append(EMOTIONS.index(label))
        self.count += 1

    def at(self, number: int) -> tuple[int, int, int]:
        """A judgement that is still kept: its end, its length, the index of its label."""
        place = number - self.count  # from the end
        return self._ends[place], self._lengths[place], self._labels[place]

    def forget(self, begin: int) -> None:
        """Drops judgements that ended by then, many at a time."""
        if len(self._ends) < 64 or self._ends[len(self._ends) // 2] > begin:
            return
        half = len(self._ends) // 2
        del self._ends[:half], self._lengths[:half], self._labels[:half]


def _samples(seconds: float | None) -> int:
    return round((seconds or 0.0) * SAMPLE_RATE)


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 6)
