"""Telephony's protocols, each a pure dialect over the same session.

fields.py     foreign JSON, checked
tracks.py     frames of one or two tracks, put in order and side by side
twilio.py     Twilio Media Streams, and those who speak like it
audiohook.py  Genesys AudioHook, version 2
signature.py  the signature on AudioHook's handshake
raw.py        Vonage, jambonz, Asterisk: a line of text, then audio
"""
