"""What every .onnx file of this project says about itself.

The contract travels inside the file, in ONNX `metadata_props`, one JSON value a field, so that a model
can be served without a side file and read in any ONNX viewer. Whoever loads a model reads the contract
first and refuses a model whose contract is missing or does not fit.
"""

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from emotion.errors import ContractError
from emotion.labels import EMOTIONS
from emotion.prototypes import Voices

PREFIX: Final = "emotion."
"""Put before every field's name in `metadata_props`, apart from what exporters write themselves."""

SAMPLE_RATE: Final = 16_000
"""Hz; the only rate the models hear (Whisper's)."""

SHORTEST_WINDOW: Final = SAMPLE_RATE // 2
"""Samples; what a session may ask a model to judge, so no model may ask for more."""

Graph = Literal["encoder", "classifier", "monitor"]
Precision = Literal["fp32", "fp16", "int8"]
Positive = Annotated[int, msgspec.Meta(gt=0)]


OPTIONAL: Final = ("emotion_traits", "voice_variance", "trust")
"""Fields that files of before they came do not have."""


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of the contract; every graph carries all of them.

    Attributes:
        contract_version: the version of this list of fields.
        graph: which of the three graphs this file is.
        name: the model's name, for people.
        version: the model's version, for people.
        labels: names of the outputs, in the order of the logits.
        sample_rate: Hz of the waveform.
        min_samples: the shortest waveform the graph takes, in samples.
        max_samples: the longest one, in samples.
        embedding_dim: D, the length of an embedding.
        embedding_mean: base64 of float32 [D], the training corpus's mean embedding.
        embedding_std: base64 of float32 [D], its standard deviation.
        adaptable: whether the classifier expects embeddings normalised by a mean and a standard
            deviation, so that a channel's own statistics may take the corpus's place.
        prior_s: seconds of speech that the corpus statistics weigh when a channel adapts.
        emotion_traits: base64 of float32 [8, K], each emotion's mean traits (`prototypes.py`); empty
            where the classifier gives none. This and the two below may be absent in older files.
        voice_variance: base64 of float32 [K], how voices vary around them.
        trust: weight of what prototypes say beside what the classifier says.
        precision: number format of the weights.
        target: instruction set that an int8 file was quantized for, empty otherwise.
        opset: ONNX operator set.
        recipe: the training recipe, whole.
        metrics: figures on clips the recipe never trained on, as the reports print them.
        licence: terms of the weights.
        data: what they were trained on.
    """

    contract_version: Literal[1] = 1
    graph: Graph
    name: str
    version: str
    labels: tuple[str, ...]
    sample_rate: Positive
    min_samples: Positive
    max_samples: Positive
    embedding_dim: Positive
    embedding_mean: str
    embedding_std: str
    adaptable: bool
    prior_s: Annotated[float, msgspec.Meta(gt=0)]
    emotion_traits: str = ""
    voice_variance: str = ""
    trust: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    precision: Precision
    target: str
    opset: Positive
    recipe: dict[str, Any]
    metrics: dict[str, Any]
    licence: str
    data: str

    def mean(self) -> npt.NDArray[np.float32]:
        """The corpus's mean embedding: float32 [D]."""
        return unpack(self.embedding_mean)

    def std(self) -> npt.NDArray[np.float32]:
        """The corpus's standard deviation of the embeddings: float32 [D], all positive."""
        return unpack(self.embedding_std)

    def voices(self) -> Voices | None:
        """What the classifier's traits are like in the corpus; None where it gives none."""
        if not self.emotion_traits:
            return None
        variance = unpack(self.voice_variance)
        means = unpack(self.emotion_traits).reshape(len(self.labels), len(variance))
        return Voices(means, variance, self.trust)


def pack(vector: npt.NDArray[np.float32]) -> str:
    """float32 [D] as base64 of little-endian bytes."""
    return base64.b64encode(np.ascontiguousarray(vector, dtype="<f4").tobytes()).decode("ascii")


def unpack(text: str) -> npt.NDArray[np.float32]:
    """The inverse of `pack`.

    Raises:
        ValueError: the text is not base64 of whole float32 values.
    """
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float32)


def to_metadata(contract: Contract) -> dict[str, str]:
    """The contract as ONNX `metadata_props`: one JSON value a field."""
    fields = msgspec.to_builtins(contract)
    return {PREFIX + name: msgspec.json.encode(value).decode() for name, value in fields.items()}


def from_metadata(metadata: Mapping[str, str], source: str = "") -> Contract:
    """Reads and checks a contract.

    Args:
        metadata: a model's `metadata_props`; keys of others are ignored.
        source: the file's name, for the error.

    Raises:
        ContractError: a field is missing, cannot be read or does not fit; names the first such field.
    """
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Contract):
        raw = metadata.get(PREFIX + field.name)
        if raw is None and field.name in OPTIONAL:
            continue
        if raw is None:
            raise ContractError(field.name, "a value", "nothing", source)
        try:
            values[field.name] = msgspec.convert(msgspec.json.decode(raw), field.type)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise ContractError(
                field.name, "a valid value", f"{raw[:60]} ({error})", source
            ) from error
    contract = Contract(**values)
    _check(contract, source)
    return contract


def _check(contract: Contract, source: str) -> None:
    """What the types alone do not say."""
    if contract.labels != EMOTIONS:
        raise ContractError("labels", str(list(EMOTIONS)), str(list(contract.labels)), source)
    if contract.sample_rate != SAMPLE_RATE:
        raise ContractError("sample_rate", str(SAMPLE_RATE), str(contract.sample_rate), source)
    if contract.min_samples > contract.max_samples:
        raise ContractError(
            "min_samples", f"at most {contract.max_samples}", str(contract.min_samples), source
        )
    if contract.min_samples > SHORTEST_WINDOW:
        raise ContractError(
            "min_samples", f"at most {SHORTEST_WINDOW}", str(contract.min_samples), source
        )
    _check_voices(contract, source)
    for name in ("embedding_mean", "embedding_std"):
        try:
            vector = unpack(getattr(contract, name))
        except ValueError as error:
            raise ContractError(name, "base64 of float32 values", str(error), source) from error
        if len(vector) != contract.embedding_dim:
            raise ContractError(name, f"{contract.embedding_dim} values", str(len(vector)), source)
        if not np.isfinite(vector).all() or (name == "embedding_std" and not (vector > 0).all()):
            raise ContractError(name, "finite values, all std above 0", "others", source)


def _check_voices(contract: Contract, source: str) -> None:
    try:
        voices = contract.voices()
    except ValueError as error:
        expected = f"base64 of {len(contract.labels)} rows as long as voice_variance"
        raise ContractError("emotion_traits", expected, str(error), source) from error
    if voices is None:
        return
    finite = np.isfinite(voices.means).all() and np.isfinite(voices.variance).all()
    if not finite or not (voices.variance >= 0).all():
        raise ContractError("voice_variance", "finite values, none below 0", "others", source)
