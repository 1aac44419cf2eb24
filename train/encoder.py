"""Waveform to embedding: log-mel, Whisper's encoder, pooling over time.

Whisper pads everything to 30 s. With `context = "clip"` the encoder runs over the clip's own frames
only: 3 s cost a tenth of 30 s, and the emotion is recognised as well or better. Layers above the
highest one asked for are dropped.
"""

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, WhisperConfig, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emotion.errors import ConfigurationError
from train.frontend import HOP, SAMPLE_RATE, LogMel
from train.recipe import Recipe

CONTEXT_SAMPLES: Final = 30 * SAMPLE_RATE
"""What Whisper's positions reach to."""

VARIANCE_FLOOR: Final = 1e-5
"""Keeps the standard deviation's gradient finite where a channel does not move."""


class Embedder(nn.Module):
    """Log-mel, encoder and pooling.

    Args:
        encoder: Whisper's encoder; this module shares its weights and drops its unused layers.
        recipe: `context`, `layers`, `merge`, `final_norm`, `pooling` and `attention` are read.

    Raises:
        ConfigurationError: the recipe asks for a layer that the encoder does not have.
    """

    def __init__(self, encoder: WhisperEncoder, recipe: Recipe) -> None:
        super().__init__()
        depth = len(encoder.layers)
        if max(recipe.layers) > depth:
            raise ConfigurationError(
                f"recipe {recipe.name}: layers {list(recipe.layers)}, but the encoder has {depth}"
            )
        self.recipe = recipe
        self.config: WhisperConfig = encoder.config
        self.log_mel = LogMel(encoder.config.num_mel_bins)
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.positions = nn.Parameter(encoder.embed_positions.weight.detach().clone(), False)
        self.layers = nn.ModuleList(list(encoder.layers)[: max(recipe.layers)])
        self.merge = recipe.merge or (1,) * len(self.layers)
        self.norm = encoder.layer_norm if recipe.final_norm else nn.Identity()
        # How much a frame counts, in logits; all the same before the first step.
        self.attention: nn.ModuleList | None = None
        if recipe.attention:
            width = encoder.config.d_model
            scores = [nn.Linear(width, 1, bias=False) for _ in recipe.layers]
            for score in scores:
                nn.init.zeros_(score.weight)
            self.attention = nn.ModuleList(scores)

    @property
    def dim(self) -> int:
        """D: length of an embedding."""
        width = int(self.positions.shape[1])
        return width * len(self.recipe.layers) * len(self.recipe.pooling)

    def forward(self, waveform: Tensor) -> Tensor:
        """Embeddings of a batch whose rows all have the same length.

        Args:
            waveform: float32 [B, N], 16 kHz, -1 to 1, 320 to 480,000 samples.

        Returns:
            float32 [B, D]: for each layer in order, for each statistic in order.
        """
        return self.pooled(self.hidden_states(self.spectrogram(waveform)))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """Log-mel of what the encoder is to hear: [B, N] -> [B, n_mels, T]."""
        if self.recipe.context == "padded":
            waveform = F.pad(waveform, (0, CONTEXT_SAMPLES - waveform.shape[1]))
        log_mel: Tensor = self.log_mel(waveform)
        return log_mel

    def pooled(self, states: list[Tensor]) -> Tensor:
        """Statistics over time of the recipe's layers: every layer's [B, T', d_model] -> [B, D]."""
        heard = [self.norm(states[layer - 1]) for layer in self.recipe.layers]
        if self.attention is None:
            return torch.cat([self._pool(hidden) for hidden in heard], dim=1)
        weights = [score(hidden) for score, hidden in zip(self.attention, heard, strict=True)]
        pairs = zip(heard, weights, strict=True)
        return torch.cat([self._pool(hidden, w.softmax(dim=1)) for hidden, w in pairs], dim=1)

    def mixed_precision(self, log_mel: Tensor) -> Tensor:
        """The embedding with the layers in bfloat16: three times as fast; for training only.

        Args:
            log_mel: float32 [B, n_mels, T].

        Returns:
            float32 [B, D].
        """
        with torch.autocast(log_mel.device.type, dtype=torch.bfloat16):
            states = self.hidden_states(log_mel)
        return self.pooled([state.float() for state in states])

    def hidden_states(self, log_mel: Tensor) -> list[Tensor]:
        """Every kept layer's output: log-mel [B, n_mels, T] -> [B, T', d_model] each.

        T' is ceil(T / 2), and ceil(T' / k) from where k frames are merged on.
        """
        hidden = F.gelu(self.conv1(log_mel))
        hidden = F.gelu(self.conv2(hidden)).transpose(1, 2)
        hidden = hidden + self.positions[: hidden.shape[1]]
        states = []
        for layer, frames in zip(self.layers, self.merge, strict=True):
            hidden = merged(hidden, frames)
            hidden = layer(hidden, attention_mask=None, layer_head_mask=None)[0]
            states.append(hidden)
        return states

    def _pool(self, hidden: Tensor, weights: Tensor | None = None) -> Tensor:
        """[B, T', d_model] -> [B, d_model x statistics].

        Args:
            hidden: a layer's output.
            weights: what each frame counts: [B, T', 1], adding up to 1; all the same where None.
        """

        def over_time(values: Tensor) -> Tensor:
            if weights is None:
                return values.mean(dim=1)
            return torch.matmul(weights.transpose(1, 2), values).squeeze(1)

        mean = over_time(hidden)
        pooled = {"mean": mean}
        if "std" in self.recipe.pooling:
            variance = over_time((hidden - mean.unsqueeze(1)).square())
            pooled["std"] = (variance + VARIANCE_FLOOR).sqrt()
        return torch.cat([pooled[name] for name in self.recipe.pooling], dim=1)


def merged(hidden: Tensor, frames: int) -> Tensor:
    """The mean of so many frames in a row: [B, T, d] -> [B, ceil(T / frames), d].

    Where the last ones are fewer, the last frame stands for those that are missing.
    """
    if frames == 1:
        return hidden
    # Strided slices: a reshape would ask the exporter to know that T is a multiple.
    padded = torch.cat([hidden] + [hidden[:, -1:]] * (frames - 1), dim=1)
    end = hidden.shape[1]
    parts = [padded[:, first : end + first : frames] for first in range(frames)]
    return sum(parts[1:], start=parts[0]) / frames


def load_whisper(name: str) -> WhisperEncoder:
    """Whisper's encoder in float32, in evaluation mode, its weights frozen.

    Args:
        name: a hub name such as `openai/whisper-base`, or a folder with a full model or an encoder
            alone.

    Raises:
        ConfigurationError: nothing can be loaded from there.
    """
    looks_local = "/" not in name or Path(name).is_absolute() or name.startswith(".")
    if looks_local and not Path(name).is_dir():
        raise ConfigurationError(f"--whisper {name}: no such folder; give a folder or a hub name")
    try:
        config: Any = AutoConfig.from_pretrained(name)
        if not isinstance(config, WhisperConfig):
            raise ConfigurationError(f"--whisper {name}: a {config.model_type} model, not Whisper")
        alone = config.architectures == ["WhisperEncoder"]
        options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "sdpa"}
        if alone:
            encoder = WhisperEncoder.from_pretrained(name, **options)
        else:
            encoder = WhisperModel.from_pretrained(name, **options).encoder
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"--whisper {name}: {str(error).splitlines()[0]}") from error
    return encoder.eval().requires_grad_(False)


__all__ = ["CONTEXT_SAMPLES", "HOP", "Embedder", "load_whisper", "merged"]
