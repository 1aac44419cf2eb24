"""What a user would run instead of our model, each on one thread, and how it is made to run.

The rivals need Whisper's weights, from a folder in Hugging Face's format with a whole model or with an
encoder alone. What is missing is said, and the rest is measured without it.
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from emotion.audio import to_pcm
from emotion.contract import SAMPLE_RATE
from emotion.engine import Engine, Window
from emotion.vad import FRAME, VoiceTrack
from export.build import Settings, build
from export.graphs import Monitor, Networks
from export.parity import Session
from train.encoder import Embedder, load_whisper
from train.frontend import LogMel
from train.head import Head
from train.recipe import Recipe, load_recipe, recipe_from

Waveform = npt.NDArray[np.float32]
Judge = Callable[[], object]

TOKENS: Final = 51_865
"""Of Whisper's multilingual vocabulary; CTranslate2 wants one, and the encoder never sees it."""


class Unavailable(Exception):
    """A rival cannot run here; says why."""


def ours(engine: Engine, waveform: Waveform) -> Judge:
    """The model alone: waveform in, probabilities out."""
    return lambda: engine.run(waveform)


def adapting(engine: Engine, waveform: Waveform) -> Judge:
    """All that the server does for a window of an adapting session, the last second of which is new."""
    pcm = to_pcm(waveform)
    heard = (len(pcm) - SAMPLE_RATE) // FRAME * FRAME
    window = Window(
        channel="",
        start=0,
        end=len(pcm),
        pcm=pcm,
        extra=False,
        received_at=0.0,
        track=dataclasses.replace(
            VoiceTrack.begin(), position=heard, speech=np.ones(heard // FRAME, bool)
        ),
        unheard=pcm[heard:],
        baseline=engine.prior(),
        counted=heard,
    )
    return lambda: engine.judge(window)


def published(whisper: Path | None, waveform: Waveform) -> Judge:
    """The published pipeline: padded to 30 s, PyTorch in float32, log-mel included."""
    networks = _networks(whisper, load_recipe("seed"))
    model = Monitor(networks.embedder, networks.head).eval()
    row = torch.from_numpy(waveform)[None]

    def judge() -> object:
        with torch.inference_mode():
            return model(row)

    return judge


def onnxruntime_fp32(whisper: Path | None, engine: Engine, waveform: Waveform) -> Judge:
    """Our own graph, of the recipe in the contract, in float32."""
    session = Session(_fp32(whisper, engine).SerializeToString())
    return lambda: session(waveform=waveform[None])


def openvino(
    whisper: Path | None, engine: Engine, waveform: Waveform, *, precision: str = "bf16"
) -> Judge:
    """Our own graph in OpenVINO, which computes in bf16 where the processor can."""
    _needs("openvino")
    import openvino as ov

    core = ov.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unavailable("no bf16 on this processor")
    model = core.read_model(_fp32(whisper, engine).SerializeToString())
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer({"waveform": waveform[None]})


def ctranslate2(whisper: Path | None, waveform: Waveform, held: ExitStack) -> Judge:
    """CTranslate2's `Whisper.encode`, int8, all layers, on the same window: log-mel in, states out.

    Its log-mel is not counted: faster-whisper makes it with NumPy, and it is our front end's gain.

    Args:
        held: keeps the converted model's folder while it runs.
    """
    _needs("ctranslate2")
    import ctranslate2 as ct2

    folder = held.enter_context(TemporaryDirectory())
    _convert_for_ctranslate2(_given(whisper), Path(folder) / "model")
    model = ct2.models.Whisper(
        str(Path(folder) / "model"),
        device="cpu",
        compute_type="int8",
        inter_threads=1,
        intra_threads=1,
    )
    with torch.inference_mode():
        log_mel = LogMel()(torch.from_numpy(waveform)[None]).contiguous().numpy()
    features = ct2.StorageView.from_array(log_mel)
    return lambda: model.encode(features)


def _convert_for_ctranslate2(whisper: Path, folder: Path) -> None:
    """The encoder with a decoder of one random layer, which CTranslate2 wants and never runs here."""
    from ctranslate2.converters.transformers import WhisperLoader

    config = WhisperConfig.from_pretrained(whisper)
    config.decoder_layers, config.vocab_size = 1, TOKENS
    model = WhisperForConditionalGeneration(config).eval()
    model.model.encoder = load_whisper(str(whisper))
    spec = WhisperLoader().get_model_spec(model)
    spec.register_vocabulary([f"token-{number}" for number in range(TOKENS)])
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir()
    spec.save(str(folder))


def _fp32(whisper: Path | None, engine: Engine) -> onnx.ModelProto:
    networks = _networks(whisper, recipe_from(engine.contract.recipe))
    return build(networks, Settings(), ["monitor"])["monitor"]


def _networks(whisper: Path | None, recipe: Recipe) -> Networks:
    """With a random head: what it says is of no matter here."""
    embedder = Embedder(load_whisper(str(_given(whisper))), recipe).eval()
    return Networks(embedder, Head(embedder.dim, recipe).eval().requires_grad_(False))


def _given(whisper: Path | None) -> Path:
    if whisper is None:
        raise Unavailable("give --whisper FOLDER")
    return whisper


def _needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise Unavailable(f"pip install {package}")
