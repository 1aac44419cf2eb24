"""A run's folder: everything needed to use, export or judge one trained model.

    run.json             recipe, Whisper's name and dimensions, digests of both files below
    head.safetensors     the head's weights and the training set's statistics
    encoder.safetensors  Whisper's used layers; the folds of a crossval share one, a folder up
    metrics.json         figures, by protocol; may be empty
    clips.json           names of the clips trained on and of those held out; may be absent

Whisper's layers are stored also where the recipe freezes them: a run can then be exported where
Whisper's hub cannot be reached, and nobody can exchange the weights under it. Weights take half the
room as float16 wherever that loses nothing (OpenAI published them so; ours are rounded to it).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emotion.errors import ConfigurationError, ModelError, ModelNotFoundError
from train.encoder import Embedder, load_whisper
from train.files import write, write_json
from train.head import Head
from train.recipe import Recipe, recipe_from

FORMAT: Final = 1

DIMENSIONS: Final = (
    "num_mel_bins",
    "d_model",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "max_source_positions",
    "activation_function",
)
"""The fields of WhisperConfig that shape the encoder, apart from its depth."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained model.

    Attributes:
        recipe: how it was trained.
        embedder: waveform [B, N] to embedding [B, D], in evaluation mode, float32.
        head: embedding [B, D] to logits [B, 8], in evaluation mode; holds `mean`, `std` and
            `temperature`.
        metrics: figures on clips it never trained on, and what else the report says.
    """

    recipe: Recipe
    embedder: Embedder
    head: Head
    metrics: dict[str, Any]


def save_checkpoint(
    folder: Path,
    recipe: Recipe,
    embedder: Embedder,
    head: Head,
    metrics: dict[str, Any],
    *,
    shared_encoder: bool = False,
    made_of: str = "",
) -> None:
    """Writes a run's folder; run.json comes last, so an interrupted run never loads.

    Args:
        folder: made where it is missing.
        made_of: a digest of all that the weights come from besides the recipe.
        shared_encoder: leave the encoder to the folder above, written by `save_encoder`.
    """
    (folder / "run.json").unlink(missing_ok=True)
    if shared_encoder:
        (folder / "encoder.safetensors").unlink(missing_ok=True)  # of a tuned run that was here
    else:
        save_encoder(folder, embedder)
    write(folder / "head.safetensors", lambda path: save_file(_compacted(head), path))
    write_json(folder / "metrics.json", metrics)
    config = embedder.config
    run = {
        "format": FORMAT,
        "recipe": msgspec.to_builtins(recipe),
        "encoder": {name: getattr(config, name) for name in DIMENSIONS},
        "encoder_sha256": weights_sha256(embedder),
        "head_sha256": weights_sha256(head),
        "made_of": made_of,
    }
    write_json(folder / "run.json", run)


def save_encoder(folder: Path, embedder: Embedder) -> None:
    """Writes encoder.safetensors: the used layers, as float16 where that is exact."""
    write(folder / "encoder.safetensors", lambda path: save_file(_compacted(embedder), path))


def load_encoder(folder: Path, embedder: Embedder) -> None:
    """Reads what `save_encoder` wrote into an encoder of the same shape.

    Raises:
        ModelNotFoundError: there is none in the folder.
        ModelError: it cannot be read, or is of another shape.
    """
    _load(embedder, folder / "encoder.safetensors")


def load_checkpoint(folder: Path, whisper: str | None = None) -> Checkpoint:
    """Reads a run's folder.

    Args:
        folder: what `emotion-train fit` wrote, or one fold of what `emotion-train crossval` wrote.
        whisper: take the encoder from this hub name or folder rather than from the run.

    Raises:
        ModelNotFoundError: there is no finished run in the folder.
        ModelError: a file of it cannot be read, or its weights are not those of the run.
    """
    run = _read_run(folder)
    recipe, dimensions = run["recipe"], run["encoder"]
    embedder = _embedder(folder, recipe, dimensions, whisper)
    _verify(embedder, run["encoder_sha256"], f"{folder}: the encoder's weights")
    head = Head(embedder.dim, recipe)
    _load(head, folder / "head.safetensors")
    _verify(head, run["head_sha256"], f"{folder}: the head's weights")
    metrics = _read_json(folder / "metrics.json")
    return Checkpoint(recipe, embedder, head.eval().requires_grad_(False), metrics)


def stored_recipe(folder: Path) -> tuple[Recipe, str]:
    """What the run in a folder was made by and of: its recipe, and a digest of the rest.

    Raises:
        ModelNotFoundError: there is no finished run in the folder.
        ModelError: its run.json cannot be read.
    """
    run = _read_run(folder)
    return run["recipe"], str(run.get("made_of", ""))


@dataclass(frozen=True)
class ClipNames:
    """Which recordings a run has seen, by the files' names without endings.

    Attributes:
        train: clips its weights come from; never to be judged on.
        held_out: clips it was measured on.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]


