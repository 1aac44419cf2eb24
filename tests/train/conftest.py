"""A corpus and a Whisper small enough to make for every test run."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperConfig, WhisperModel

from emotion.labels import EMOTIONS
from train.corpora import Clip, load_ravdess
from train.recipe import Augment, Recipe, Tuning
from train.runs import actors_of
from train.tune import Lessons
from train.waves import read_waves

RATE = 16_000
DIMENSIONS = {
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 48,
    "vocab_size": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a full, random Whisper."""
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(1)
    WhisperModel(WhisperConfig(**DIMENSIONS)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def whisper_encoder(whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model's encoder alone, in half precision."""
    folder = tmp_path_factory.mktemp("whisper-encoder")
    WhisperModel.from_pretrained(whisper).encoder.half().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech of 24 actors, a quarter of a second each: emotions are intervals, actors pitches."""
    folder = tmp_path_factory.mktemp("corpus")
    for actor in range(1, 25):
        for emotion in range(1, 9):
            _write_clip(folder, f"03-01-{emotion:02}-01-01-01-{actor:02}")
    return folder


@pytest.fixture(scope="session")
def own_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three speakers in four emotions, four clips of each, listed in a manifest; one is no audio."""
    folder = tmp_path_factory.mktemp("own")
    lines = ["path,emotion,speaker"]
    for actor, speaker in enumerate(("Anna", "customer 17", "Zoë"), start=1):
        for emotion in (1, 3, 4, 5):
            for take in range(4):
                # A take is a little longer than the one before.
                name = f"03-01-{emotion:02}-01-01-01-{actor:02}"
                clip = _write_clip(folder / str(take), name, seconds=0.25 + 0.01 * take)
                path = clip.rename(clip.with_name(f"{emotion}.wav")).relative_to(folder).as_posix()
                lines.append(f"{path},{EMOTIONS[emotion - 1]},{speaker}")
    (folder / "broken.wav").write_bytes(b"no audio")
    lines.append("broken.wav,sad,Anna")
    (folder / "clips.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def _write_clip(folder: Path, name: str, suffix: str = ".wav", seconds: float = 0.25) -> Path:
    """Writes one synthetic recording under its actor's folder."""
    _, channel, emotion, *_, actor = (int(field) for field in name.split("-"))
    random = np.random.default_rng([channel, emotion, actor])
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 90 + 5 * actor
    tone = np.sin(2 * np.pi * pitch * time) + np.sin(2 * np.pi * (pitch + 350 * emotion) * time)
    samples = 0.2 * tone + 0.02 * random.standard_normal(len(time))
    path = folder / f"Actor_{actor:02}" / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.astype(np.float32), RATE)
    return path


@pytest.fixture
def write_clip() -> Callable[..., Path]:
    """`write_clip(folder, name, suffix=".wav", seconds=0.25)`: one synthetic recording."""
    return _write_clip


@pytest.fixture
def made_up_clips() -> Callable[[int, int], tuple[Clip, ...]]:
    """`made_up_clips(voices, takes)`: names without recordings, each voice's emotions so many times."""

    def made_up(voices: int, takes: int) -> tuple[Clip, ...]:
        return tuple(
            Clip(Path(f"{voice}-{emotion}-{take}.wav"), emotion, voice, "speech")
            for voice in range(voices)
            for emotion in range(8)
            for take in range(takes)
        )

    return made_up


@pytest.fixture
def recipe() -> Recipe:
    """Quick to fit."""
    return Recipe(
        name="small",
        layers=(1, 2),
        pooling=("mean", "std"),
        hidden=(16,),
        batch_norm=(True,),
        dropout=(0.1,),
        learning_rate=3e-3,
        schedule="one-cycle",
        batch_size=16,
        epochs=4,
        seed=3,
    )


@pytest.fixture
def tuned(recipe: Recipe) -> Recipe:
    """The same, with pieces and an encoder that is fine-tuned."""
    return msgspec.structs.replace(
        recipe,
        augment=Augment(plain_views=1, varied_views=2, piece_s=(0.1, 0.2)),
        tuning=Tuning(epochs=2, actors=4, clips=4),
        adapted=0.5,
    )


@pytest.fixture(scope="session")
def lessons(corpus: Path) -> Lessons:
    """What an encoder is tuned on: eight of the corpus's actors."""
    clips, waves = read_waves(load_ravdess(corpus)[:64])
    return Lessons(waves, actors_of(clips, waves))


@pytest.fixture
def as_toml() -> Callable[[Recipe], str]:
    """A recipe as a user writes it."""

    def written(recipe: Recipe) -> str:
        fields = {k: v for k, v in msgspec.to_builtins(recipe).items() if v is not None}
        tables = {name: value for name, value in fields.items() if isinstance(value, dict)}
        # TOML's values are JSON's.
        lines = [_line(name, value) for name, value in fields.items() if name not in tables]
        for name, table in tables.items():
            lines += [f"[{name}]", *(_line(*item) for item in table.items())]
        return "\n".join(lines)

    return written


def _line(name: str, value: object) -> str:
    return f"{name} = {msgspec.json.encode(value).decode()}"


@pytest.fixture
def recipe_file(recipe: Recipe, as_toml: Callable[[Recipe], str], tmp_path: Path) -> Path:
    """The small recipe in a file."""
    path = tmp_path / "small.toml"
    path.write_text(as_toml(recipe))
    return path


@pytest.fixture
def recordings() -> Path:
    """RAVDESS and Whisper's encoder, where they are."""
    folder = Path(os.environ.get("EMOTION_DATA") or Path(__file__).parents[3] / "shared/data")
    if not (folder / "whisper-base-encoder").is_dir():
        pytest.skip(f"no recordings in {folder}; set EMOTION_DATA")
    return folder
