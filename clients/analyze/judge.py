"""One recording, judged from beginning to end: the session of `emotion-client local`, not shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from clients.analyze.rows import Count, Row, Summary, row
from clients.recordings import Recording, open_recording
from emotion.contract import SAMPLE_RATE
from emotion.engine import Engine, Judgement, Window, default_model
from emotion.errors import ConfigurationError
from emotion.labels import EMOTIONS
from emotion.messages import Start
from emotion.parsing import start_from
from emotion.requirements import adapts, check_requirements
from emotion.session import Session

PORTION_S: Final = 10.0  # read and judged at a time
WITHHELD: Final = "agent"
"""The channel that is analysed only where it is named: as on a server, and for the same reason."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides about the results, apart from the model and the recordings.

    Attributes:
        window_s, hop_s, vad, adapt: as in `start`.
        channels: names of the recordings' channels; None for the usual ones.
        analyze: which of them are analysed; all but `agent` where None.
        mix: whether several channels are mixed down to one.
    """

    window_s: float = 3.0
    hop_s: float = 1.0
    vad: bool = True
    adapt: bool | None = None
    channels: tuple[str, ...] | None = None
    analyze: tuple[str, ...] | None = None
    mix: bool = False

    def check(self, engine: Engine) -> None:
        """Refuses what no recording could be judged with.

        Raises:
            ConfigurationError: the options contradict each other.
            MessageError: a value is out of range, or the model cannot do that.
        """
        if self.mix and (self.channels or self.analyze):
            raise ConfigurationError(
                "--mix leaves one channel: --channels and --analyze name several"
            )
        check_requirements(self._example(), engine.contract, engine.prior())

    def start(self, recording: Recording) -> Start:
        """The stream's configuration for one recording.

        Raises:
            MessageError: `analyze` names a channel that the recording does not have.
        """
        return self._start(recording.sample_rate, recording.channels)

    def analyzed(self, channels: tuple[str, ...]) -> tuple[str, ...]:
        """Which of these channels are analysed."""
        if self.analyze is not None:
            return self.analyze
        return tuple(name for name in channels if name != WITHHELD) or channels

    def _example(self) -> Start:
        """The configuration for a recording that has what the settings name."""
        return self._start(16_000, self.channels or self.analyze or ("mono",))

    def _start(self, sample_rate: int, channels: tuple[str, ...]) -> Start:
        return start_from(
            sample_rate=sample_rate,
            channels=channels,
            analyze=self.analyzed(channels),
            window_s=self.window_s,
            hop_s=self.hop_s,
            vad=self.vad,
            adapt=self.adapt,
        )

    def described(self, model: Path | None, engine: Engine) -> dict[str, Any]:
        """The settings in effect and the model, to tell one run from another.

        Args:
            model: its folder; the embedded one where None.
            engine: that model, loaded.
        """
        folder = model or default_model()
        files = [folder / name for name in ("monitor.onnx", "classifier.onnx")]
        digest = sha256(b"".join(file.read_bytes() for file in files if file.is_file()))
        fields: dict[str, Any] = msgspec.to_builtins(self)
        adapt = adapts(self._example(), engine.prior())
        return fields | {"adapt": adapt, "model": digest.hexdigest()[:16]}


class Hearing:
    """One recording as it is judged: iterate over it for the rows, then ask for the summary.

    Args:
        recording: open.
        settings: how to judge it.
        engine: the model, loaded; may be shared with other threads.

    Raises:
        MessageError: the settings do not fit the recording.
    """

    def __init__(self, recording: Recording, settings: Settings, engine: Engine) -> None:
        start = settings.start(recording)
        self._recording = recording
        self._engine = engine
        self._rate = start.sample_rate
        self._session = Session(
            start, engine.contract, engine.prior(), session_id="analyze", may_skip=False
        )
        self._counts = {name: Count(EMOTIONS) for name in start.analyzed}

    def __iter__(self) -> Iterator[list[Row]]:
        """The rows, as many at a time as a portion of the recording gives, also none.

        Raises:
            AudioError: the file cannot be read on.
        """
        for portion in self._recording.portions(PORTION_S):
            self._session.feed(portion, 0.0)
            yield list(self._judged())
        self._session.stop()
        yield list(self._judged())

    def summary(self) -> Summary:
        """What came of it."""
        return Summary(
            duration_s=round(self._session.audio_s, 6),
            sample_rate=self._rate,
            channels=tuple(count.summary(name) for name, count in self._counts.items()),
        )

    def _judged(self) -> Iterator[Row]:
        while (item := self._session.poll(0.0)) is not None:
            if isinstance(item, Window):
                judgement = self._engine.judge(item)
                self._count_speech(item, judgement)
                kept = row(self._session.finish(item, judgement, 0.0))
                self._counts[kept.channel].window(kept)
                yield kept

    def _count_speech(self, window: Window, judgement: Judgement) -> None:
        """Counts what voice activity heard for this window and not before."""
        before, track = window.track, judgement.track
        if before is not None and track is not None:
            heard = (before.position, track.position)
            seconds = (track.position - before.position) / SAMPLE_RATE
            self._counts[window.channel].heard(seconds, track.speech_s(*heard))


def judge_file(path: Path, settings: Settings, engine: Engine) -> Iterator[list[Row] | Summary]:
    """A file's rows in portions, and at last its summary.

    Raises:
        AudioError: it is not a recording, or not one that the settings fit.
        MessageError: likewise.
    """
    apart = not settings.mix
    with open_recording(path, settings.channels, apart=apart) as recording:
        hearing = Hearing(recording, settings, engine)
        yield from hearing
        yield hearing.summary()
