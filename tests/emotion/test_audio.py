"""Bytes to samples at 16 kHz."""

import io
import struct
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion.audio import (
    BYTES_PER_SAMPLE,
    Decoder,
    Resampler,
    from_pcm,
    resample,
    to_mulaw,
    to_pcm,
)
from emotion.errors import AudioError

ENCODINGS = sorted(BYTES_PER_SAMPLE)
cuts = st.lists(st.integers(0, 400), max_size=12)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def test_mulaw_takes_the_nearest_code_for_every_sample():
    pcm = np.arange(-32_768, 32_768, dtype=np.int32).astype(np.int16)
    levels = np.sort(np.round(Decoder("mulaw").feed(bytes(range(256)))[:, 0] * 32_768))
    heard = np.round(Decoder("mulaw").feed(to_mulaw(pcm))[:, 0] * 32_768)
    nearest = np.abs(levels[:, np.newaxis] - pcm[np.newaxis, ::97]).min(0)
    np.testing.assert_array_equal(np.abs(heard - pcm)[::97], nearest)


@pytest.mark.parametrize(("encoding", "subtype"), [("mulaw", "ULAW"), ("alaw", "ALAW")])
def test_every_g711_code_is_decoded_as_libsndfile_does(encoding, subtype):
    codes = bytes(range(256))
    oracle, _ = soundfile.read(
        io.BytesIO(codes),
        samplerate=8_000,
        channels=1,
        format="RAW",
        subtype=subtype,
        dtype="float32",
    )
    assert np.array_equal(Decoder(encoding).feed(codes)[:, 0], oracle)


def test_pcm16_spans_minus_one_to_just_below_one():
    data = struct.pack("<4h", -32_768, 0, 1, 32_767)
    assert Decoder("pcm_s16le").feed(data)[:, 0].tolist() == [-1, 0, 1 / 32_768, 32_767 / 32_768]


def test_float_samples_beyond_full_scale_are_clipped():
    data = np.array([-3.0, -1.0, 0.25, 1.0, 1e30], "<f4").tobytes()
    assert Decoder("pcm_f32le").feed(data)[:, 0].tolist() == [-1, -1, 0.25, 1, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_refused_with_its_position(value):
    decoder = Decoder("pcm_f32le", channels=2)
    decoder.feed(np.zeros(6, "<f4").tobytes())
    bad = np.array([0, 0, 0, value], "<f4").tobytes()
    with pytest.raises(AudioError, match=r"sample 4 is -?(nan|inf).*expected finite"):
        decoder.feed(bad)


@given(cut=st.integers(0, 100))
def test_the_position_of_a_bad_sample_does_not_depend_on_the_chunking(cut):
    values = np.zeros(25, "<f4")
    values[17] = np.nan
    data, decoder = values.tobytes(), Decoder("pcm_f32le")
    with pytest.raises(AudioError, match="sample 17 is nan"):
        for piece in (data[:cut], data[cut:]):
            decoder.feed(piece)


@given(
    encoding=st.sampled_from(ENCODINGS),
    channels=st.integers(1, 8),
    seed=st.integers(0, 1_000),
    size=st.integers(0, 400),
    at=cuts,
)
def test_any_cut_of_the_bytes_decodes_to_the_same_samples(encoding, channels, seed, size, at):
    random = np.random.default_rng(seed)
    data = random.bytes(size)
    if encoding == "pcm_f32le":
        data = random.uniform(-2, 2, size // 4).astype("<f4").tobytes() + b"\x00" * (size % 4)
    whole, parts = Decoder(encoding, channels), Decoder(encoding, channels)
    expected = whole.feed(data)
    found = np.concatenate([parts.feed(piece) for piece in pieces(data, at)])
    assert found.shape == (size // (BYTES_PER_SAMPLE[encoding] * channels), channels)
    assert np.array_equal(found, expected)
    assert parts.rest == whole.rest == size % (BYTES_PER_SAMPLE[encoding] * channels)
    assert parts.frames == len(expected)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_may_come_in_any_buffer(kind):
    assert Decoder("pcm_s16le").feed(kind(b"\x00\x40\x00"))[:, 0].tolist() == [0.5]


def test_what_is_decoded_does_not_change_with_the_callers_buffer():
    buffer = bytearray(b"\x00\x00\x80\x3f" * 4)
    samples = Decoder("pcm_f32le").feed(buffer)
    buffer[:] = bytes(16)
    assert samples[:, 0].tolist() == [1.0] * 4


@pytest.mark.parametrize("rate", [-1, 0, 1, 7_999, 48_001, 96_000])
def test_rates_outside_8_to_48_khz_are_refused(rate):
    with pytest.raises(AudioError, match=f"sample rate {rate}: expected 8000 to 48000 Hz"):
        Resampler(rate)


@settings(max_examples=60)
@given(
    rate=st.integers(8_000, 48_000) | st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000]),
    length=st.integers(0, 5_000),
    channels=st.integers(1, 3),
    at=st.lists(st.integers(0, 5_000), max_size=20),
)
def test_resampling_in_any_chunks_equals_the_whole_bit_for_bit(rate, length, channels, at):
    samples = np.random.default_rng(length).uniform(-1, 1, (length, channels)).astype(np.float32)
    stream = Resampler(rate, channels)
    edges = [0, *sorted(min(cut, length) for cut in at), length]
    parts = [stream.feed(samples[a:b]) for a, b in pairwise(edges)]
    found = np.concatenate([*parts, stream.feed(samples[:0], last=True)])
    assert np.array_equal(found, resample(samples, rate))
    assert abs(len(found) - length * 16_000 / rate) <= 0.5


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 997])
def test_short_and_odd_lengths_are_resampled(rate, length):
    stream = Resampler(rate)
    samples = np.ones((length, 1), np.float32)
    found = stream.feed(samples, last=True)
    assert found.dtype == np.float32
    assert np.array_equal(found, resample(samples, rate))


@settings(max_examples=30)
@given(
    rate=st.sampled_from([8_000, 11_025, 22_050, 44_100, 48_000]),
    at=st.lists(st.integers(0, 4_000), min_size=1, max_size=20),
)
def test_how_much_has_left_the_resampler_does_not_depend_on_the_chunking(rate, at):
    samples = np.zeros((4_000, 1), np.float32)
    once, often, out = Resampler(rate), Resampler(rate), 0
    last = max(at)
    edges = [0, *sorted(at)]
    for a, b in pairwise(edges):
        out += len(often.feed(samples[a:b]))
    assert len(once.feed(samples[:last])) == out


def test_a_tone_below_4_khz_survives_resampling():
    time = np.arange(8_000) / 8_000
    tone = np.sin(2 * np.pi * 1_000 * time).astype(np.float32)
    expected = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
    middle = slice(2_000, 14_000)
    assert np.abs(resample(tone, 8_000)[middle] - expected[middle]).max() < 1e-3


def test_pcm_is_rounded_and_clipped_at_full_scale():
    samples = np.array([-2, -1, -0.4 / 32_768, 0.6 / 32_768, 1, 2], np.float32)
    assert to_pcm(samples).tolist() == [-32_768, -32_768, 0, 1, 32_767, 32_767]


def test_to_pcm_leaves_its_argument_as_it_was():
    samples = np.array([0.5], np.float32)
    to_pcm(samples)
    assert samples.tolist() == [0.5]


def test_every_int16_value_survives_the_way_to_float_and_back():
    values = np.arange(-32_768, 32_768).astype(np.int16)
    assert np.array_equal(to_pcm(from_pcm(values)), values)
