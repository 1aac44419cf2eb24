"""The Python API of a few lines."""

import numpy as np
import pytest

import emotion
from emotion import EMOTIONS, EmotionError, Monitor
from emotion.errors import AudioError, MessageError, ModelNotFoundError
from emotion.messages import Emotion, Silence, Summary
from tests.fakes import events_of, fake_engine, heard, plain, restless
from tests.speech import speech_like


def test_a_few_lines_suffice(model_folder):
    monitor = Monitor(model_folder)
    events = monitor.feed(speech_like(4))
    assert [event.end_s for event in events] == [1, 2, 3, 4]
    assert all(isinstance(event, Emotion) and event.label in EMOTIONS for event in events)
    [end] = monitor.finish()
    assert isinstance(end, Summary)
    assert (end.audio_s, end.windows, end.inferred) == (4.0, 4, 4)
    assert end.dominant == {"mono": events[-1].smoothed.label}


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_model_is_a_folder_as_text_or_path(model_folder, kind):
    assert Monitor(kind(model_folder)).feed(np.zeros(16_000, np.float32))


def test_a_model_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no such file"):
        Monitor(tmp_path / "gone")


def test_one_engine_serves_many_monitors(engine):
    samples = speech_like(3)
    first, second = Monitor(engine), Monitor(engine)
    second.feed(np.zeros(16_000, np.float32))
    assert plain(first.feed(samples), "id", "stream_id") == plain(
        Monitor(engine).feed(samples), "id", "stream_id"
    )


def test_int16_float32_and_float64_give_the_same_events():
    pcm = np.rint(restless(5)[:, 0] * 32_767).astype(np.int16)
    floats = pcm.astype(np.float32) / 32_768
    answers = [
        plain(Monitor(fake_engine()).feed(samples), "id", "stream_id")
        for samples in (pcm, floats, floats.astype(np.float64), list(floats.astype(float)))
    ]
    assert len(answers[0]) == 5
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_cast_to_floats_are_refused_with_the_way_out_and_not_heard(kind, sign):
    samples = (sign * np.abs(restless(2)[:, 0]) * 32_767).astype(kind)
    monitor = Monitor(fake_engine())
    with pytest.raises(
        AudioError, match=r"up to \d.*-1 to 1; divide int16 by 32768, or pass int16"
    ):
        monitor.feed(samples)
    assert monitor.finish()[-1].audio_s == 0


def test_floats_somewhat_too_loud_are_heard():
    assert len(Monitor(fake_engine()).feed(restless(2)[:, 0] * 7)) == 2


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_monitor_gives_the_events_of_a_session(rate):
    pcm = np.rint(restless(12.7, rate) * 32_767).astype("<i2")
    monitor = Monitor(fake_engine(), sample_rate=rate, hop_s=0.5, adapt=True)
    found = [*monitor.feed(pcm[:1_234, 0]), *monitor.feed(pcm[1_234:, 0])]
    found += monitor.flush()
    *rest, summary = monitor.finish()
    pieces = [pcm.tobytes(), "x"]
    expected = heard(fake_engine(), pieces, sample_rate=rate, hop_s=0.5, adapt=True)
    assert plain([*found, *rest], "id", "stream_id") == plain(
        events_of(expected), "id", "stream_id"
    )
    names = ("id", "session_id", "stream_id")
    assert plain([summary], *names) == plain(expected[-1:], *names)


def test_a_monitor_adapts_where_the_model_can_unless_told_otherwise():
    samples = restless(3)[:, 0]
    for engine, asked, adapted in (
        (fake_engine(), {}, [1, 2, 3]),
        (fake_engine(), {"adapt": False}, [0, 0, 0]),
        (fake_engine(adaptable=False), {}, [0, 0, 0]),
    ):
        events = Monitor(engine, vad=False, **asked).feed(samples)
        assert [event.adapted_s for event in events] == adapted
    with pytest.raises(MessageError, match="cannot adapt"):
        Monitor(fake_engine(adaptable=False), adapt=True)


