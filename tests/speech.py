"""Sounds that Silero takes for speech: those that `emotion-client load` speaks."""

from clients.synthetic import speech_like

__all__ = ["speech_like"]
