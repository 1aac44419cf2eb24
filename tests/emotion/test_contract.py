"""What every .onnx says about itself."""

import msgspec
import numpy as np
import pytest

from emotion.contract import OPTIONAL, Contract, from_metadata, pack, to_metadata, unpack
from emotion.errors import ContractError, ModelError
from tests.fakes import MEAN, STD, contract

FIELDS = [field.name for field in msgspec.structs.fields(Contract)]


def test_a_contract_survives_metadata():
    written = contract(recipe={"layers": [1, 2], "name": "é"}, metrics={"ua": 0.75})
    assert from_metadata(to_metadata(written)) == written


def test_metadata_is_text_under_one_prefix():
    metadata = to_metadata(contract())
    assert set(metadata) == {f"emotion.{name}" for name in FIELDS}
    assert all(isinstance(value, str) for value in metadata.values())


def test_foreign_metadata_is_ignored():
    metadata = to_metadata(contract()) | {"onnx.infer": "onnxruntime.quant", "name": "torch"}
    assert from_metadata(metadata) == contract()


def test_a_contract_of_before_there_were_traits_still_reads():
    metadata = to_metadata(contract())
    for field in OPTIONAL:
        del metadata[f"emotion.{field}"]
    read = from_metadata(metadata)
    assert read == contract(emotion_traits="", voice_variance="", trust=0.0)
    assert read.voices() is None


def test_voices_are_the_shape_of_labels_and_traits():
    means, variance = np.arange(24, dtype=np.float32).reshape(8, 3), np.ones(3, np.float32)
    written = contract(emotion_traits=pack(means), voice_variance=pack(variance), trust=0.1)
    voices = from_metadata(to_metadata(written)).voices()
    assert np.array_equal(voices.means, means)
    assert np.array_equal(voices.variance, variance)
    assert voices.trust == 0.1


@pytest.mark.parametrize(
    ("means", "variance", "field"),
    [
        (np.zeros(23), np.ones(3), "emotion_traits"),
        (np.zeros(24), np.ones(0), "emotion_traits"),
        (np.full(24, np.nan), np.ones(3), "voice_variance"),
        (np.zeros(24), np.array([1, -1, 1]), "voice_variance"),
    ],
)
def test_voices_that_do_not_fit_are_refused(means, variance, field):
    packed = [pack(values.astype(np.float32)) for values in (means, variance)]
    written = contract(emotion_traits=packed[0], voice_variance=packed[1], trust=0.1)
    with pytest.raises(ContractError) as caught:
        from_metadata(to_metadata(written))
    assert caught.value.field == field


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in OPTIONAL])
def test_a_missing_field_is_named(field):
    metadata = to_metadata(contract())
    del metadata[f"emotion.{field}"]
    with pytest.raises(ContractError) as caught:
        from_metadata(metadata, "m.onnx")
    assert str(caught.value).startswith(
        f"m.onnx: contract field '{field}': expected a value, found"
    )
    assert (caught.value.field, caught.value.source) == (field, "m.onnx")
    assert isinstance(caught.value, ModelError)


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        ("contract_version", "2"),
        ("graph", '"decoder"'),
        ("name", "7"),
        ("version", "null"),
        ("labels", '["neutral"]'),
        ("labels", '["calm","neutral","happy","sad","angry","fearful","disgust","surprised"]'),
        ("labels", '"neutral"'),
        ("sample_rate", "8000"),
        ("sample_rate", "true"),
        ("min_samples", "0"),
        ("min_samples", "8001"),
        ("min_samples", "480001"),
        ("max_samples", "-1"),
        ("max_samples", "100"),
        ("embedding_dim", "5"),
        ("embedding_dim", "4.5"),
        ("embedding_mean", '"not base64!"'),
        ("embedding_mean", '"AAA="'),
        ("embedding_mean", '"é"'),
        ("embedding_mean", f'"{pack(np.array([1, 2, np.nan, 4], np.float32))}"'),
        ("embedding_std", f'"{pack(np.array([1, 2, 0, 4], np.float32))}"'),
        ("embedding_std", f'"{pack(np.array([1, 2, -1, 4], np.float32))}"'),
        ("embedding_std", f'"{pack(np.array([1, 2, np.inf, 4], np.float32))}"'),
        ("embedding_std", f'"{pack(np.ones(3, np.float32))}"'),
        ("adaptable", "1"),
        ("prior_s", "0"),
        ("prior_s", "-6"),
        ("prior_s", "1e999"),
        ("precision", '"int4"'),
        ("target", "null"),
        ("opset", "0"),
        ("recipe", "[]"),
        ("metrics", '"good"'),
        ("licence", "false"),
        ("data", "{}"),
        ("data", "not json"),
        ("data", ""),
        ("recipe", "[" * 5_000),
        ("name", '"\ud800"'),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_what_was_found(field, raw):
    metadata = to_metadata(contract()) | {f"emotion.{field}": raw}
    with pytest.raises(
        ContractError, match=r"expected .+, found .+; export the model again"
    ) as caught:
        from_metadata(metadata)
    # Bounds that contradict each other may be blamed on either end.
    assert caught.value.field == field or {caught.value.field, field} <= {
        "min_samples",
        "max_samples",
        "embedding_dim",
        "embedding_mean",
    }
    assert "\n" not in str(caught.value)


def test_statistics_are_read_back_exactly():
    read = contract()
    assert np.array_equal(read.mean(), MEAN) and read.mean().dtype == np.float32
    assert np.array_equal(read.std(), STD)


def test_packing_accepts_any_memory_layout():
    vector = np.arange(10, dtype=np.float32)[::3]
    assert np.array_equal(unpack(pack(vector)), vector)
