"""ONNX Runtime: loads a model folder, verifies its contract, judges one window.

An `Engine` holds `monitor.onnx`, `classifier.onnx` where the model can adapt, and the voice activity
model. It is shared by all sessions and threads: ONNX Runtime's `run` is thread-safe and releases the
GIL. Each run uses one thread and one window, because a window's result must not depend on what is beside
it (dynamic int8 takes one scale over a whole batch); many windows use many threads.
"""

import logging
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime

from emotion.adapt import Baseline, Statistics
from emotion.audio import Pcm, from_pcm
from emotion.contract import SAMPLE_RATE, Contract, from_metadata
from emotion.errors import AudioError, ContractError, DeviceError, ModelError, ModelNotFoundError
from emotion.package import install_line
from emotion.vad import FRAME, MIN_SPEECH_RATIO, VoiceActivity, VoiceTrack, voice_path

Device = Literal["auto", "cpu", "cuda"]
Vector = npt.NDArray[np.float32]

CUDA: Final = "CUDAExecutionProvider"
CPU: Final = "CPUExecutionProvider"

SHAPES: Final[dict[str, tuple[dict[str, int], dict[str, int]]]] = {
    "monitor": ({"waveform": 2}, {"probabilities": 2, "embedding": 2}),
    "classifier": ({"embedding": 2, "mean": 2, "inv_std": 2}, {"probabilities": 2}),
}
"""Inputs and outputs of each graph that is served, with their ranks."""

SHARED: Final = (
    "name", "version", "embedding_dim", "embedding_mean", "embedding_std", "prior_s",
    "emotion_traits", "voice_variance", "trust",
)  # fmt: skip
"""Fields by which a classifier belongs to the monitor beside it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """One window of one channel, with all that its judgement depends on; immutable.

    Attributes:
        channel: the channel's name.
        start: first sample, counted at 16 kHz from the session's start.
        end: one past the last sample.
        pcm: int16 [end - start].
        extra: whether it lies off the grid (a `flush`), so that nothing of it may be remembered.
        received_at: when its last sample was received, in seconds of a monotonic clock.
        track: the channel's voice activity up to `track.position`; None where it is off.
        unheard: int16, the channel's samples from `track.position` to `end`.
        baseline: the channel's statistics; None without adaptation.
        counted: up to which sample speech was counted into them.
    """

    channel: str
    start: int
    end: int
    pcm: Pcm
    extra: bool
    received_at: float
    track: VoiceTrack | None
    unheard: Pcm
    baseline: Baseline | None
    counted: int


@dataclass(frozen=True)
class Judgement:
    """What came of a window.

    Attributes:
        speech_ratio: share of speech; None where voice activity is off.
        probabilities: float32 [8]; None for silence.
        track: the channel's voice activity, the window included.
        baseline: the channel's statistics, the window included.
    """

    speech_ratio: float | None
    probabilities: Vector | None
    track: VoiceTrack | None
    baseline: Baseline | None


class Engine:
    """A loaded model; made by `load_engine`.

    Attributes:
        contract: of `monitor.onnx`.
        device: `cpu` or `cuda`, what the model runs on.
    """

    def __init__(
        self,
        contract: Contract,
        device: str,
        monitor: Any,
        classifier: Any | None,
        voice: VoiceActivity,
    ) -> None:
        self.contract = contract
        self.device = device
        self._monitor = monitor
        self._classifier = classifier
        self._voice = voice
        # Once for all sessions: the statistics of 4,096 dimensions are 32 KiB.
        self._prior = (
            Baseline.prior(
                contract.mean(), contract.std(), contract.prior_s, voices=contract.voices()
            )
            if self.adaptable
            else None
        )

    @property
    def adaptable(self) -> bool:
        """Whether sessions may adapt to their channels."""
        return self._classifier is not None and self.contract.adaptable

    def prior(self) -> Baseline | None:
        """The statistics that every adapting channel starts from; None where the model cannot adapt."""
        return self._prior

    def run(self, waveform: Vector) -> tuple[Vector, Vector]:
        """Runs the model on one window.

        Args:
            waveform: float32 [N], 16 kHz, -1 to 1, N within the contract's bounds.

        Returns:
            probabilities float32 [8] and embedding float32 [D].

        Raises:
            AudioError: N is outside the contract's bounds.
        """
        low, high = self.contract.min_samples, self.contract.max_samples
        if not low <= len(waveform) <= high:
            raise AudioError(f"a window of {len(waveform)} samples: expected {low} to {high}")
        outputs = self._monitor.run(
            ["probabilities", "embedding"], {"waveform": waveform[np.newaxis]}
        )
        return outputs[0][0], outputs[1][0]

    def classify(self, embedding: Vector, voice: Statistics) -> tuple[Vector, Vector]:
        """What the classifier says of an embedding float32 [D], normalised by a voice's statistics.

        Returns:
            probabilities float32 [8] and traits float32 [K], empty where the model gives none.

        Raises:
            ModelError: this model cannot adapt.
        """
        if self._classifier is None:
            raise ModelError("this model has no classifier.onnx: adaptation is not possible")
        feeds = {"embedding": embedding, "mean": voice.mean, "inv_std": voice.inv_std}
        gives_traits = self._prior is not None and self._prior.prototypes is not None
        names = ["probabilities", "traits"] if gives_traits else ["probabilities"]
        outputs = self._classifier.run(
            names, {name: value[np.newaxis] for name, value in feeds.items()}
        )
        return outputs[0][0], outputs[1][0] if len(outputs) > 1 else np.zeros(0, np.float32)

    def judge(self, window: Window) -> Judgement:
        """Voice activity, then the model, then the channel's own baseline: everything slow."""
        track, ratio = window.track, None
        if track is not None:
            track = self._voice.listen(track, window.unheard)
            ratio = track.speech_ratio(window.start, window.end)
            if ratio < MIN_SPEECH_RATIO:
                return Judgement(ratio, None, track, window.baseline)
        probabilities, embedding = self.run(from_pcm(window.pcm))
        baseline = window.baseline
        if baseline is not None and np.isfinite(embedding).all():
            speech_s = _new_speech_s(window, track)
            baseline = baseline.including(embedding, speech_s)
            probabilities, traits = self.classify(embedding, baseline.channel)
            strangers = None
            if baseline.suspicion:
                strangers, _ = self.classify(embedding, baseline.since)
            probabilities, baseline = baseline.judged(
                window.start, window.end, probabilities, traits, speech_s, strangers
            )
        return Judgement(ratio, probabilities, track, baseline)


