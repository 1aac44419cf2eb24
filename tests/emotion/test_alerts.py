"""Rules over a call's events, and the alerts that they raise."""

import tracemalloc
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from emotion.alerts import MAX_RULES, MAX_WITHIN_S, Rule, Watch, check_rules, watching
from emotion.errors import ConfigurationError
from emotion.labels import EMOTIONS
from emotion.messages import Alert, Emotion, Event
from tests.fakes import emotion, events_of, fake_engine, heard, int16_bytes, restless, silence

ANGRY = Rule(name="angry", emotions=("angry",), above=0.6, for_s=10)
LOW = Rule(name="low", emotions=("sad", "angry", "fearful"), share=0.5, within_s=60)


def spoken(end: float, label: str = "angry", level: float = 0.9, **fields: Any) -> Event:
    """A window of 3 s that was judged."""
    return emotion(label, level, start_s=max(0.0, end - 3), end_s=end, **fields)


def quiet(end: float) -> Event:
    return silence(1, end)


def watch(*rules: Rule) -> Watch:
    return Watch(rules, "S", "call-1")


def told(rules: Rule | Watch, events: Iterable[Event]) -> list[tuple[str, float, float]]:
    """State, `at_s` and `since_s` of what is raised and cleared."""
    watch_ = rules if isinstance(rules, Watch) else watch(rules)
    alerts = [alert for event in events for alert in watch_.hear(event)]
    return [(alert.state, alert.at_s, alert.since_s) for alert in alerts]


# --- above a limit for some seconds ---


def test_an_alert_is_raised_once_what_holds_has_held_long_enough() -> None:
    assert told(ANGRY, map(spoken, range(1, 10))) == []
    assert told(ANGRY, map(spoken, range(1, 60))) == [("raised", 10.0, 0.0)]


def test_an_alert_says_all_about_itself() -> None:
    whole = watch(ANGRY)
    [raised] = [alert for end in range(1, 20) for alert in whole.hear(spoken(end))]
    assert raised == Alert(
        id="S:alert:1",
        stream_id="call-1",
        session_id="S",
        channel="mono",
        rule="angry",
        state="raised",
        at_s=10.0,
        since_s=0.0,
        message="angry above 0.6 for 10 s",
    )
    [cleared] = whole.hear(spoken(20, "calm"))
    assert (cleared.id, cleared.state, cleared.reason) == ("S:alert:2", "cleared", "below")
    assert (cleared.at_s, cleared.since_s) == (20.0, 0.0)


def test_what_falls_below_before_it_has_held_long_enough_begins_anew() -> None:
    events = [spoken(end, level=0.5 if end == 9 else 0.9) for end in range(1, 25)]
    assert told(ANGRY, events) == [("raised", 19.0, 9.0)]


def test_exactly_at_the_limit_is_not_above_it() -> None:
    assert told(ANGRY, [spoken(end, level=0.6) for end in range(1, 30)]) == []


def test_the_smoothed_probabilities_decide_and_not_the_windows_own() -> None:
    smoothed = emotion("calm", 0.9).smoothed
    assert told(ANGRY, [spoken(end, smoothed=smoothed) for end in range(1, 30)]) == []


def test_several_emotions_count_together() -> None:
    both = Rule(name="r", emotions=("angry", "sad"), above=0.6, for_s=2)
    one = Rule(name="r", emotions=("angry",), above=0.55, for_s=2)
    events = [spoken(end, level=0.55) for end in range(1, 4)]  # sad has 0.064
    assert told(both, events) == [("raised", 2.0, 0.0)] and told(one, events) == []


def test_a_raised_alert_is_cleared_only_well_below_its_limit() -> None:
    levels = [0.9] * 10 + [0.55, 0.65, 0.51, 0.5, 0.55]
    events = [spoken(end, level=level) for end, level in enumerate(levels, 1)]
    assert told(ANGRY, events) == [("raised", 10.0, 0.0), ("cleared", 14.0, 0.0)]