def test_a_longer_array_than_a_slice_gives_the_same_as_many_short_ones():
    samples = restless(25, 8_000)[:, 0]
    whole = Monitor(fake_engine(), sample_rate=8_000).feed(samples)
    parts = Monitor(fake_engine(), sample_rate=8_000)
    pieces = [event for piece in np.array_split(samples, 77) for event in parts.feed(piece)]
    assert plain(whole, "id", "stream_id") == plain(pieces, "id", "stream_id")


def test_two_columns_are_two_channels():
    samples = restless(3, columns=2)
    monitor = Monitor(fake_engine(), channels=("a", "b"), analyze=("b", "a"), vad=False)
    events = monitor.feed(samples)
    assert [(e.channel, e.end_s) for e in events] == [
        (name, end) for end in (1.0, 2.0, 3.0) for name in ("b", "a")
    ]
    assert events[0].probabilities != events[1].probabilities


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros((10, 2), np.float32), r"shape \[10, 2\]: expected \[n\]"),
        (np.zeros((1, 10, 1), np.float32), r"shape \[1, 10, 1\]"),
        (np.float32(0.5), r"shape \[\]"),
        (np.zeros(10, np.int32), "type int32: expected float32, float64 or int16"),
        (np.zeros(10, np.uint8), "type uint8"),
        (np.zeros(10, complex), "type complex128"),
        (np.array(["a"]), "type <U1"),
        (np.array([0, np.nan], np.float32), "sample 1 is nan"),
        (np.array([0, 0, np.inf], np.float64), "sample 2 is inf"),
        (np.array([0, 1e300], np.float64), "sample 1 is inf"),
    ],
)
def test_what_cannot_be_heard_is_an_audio_error(samples, said):
    with pytest.raises(AudioError, match=said):
        Monitor(fake_engine()).feed(samples)


def test_a_flat_array_for_two_channels_is_refused():
    with pytest.raises(AudioError, match=r"expected \[n, 2\]"):
        Monitor(fake_engine(), channels=("a", "b")).feed(np.zeros(10, np.float32))


@pytest.mark.parametrize("samples", [[], np.zeros(0, np.int16), np.zeros((0, 1), np.float32)])
def test_no_samples_give_no_events(samples):
    monitor = Monitor(fake_engine())
    assert monitor.feed(samples) == []
    [summary] = monitor.finish()
    assert (summary.audio_s, summary.windows) == (0, 0)


def test_silence_is_reported():
    [event] = Monitor(fake_engine()).feed(np.zeros(16_000, np.float32))
    assert isinstance(event, Silence) and event.speech_ratio == 0


@pytest.mark.parametrize(
    "setting",
    [
        {"sample_rate": 7_000},
        {"window_s": 11.0},
        {"hop_s": 0.1},
        {"channels": ()},
        {"analyze": ("x",)},
    ],
)
def test_settings_out_of_range_are_message_errors(setting):
    with pytest.raises(MessageError, match=next(iter(setting))):
        Monitor(fake_engine(), **setting)


def test_a_finished_monitor_is_used_up():
    monitor = Monitor(fake_engine())
    monitor.finish()
    for again in (lambda: monitor.feed([]), monitor.flush, monitor.finish):
        if again.__name__ == "<lambda>":
            assert again() == []
            with pytest.raises(MessageError, match="after stop"):
                monitor.feed(np.zeros(1, np.float32))
        else:
            with pytest.raises(MessageError, match="after stop"):
                again()


def test_the_package_offers_its_names_lazily():
    assert set(emotion.__all__) == {"EMOTIONS", "EmotionError", "Engine", "Monitor", "load_engine"}
    assert all(getattr(emotion, name) for name in emotion.__all__)
    assert issubclass(MessageError, EmotionError)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = emotion.nothing
