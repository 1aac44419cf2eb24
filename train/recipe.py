"""A training recipe: everything that decides which weights come out, read from TOML.

The recipes that ship are in `train/recipes/`: `seed.toml`, the published one, `stream.toml`, the one
behind the embedded model, and `edge.toml`, for small boards. A recipe travels inside every checkpoint
and exported graph.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from emotion.errors import ConfigurationError

Count = Annotated[int, msgspec.Meta(ge=1)]
Rate = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Portion = Annotated[float, msgspec.Meta(ge=0, le=1)]


Views = Annotated[int, msgspec.Meta(ge=0, le=100)]


class Augment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How training pieces are varied (`augment.py`).

    Attributes:
        plain_views: pieces of each training clip as they were recorded that the head learns from
            beside the clip itself.
        spoken_views: pieces at another speed and level, in quiet, likewise.
        varied_views: pieces that are varied in every way, likewise.
        piece_s: shortest and longest piece, in seconds.
        speed: pieces are up to so much faster or slower, pitch and formants with them.
        warp: the mel axis is stretched or shortened by up to so much, while the encoder is tuned.
        time_mask: the longest hole in time, in frames of 10 ms, likewise.
        mel_mask: the widest hole in frequency, in mel bins, likewise.
        noise: share of the pieces that get noise.
        snr_db: its lowest and highest signal-to-noise ratio.
        telephone: share of the pieces that go over a telephone line.
        equalizer: share of the pieces that are coloured.
        equalizer_db: by up to so much, in each of seven bands.
        gain_db: pieces are made louder or softer by up to so much.
    """

    plain_views: Views = 4
    spoken_views: Views = 0
    varied_views: Views = 6
    piece_s: tuple[Rate, Rate] = (1.6, 3.6)
    speed: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.12
    warp: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.08
    time_mask: Annotated[int, msgspec.Meta(ge=0, le=100)] = 25
    mel_mask: Annotated[int, msgspec.Meta(ge=0, le=40)] = 12
    noise: Portion = 0.5
    snr_db: tuple[float, float] = (0.0, 25.0)
    telephone: Portion = 0.25
    equalizer: Portion = 0.5
    equalizer_db: Annotated[float, msgspec.Meta(ge=0, le=20)] = 6.0
    gain_db: Annotated[float, msgspec.Meta(ge=0, le=40)] = 6.0

    @property
    def views(self) -> int:
        """Pieces of each clip that the head learns from."""
        return self.plain_views + self.spoken_views + self.varied_views

    def __post_init__(self) -> None:
        _check_range("augment.piece_s", self.piece_s, 0.02, 30)
        _check_range("augment.snr_db", self.snr_db, -40, 100)


class Tuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the encoder is fine-tuned, before the head is fitted anew to what it then hears.

    Attributes:
        epochs: passes over the training clips, a piece of each at a time.
        learning_rate: AdamW's peak, of the encoder's last layer.
        layer_decay: each layer below learns so much slower.
        head_rate: the peak for everything that starts from nothing.
        weight_decay: AdamW's, for the encoder.
        dropout: after each of the encoder's sublayers. It spreads the frames, which `std` pools and a
            teacher without it never does: beside a teacher it made the distance ten times as large,
            all of it the dropout's own.
        head_dropout: of the head that is thrown away afterwards.
        average: decay of the weights' moving average, which is kept in place of the last weights
            (Polyak and Juditsky 1992); 0 keeps the last ones.
        plain: share of the pieces that are left as they were spoken.
        teacher: weight of the distance from the embedding that the encoder as published gives of the
            same piece, spoken at the same speed and level in quiet, without merged frames; in
            squared standard deviations, beside a cross entropy of weight 1. It keeps what Whisper knows,
            and teaches not to hear noise and lines. `warp` and both masks are left out then.
        actors: of a batch.
        clips: of each of them in a batch.
    """

    epochs: Count = 30
    learning_rate: Rate = 1e-4
    layer_decay: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    head_rate: Rate = 1e-3
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 0.01
    dropout: Share = 0.0
    head_dropout: Share = 0.5
    average: Share = 0.98
    plain: Portion = 0.2
    teacher: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    actors: Count = 8
    clips: Annotated[int, msgspec.Meta(ge=2)] = 8


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training recipe.

    Attributes:
        name: what reports call it.
        whisper: hub name or folder of the Whisper model.
        audio_backend: what decodes and resamples recordings: `soundfile` (with soxr) or
            `torchaudio`.
        context: `padded` runs the encoder over 30 s as Whisper does, `clip` over the clip's own
            length.
        layers: encoder layers whose outputs are pooled, counted from 1.
        merge: for each encoder layer, how many frames in a row are averaged into one before it; all 1
            where empty. Neighbouring frames (20 ms) are much alike, and half of them take half the time
            (compare token merging, Bolya et al. 2023, and the pyramid of Chan et al. 2016, "Listen,
            Attend and Spell").
        final_norm: whether the encoder's final layer norm is applied (last layer only).
        pooling: statistics over time, concatenated.
        standardize: whether the head sees embeddings normalised by the training set's mean and
            standard deviation; only then can a channel's own statistics take their place.
        attention: whether frames weigh as a learnt linear map of each says, in place of all the same
            (attentive statistics pooling, Okabe et al. 2018, arXiv 1803.10963); learnt with `tuning`.
        augment: the random pieces of the training clips that are learnt from; none where absent.
        tuning: how the encoder is fine-tuned; it stays as it is where absent.
        adapted: share of what the head learns from that is normalised as adapting sessions would
            (`baselines.py`).
        prior_s: seconds of speech that the training set's statistics weigh when a channel adapts.
        traits: projections in which a channel learns what each emotion sounds like in its voice
            (`emotion/prototypes.py`); 0: none.
        trust: weight of what it learnt beside what the head says.
        hidden: widths of the head's hidden layers.
        batch_norm: for each hidden layer, whether batch normalisation follows it.
        dropout: for each hidden layer, its dropout.
        class_weights: whether the loss weighs classes inversely to their frequency.
        label_smoothing: of the cross entropy.
        learning_rate: AdamW's; the peak where the schedule moves it.
        weight_decay: AdamW's.
        schedule: `plateau` halves the rate when validation accuracy stalls (patience 3), as
            published; `one-cycle` warms up and anneals without looking at validation; `constant`
            does neither.
        batch_size: clips a step.
        epochs: passes over the training set; the last one's weights are the result.
        temperature: divides the logits once the fit is over. Label smoothing leaves a head less
            sure than it is right; below 1 makes up for it. Chosen like any other setting, one for
            all folds: `benchmarks/choose_recipe.py`.
        songs: whether the training actors' songs are learnt from where speech alone is tested, and
            by the model that ships.
        seed: of everything random.
    """

    name: str
    whisper: str = "openai/whisper-base"
    audio_backend: Literal["soundfile", "torchaudio"] = "soundfile"
    context: Literal["padded", "clip"] = "clip"
    layers: tuple[Count, ...] = (6,)
    merge: tuple[Count, ...] = ()
    final_norm: bool = False
    pooling: tuple[Literal["mean", "std"], ...] = ("mean",)
    standardize: bool = True
    attention: bool = False
    augment: Augment | None = None
    tuning: Tuning | None = None
    adapted: Portion = 0.0
    prior_s: Rate = 6.0
    traits: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    trust: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    hidden: tuple[Count, ...] = (1024, 512, 256)
    batch_norm: tuple[bool, ...] = (True, True, False)
    dropout: tuple[Share, ...] = (0.4, 0.3, 0.0)
    class_weights: bool = True
    label_smoothing: Share = 0.1
    learning_rate: Rate = 1e-4
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 1e-4
    schedule: Literal["plateau", "one-cycle", "constant"] = "constant"
    batch_size: Annotated[int, msgspec.Meta(ge=2)] = 32
    epochs: Count = 90
    temperature: Rate = 1.0
    songs: bool = False
    seed: Annotated[int, msgspec.Meta(ge=0)] = 42

    def __post_init__(self) -> None:
        if not len(self.hidden) == len(self.batch_norm) == len(self.dropout):
            raise ValueError("hidden, batch_norm and dropout must have the same length")
        if not self.layers or list(self.layers) != sorted(set(self.layers)):
            raise ValueError("layers must be ascending and distinct, for example [1, 2, 3, 4]")
        if self.merge and len(self.merge) != self.layers[-1]:
            raise ValueError(
                f"merge must have a number for each of the {self.layers[-1]} layers that are run"
            )
        if self.final_norm and len(self.layers) != 1:
            raise ValueError("final_norm applies to the last layer alone: give one layer")
        if self.tuning and not self.augment:
            raise ValueError("tuning the encoder needs [augment] too: it learns from pieces")
        if self.attention and not self.tuning:
            raise ValueError("attention is learnt with the encoder: it needs [tuning]")
        if self.traits and not self.standardize:
            raise ValueError("traits need standardize = true: they are of adapted embeddings")
        if self.adapted and not self.standardize:
            raise ValueError("adapted needs standardize = true: adapting replaces its statistics")
        if not self.pooling or len(set(self.pooling)) != len(self.pooling):
            raise ValueError('pooling must name "mean", "std" or both, each once')


def _check_range(name: str, pair: tuple[float, float], lowest: float, highest: float) -> None:
    if not lowest <= pair[0] <= pair[1] <= highest:
        raise ValueError(f"{name} must be [least, most], between {lowest:g} and {highest:g}")


def load_recipe(name: str) -> Recipe:
    """Reads a recipe.

    Args:
        name: the name of one that ships (`seed`, `stream`, `edge`) or the path of a TOML file.

    Raises:
        ConfigurationError: there is no such recipe, or a field of it does not fit.
    """
    shipped = resources.files("train") / "recipes"
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigurationError(f"recipe {name}: no such file")
        text = path.read_text(encoding="utf-8")
    else:
        text = _shipped(shipped, name)
    try:
        return recipe_from(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"recipe {name}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"recipe {name}: {error}") from error


def recipe_from(fields: dict[str, Any]) -> Recipe:
    """A recipe from its fields, as TOML, a checkpoint or a contract holds them.

    Raises:
        msgspec.ValidationError: a field is unknown or does not fit.
    """
    return msgspec.convert(fields, Recipe)


def _shipped(folder: Any, name: str) -> str:
    file = folder / f"{name}.toml"
    if not file.is_file():
        known = ", ".join(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))
        raise ConfigurationError(f"recipe {name}: expected a .toml file or one of: {known}")
    return str(file.read_text(encoding="utf-8"))