def test_without_hysteresis_it_is_cleared_at_the_limit() -> None:
    rule = Rule(name="r", emotions=("angry",), above=0.6, for_s=1, hysteresis=0)
    events = [spoken(1), spoken(2, level=0.59)]
    assert told(rule, events) == [("raised", 1.0, 0.0), ("cleared", 2.0, 0.0)]


def test_after_it_was_cleared_it_has_to_hold_as_long_again() -> None:
    events = [spoken(end, "calm" if end == 12 else "angry") for end in range(1, 40)]
    states = told(ANGRY, events)
    assert states == [("raised", 10.0, 0.0), ("cleared", 12.0, 0.0), ("raised", 22.0, 12.0)]


@pytest.mark.parametrize("hop", [0.25, 0.3, 1.0, 2.5])
def test_the_hop_does_not_matter_for_when_it_is_raised(hop: float) -> None:
    events = [spoken(round(n * hop, 6)) for n in range(1, round(40 / hop))]
    [(_, at, since)] = told(ANGRY, events)
    assert 10 <= at - since < 10 + hop


def test_nothing_to_hold_for_raises_at_once() -> None:
    rule = Rule(name="r", emotions=("angry",), above=0.6, for_s=0)
    assert told(rule, [spoken(7)]) == [("raised", 7.0, 4.0)]


# --- silence and skipped windows ---


def test_silence_neither_counts_nor_interrupts() -> None:
    events = [quiet(end) if 5 < end <= 15 else spoken(end) for end in range(1, 40)]
    assert told(ANGRY, events) == [("raised", 20.0, 0.0)]


def test_a_long_silence_begins_anew_and_clears_what_was_raised() -> None:
    rule = Rule(name="r", emotions=("angry",), above=0.6, for_s=10, quiet_s=5)
    early = [spoken(end) if end <= 8 else quiet(end) for end in range(1, 15)]
    assert told(rule, [*early, *map(spoken, range(15, 20))]) == []
    late = watch(rule)
    events = [spoken(end) if end <= 10 else quiet(end) for end in range(1, 60)]
    alerts = [alert for event in events for alert in late.hear(event)]
    assert [(a.state, a.at_s, a.reason) for a in alerts] == [
        ("raised", 10.0, None),
        ("cleared", 16.0, "silence"),
    ]


def test_half_an_hour_of_silence_says_nothing() -> None:
    assert told(watch(ANGRY, LOW), map(quiet, range(1, 1800))) == []


def test_skipped_windows_count_as_far_as_the_next_one_reaches_back() -> None:
    events = [spoken(end) for end in (1, 2, 3, 6, 9, 10, 11)]
    assert told(ANGRY, events) == [("raised", 10.0, 0.0)]
    events = [spoken(end) for end in (1, 2, 3, 8, 9, 10, 11, 12, 13)]  # 3 to 5 was never heard
    assert told(ANGRY, events) == [("raised", 12.0, 0.0)]


def test_more_skipped_than_a_long_silence_begins_anew() -> None:
    events = [spoken(end) for end in [*range(1, 10), *range(60, 80)]]
    assert told(ANGRY, events) == [("raised", 67.0, 57.0)]
    events = [spoken(end) for end in [*range(1, 20), *range(60, 80)]]
    states = told(ANGRY, events)
    assert states == [("raised", 10.0, 0.0), ("cleared", 60.0, 0.0), ("raised", 67.0, 57.0)]


# --- a share of the last seconds ---


def test_a_share_is_of_the_speech_within_the_last_seconds() -> None:
    events = [spoken(end, "sad" if end > 40 else "calm") for end in range(1, 90)]
    assert told(LOW, events) == [("raised", 71.0, 11.0)]  # 31 of 60 s


def test_silence_is_no_speech() -> None:
    """20 s calm, 19 s silent, then sad: 21 of 41 s."""
    events = [spoken(end, "calm") for end in range(1, 21)] + [quiet(e) for e in range(21, 40)]
    events += [spoken(end, "sad") for end in range(40, 70)]
    assert told(LOW, events) == [("raised", 60.0, 0.0)]


