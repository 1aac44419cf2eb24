"""Recipes: what is refused, and by which words."""

from pathlib import Path

import pytest

from emotion.errors import ConfigurationError
from train.recipe import load_recipe


def test_the_published_recipe_is_as_published() -> None:
    recipe = load_recipe("seed")
    assert (recipe.context, recipe.layers, recipe.final_norm) == ("padded", (6,), True)
    assert (recipe.pooling, recipe.standardize) == (("mean",), False)
    assert (recipe.hidden, recipe.dropout) == ((1024, 512, 256), (0.4, 0.3, 0.0))
    assert (recipe.learning_rate, recipe.weight_decay) == (1e-4, 1e-4)
    assert (recipe.schedule, recipe.epochs, recipe.batch_size) == ("plateau", 90, 32)
    assert (recipe.class_weights, recipe.label_smoothing, recipe.seed) == (True, 0.1, 42)


def test_the_shipped_recipe_never_looks_at_held_out_clips() -> None:
    assert load_recipe("stream").schedule != "plateau"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x"\ncontexts = "clip"', "unknown field `contexts`"),
        ('name = "x"\nepochs = 0', "epochs"),
        ('name = "x"\nlayers = [2, 1]', "ascending and distinct"),
        ('name = "x"\nlayers = [1, 2]\nfinal_norm = true', "give one layer"),
        ('name = "x"\nlayers = [1, 3]\nmerge = [1, 2]', "a number for each of the 3 layers"),
        ('name = "x"\npooling = []', "pooling must name"),
        ('name = "x"\n[augment]\npiece_s = [3, 2]', "least, most"),
        ('name = "x"\n[augment]\npiece_s = [0.001, 2]', "piece_s"),
        ('name = "x"\n[augment]\nnoise = 1.5', "noise"),
        ('name = "x"\n[tuning]', "needs .augment."),
        ('name = "x"\nattention = true', "needs .tuning."),
        ('name = "x"\nadapted = 0.5\nstandardize = false', "standardize"),
        ('name = "x"\nhidden = [4]', "same length"),
        ("name = ", "not TOML"),
        ("", "name"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_by_field(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load_recipe(str(path))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="one of: edge, seed, stream"):
        load_recipe("sead")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        load_recipe(str(tmp_path / "none.toml"))