def _new_speech_s(window: Window, track: VoiceTrack | None) -> float:
    """Seconds of the window's speech that the baseline does not know yet."""
    if track is None:
        return max(0, window.end - max(window.start, window.counted)) / SAMPLE_RATE
    # The frame that the window's start cuts was not heard by the window before, which ended there.
    return track.speech_s(max(window.start - FRAME // 2 + 1, window.counted), window.end)


def default_model() -> Path:
    """The folder of the embedded model."""
    return Path(str(resources.files("emotion") / "models" / "default"))


def load_engine(model: Path | None = None, device: Device = "auto") -> Engine:
    """Loads a model folder.

    Args:
        model: a folder with `monitor.onnx` and, where sessions are to adapt, `classifier.onnx`; the
            embedded model where None.
        device: `cuda`, `cpu`, or `auto`, which takes CUDA where it is there and fits the model.

    Raises:
        ModelNotFoundError: there is no such folder or no model in it.
        ContractError: a contract is missing or does not fit.
        DeviceError: the device is missing or cannot run the model.
        ModelError: a file cannot be loaded.
    """
    folder = default_model() if model is None else model
    path = folder / "monitor.onnx"
    if not path.is_file():
        raise ModelNotFoundError(
            f"{path}: no such file; expected a folder that emotion-export wrote, with monitor.onnx"
        )
    on_cpu = _open(path, CPU)
    contract = _verified(on_cpu, path, "monitor")
    provider = _provider(contract, device, path)
    monitor = on_cpu if provider == CPU else _open(path, provider)
    classifier = None
    other = folder / "classifier.onnx"
    if contract.adaptable and other.is_file():
        classifier = _open(other, CPU)  # one row: no device pays for the trip
        _same_model(contract, _verified(classifier, other, "classifier"), other)
    served_on = "cuda" if provider == CUDA else "cpu"
    engine = Engine(contract, served_on, monitor, classifier, load_voice())
    log.info("model %s %s on %s", contract.name, contract.version, engine.device)
    return engine


def load_voice() -> VoiceActivity:
    """The embedded voice activity model, on the CPU."""
    return VoiceActivity(_open(voice_path(), CPU))


def _provider(contract: Contract, device: Device, path: Path) -> str:
    """Which execution provider to ask for; says in the log what `auto` took and why."""
    present = CUDA in onnxruntime.get_available_providers()
    int8 = contract.precision == "int8"
    if device == "cuda" and not present:
        raise DeviceError(
            "device cuda: this ONNX Runtime has no CUDA; "
            f"{install_line('cuda')}, in place of [cpu], or use --device cpu"
        )
    if device == "cuda" and int8:
        raise DeviceError(
            f"device cuda: {path} is int8, which CUDA runs slower and less exactly than fp16; "
            "export one with emotion-export --precision fp16, or use --device cpu"
        )
    if device == "auto":
        why = "no CUDA here" if not present else "the model is int8" if int8 else "CUDA is here"
        log.info("device auto: %s (%s)", "cuda" if present and not int8 else "cpu", why)
    return CUDA if device != "cpu" and present and not int8 else CPU


def _open(path: Path, provider: str) -> Any:
    """A single-threaded ONNX Runtime session on the provider.

    Raises:
        ModelError: the file is not a model.
        DeviceError: ONNX Runtime fell back to another provider.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors: what else it says is of no use to an operator
    # ONNX Runtime would remember for each length it ever saw how it laid out the memory: 7 KiB each with
    # two threads, for ever, and a call's first and last windows have any length. No run is slower.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's own errors share no public root
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"{path}: cannot be loaded ({reason}); copy or export it again") from error
    if session.get_providers()[0] != provider:
        raise DeviceError(
            f"{path}: {provider} could not be started; see its requirements, or use cpu"
        )
    return session


def _verified(session: Any, path: Path, graph: str) -> Contract:
    """The session's contract, held against the graph it came with."""
    contract = from_metadata(session.get_modelmeta().custom_metadata_map, str(path))
    if contract.graph != graph:
        raise ContractError("graph", graph, contract.graph, str(path))
    wanted = {"probabilities": len(contract.labels), "embedding": contract.embedding_dim}
    wanted |= {"mean": contract.embedding_dim, "inv_std": contract.embedding_dim}
    inputs, outputs = SHAPES[graph]
    voices = contract.voices()
    if graph == "classifier" and voices is not None:
        outputs, wanted = outputs | {"traits": 2}, wanted | {"traits": len(voices.variance)}
    for values, ranks in (session.get_inputs(), inputs), (session.get_outputs(), outputs):
        found = {value.name: value for value in values}
        if set(found) != set(ranks):
            raise ContractError(
                "graph", f"{graph} with {sorted(ranks)}", str(sorted(found)), str(path)
            )
        for name, rank in ranks.items():
            shape = found[name].shape
            width = shape[-1] if isinstance(shape[-1], int) else None
            if len(shape) != rank or (width is not None and width != wanted.get(name, width)):
                raise ContractError(
                    "graph", f"{name} of width {wanted.get(name, 'any')}", str(shape), str(path)
                )
    return contract


def _same_model(monitor: Contract, classifier: Contract, path: Path) -> None:
    """Refuses a classifier that was exported from another model than the monitor beside it."""
    for field in SHARED:
        expected, found = str(getattr(monitor, field)), str(getattr(classifier, field))
        if expected != found:
            raise ContractError(field, f"monitor.onnx's {expected[:40]}", found[:40], str(path))