def test_one_word_after_a_silence_is_not_enough_speech() -> None:
    events = [quiet(end) for end in range(1, 60)] + [spoken(60), *map(quiet, range(61, 90))]
    assert told(LOW, events) == []
    eager = Rule(name="r", emotions=("angry",), share=0.5, within_s=60, min_speech_s=1)
    assert told(eager, events)[0] == ("raised", 60.0, 0.0)


def test_a_quarter_of_the_seconds_must_be_speech_unless_the_rule_says_otherwise() -> None:
    assert told(LOW, map(spoken, range(1, 30))) == [("raised", 15.0, 0.0)]


def test_a_share_is_cleared_well_below_its_limit() -> None:
    events = [spoken(end, "sad" if end <= 60 else "calm") for end in range(1, 120)]
    states = told(LOW, events)
    assert states == [("raised", 15.0, 0.0), ("cleared", 96.0, 0.0)]  # 24 of 60 s are 0.4


def test_a_share_is_cleared_when_too_little_speech_is_left() -> None:
    low = watch(LOW)
    events = [spoken(end) if end <= 60 else quiet(end) for end in range(1, 200)]
    alerts = [alert for event in events for alert in low.hear(event)]
    assert [(a.state, a.at_s, a.reason) for a in alerts] == [
        ("raised", 15.0, None),
        ("cleared", 113.0, "silence"),
    ]