def save_clip_names(folder: Path, names: ClipNames) -> None:
    """Writes clips.json."""
    write_json(folder / "clips.json", {"train": names.train, "held_out": names.held_out})


def load_clip_names(folder: Path) -> ClipNames:
    """Reads clips.json; both lists are empty where the run has none.

    Raises:
        ModelError: the file cannot be read.
    """
    path = folder / "clips.json"
    if not path.is_file():
        return ClipNames((), ())
    try:
        return msgspec.convert(_read_json(path), ClipNames)
    except msgspec.ValidationError as error:
        raise ModelError(f"{path}: not lists of clips: {error}") from error


def weights_sha256(module: nn.Module) -> str:
    """A digest of a module's weights: names, shapes and float32 values, ordered by name."""
    digest = hashlib.sha256()
    for name, value in sorted(_state(module).items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.float().numpy().tobytes())
    return digest.hexdigest()


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def rounded(module: nn.Module) -> nn.Module:
    """Rounds the weights to float16, as Whisper's own were published; buffers stay as they are.

    What is rounded once, before anything is measured, is stored in half the room and loses nothing.
    """
    for weight in module.parameters():
        weight.data = weight.data.half().float()
    return module


def _compacted(module: nn.Module) -> dict[str, Tensor]:
    return {name: _compact(value) for name, value in _state(module).items()}


def _compact(value: Tensor) -> Tensor:
    half = value.half()
    return half if torch.equal(half.float(), value) else value


def _embedder(
    folder: Path, recipe: Recipe, dimensions: dict[str, Any], whisper: str | None
) -> Embedder:
    if whisper is not None:
        return Embedder(load_whisper(whisper), recipe).eval()
    try:
        config = WhisperConfig(**dimensions, encoder_layers=max(recipe.layers))
        config._attn_implementation = "sdpa"
        with torch.device("meta"):  # no time spent on random weights, no random numbers drawn
            encoder = WhisperEncoder(config)
        embedder = Embedder(encoder.to_empty(device="cpu"), recipe)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}/run.json: unusable encoder dimensions: {error}") from error
    own = folder / "encoder.safetensors"
    _load(embedder, own if own.is_file() else folder.parent / "encoder.safetensors")
    return embedder.eval().requires_grad_(False)


def _load(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: missing; fit the run again with emotion-train")
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
        counters = {n: v.long() for n, v in state.items() if n.endswith("num_batches_tracked")}
        module.load_state_dict(state | counters)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{path}: unreadable ({reason}); fit the run again with emotion-train"
        ) from error


def _verify(module: nn.Module, expected: str, what: str) -> None:
    if (found := weights_sha256(module)) != expected:
        raise ModelError(
            f"{what} have the digest {found[:12]}, expected {expected[:12]}; "
            "fit the run again, or give the Whisper it was trained with"
        )


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    if not path.is_file():
        raise ModelNotFoundError(
            f"{folder}: no finished run there (no run.json); make one with emotion-train fit"
        )
    run = _read_json(path)
    if run.get("format") != FORMAT:
        raise ModelError(f"{path}: expected format {FORMAT}, found {run.get('format')}")
    try:
        run["recipe"] = recipe_from(run["recipe"])
        _ = run["encoder"], run["encoder_sha256"], run["head_sha256"]
    except (KeyError, msgspec.ValidationError) as error:
        raise ModelError(f"{path}: not a run: {error}") from error
    return run


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: unreadable ({error}); fit the run again") from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: expected an object")
    return value