def test_who_speaks_about_as_much_as_must_be_said_raises_one_alert() -> None:
    """Between 14 and 16 s of each minute, always angry."""
    spoken_s = [range(16), range(14)]
    events = [
        spoken(end) if end % 60 in spoken_s[end // 60 % 2] else quiet(end) for end in range(1, 1800)
    ]
    assert [state for state, _, _ in told(LOW, events)] == ["raised"]


@pytest.mark.parametrize("hop", [0.25, 1.0])
def test_a_share_equals_what_a_look_at_all_events_gives(hop: float) -> None:
    """The oracle counts anew at every event."""
    rule = Rule(name="r", emotions=("sad",), share=0.4, within_s=30, min_speech_s=5, hysteresis=0)
    chance = Random(3)  # of sad: now a fifth, now three fifths
    labels = [
        "sad" if chance.random() < 0.2 + 0.4 * (n // 170 % 2) else "calm" for n in range(2000)
    ]
    events = [
        quiet(n * hop) if n // 50 % 3 == 1 else spoken(n * hop, label)
        for n, label in enumerate(labels, 1)
    ]
    expected, raised, judged = [], False, list[tuple[float, float, str]]()
    for event in events:
        if isinstance(event, Emotion):
            judged.append((event.end_s, hop, event.label))
        near = [item for item in judged if item[0] > event.end_s - 30]
        speech = sum(length for _, length, _ in near)
        hits = sum(length for _, length, label in near if label == "sad")
        holds = speech >= (2.5 if raised else 5) and hits > 0.4 * speech
        if holds != raised:
            expected.append(("raised" if holds else "cleared", event.end_s))
        raised = holds
    assert len(expected) > 4
    assert [(state, at) for state, at, _ in told(rule, events)] == expected


# --- calls, channels, ends ---


def test_channels_are_watched_apart() -> None:
    both = watch(ANGRY)
    for end in range(1, 10):
        assert both.hear(spoken(end, channel="left")) == []
        assert both.hear(spoken(end, channel="right")) == []
    [left] = both.hear(spoken(10, channel="left"))
    assert left.channel == "left" and both.hear(spoken(10, "calm", channel="right")) == []


def test_a_rule_may_be_for_one_channel_and_some_streams() -> None:
    rule = Rule(
        name="r", emotions=("angry",), above=0.6, for_s=0, streams="call-*", channel="customer"
    )
    assert watching([rule], "S", "test-1") is None and watching([], "S", "call-1") is None
    call = watching([rule], "S", "call-1")
    assert call is not None
    assert call.hear(spoken(1, channel="agent")) == []
    assert len(call.hear(spoken(1, channel="customer"))) == 1


def test_the_end_clears_what_is_raised_and_only_once() -> None:
    whole = watch(ANGRY, LOW)
    assert told(whole, map(spoken, range(1, 13))) == [("raised", 10.0, 0.0)]
    [cleared] = whole.end()
    assert (cleared.state, cleared.reason, cleared.at_s) == ("cleared", "ended", 12.0)
    assert whole.end() == []


def test_two_rules_may_decide_at_the_same_window() -> None:
    other = Rule(name="other", emotions=("angry",), above=0.3, for_s=10)
    whole = watch(other, ANGRY)
    alerts = [alert for end in range(1, 11) for alert in whole.hear(spoken(end))]
    assert [(alert.rule, alert.id) for alert in alerts] == [
        ("other", "S:alert:1"),
        ("angry", "S:alert:2"),
    ]


def test_a_real_sessions_events_raise_what_their_probabilities_say() -> None:
    audio = int16_bytes(restless(60))
    events = events_of(heard(fake_engine(), [audio], vad=False))
    everything = Rule(name="all", emotions=EMOTIONS, above=0.99, for_s=20)
    assert told(everything, events) == [("raised", 20.0, 0.0)]


def test_what_is_kept_of_a_channel_is_bounded() -> None:
    rules = [
        Rule(name=str(n), emotions=("sad",), share=0.5, within_s=MAX_WITHIN_S - n)
        for n in range(MAX_RULES)
    ]
    whole = watch(*rules)
    events = [spoken(n / 4, "sad" if n % 2 else "calm") for n in range(1, 8000)]
    tracemalloc.start()
    for event in events:
        whole.hear(event)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 64 * 1024


# --- wrong rules ---


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "name is ''"),
        ({"name": "a\nb"}, "name is"),
        ({"name": "x" * 65}, "name is"),
        ({"emotions": ()}, r"emotions is \[\]: expected some of neutral, calm"),
        ({"emotions": ("anger",)}, r"emotions is \['anger'\]"),
        ({"emotions": ("sad", "sad")}, "each once"),
        ({"above": None}, "expected either above .* or share"),
        ({"share": 0.5}, "expected either above .* or share"),
        ({"above": 1.0}, "above is 1: expected more than 0, less than 1"),
        ({"above": float("nan")}, "above is nan"),
        ({"for_s": None}, "for_s is missing: above needs it"),
        ({"for_s": -1}, "for_s is -1: expected 0 to 600"),
        ({"for_s": float("inf")}, "for_s is inf"),
        ({"within_s": 60}, "within_s: does not go with above"),
        ({"quiet_s": 601}, "quiet_s is 601"),
        ({"hysteresis": 0.6}, "hysteresis is 0.6: .* less than above, which is 0.6"),
        ({"hysteresis": float("nan")}, "hysteresis is nan"),
        ({"above": None, "share": 0.5}, "within_s is missing: share needs it"),
        ({"above": None, "share": 0.5, "within_s": 60}, "for_s: does not go with share"),
        ({"above": None, "for_s": None, "share": 0.5, "within_s": 301}, "within_s is 301"),
        (
            {"above": None, "for_s": None, "share": 0.5, "within_s": 9, "min_speech_s": 10},
            "min_speech_s is 10: expected 0 to 9",
        ),
    ],
)
def test_a_wrong_rule_is_told_which_field(changes: dict[str, Any], said: str) -> None:
    fields: dict[str, Any] = {"name": "r", "emotions": ("sad",), "above": 0.6, "for_s": 10}
    with pytest.raises(ConfigurationError, match=said):
        Rule(**fields | changes)


def test_rules_are_bounded_and_have_names_of_their_own() -> None:
    check_rules([ANGRY, LOW])
    with pytest.raises(ConfigurationError, match=r"alerts: expected distinct names"):
        check_rules([ANGRY, ANGRY])
    many = [Rule(name=str(n), emotions=("sad",), above=0.5, for_s=1) for n in range(17)]
    with pytest.raises(ConfigurationError, match="at most 16 rules, found 17"):
        check_rules(many)


def test_a_rule_can_be_read_aloud() -> None:
    assert LOW.message == "sad, angry or fearful in more than 50% of the last 60 s"
    both = Rule(name="r", emotions=("angry", "disgust"), above=0.75, for_s=2.5)
    assert both.message == "angry + disgust above 0.75 for 2.5 s"
