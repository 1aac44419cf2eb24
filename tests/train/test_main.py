"""emotion-train from end to end, in process, on a corpus made here."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch

from emotion.labels import EMOTIONS
from train import runs, tune
from train.__main__ import main
from train.checkpoint import load_checkpoint, load_clip_names, weights_sha256
from train.corpora import load_corpus
from train.recipe import Recipe
from train.runs import Material, Trained, train_split
from train.splits import EMOBOX_FOLDS, Split

Run = Callable[..., int]
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["emotion-train", *map(str, arguments)])
        with pytest.raises(SystemExit) as ending:
            main()
        assert isinstance(ending.value.code, int)
        return ending.value.code

    return run


@pytest.fixture
def options(corpus: Path, whisper: Path, recipe_file: Path, cache: Path) -> list[object]:
    chosen = ["--recipe", recipe_file, "--data", corpus, "--whisper", whisper, "--cache", cache]
    return list(chosen)


def test_fit_then_evaluate_judges_the_clips_that_were_held_out(
    program: Run, options: list[object], corpus: Path, cache: Path, tmp_path: Path
) -> None:
    assert program("fit", *options, "--out", tmp_path / "run") == 0
    names = load_clip_names(tmp_path / "run")
    assert (len(names.train), len(names.held_out)) == (153, 39)
    result, plots = tmp_path / "result.json", tmp_path / "plots"
    arguments = ("--run", tmp_path / "run", "--data", corpus, "--cache", cache)
    assert program("evaluate", *arguments, "--json", result, "--plots", plots) == 0
    report = json.loads(result.read_text())
    assert (report["protocol"], report["adaptation"], report["n"]) == ("random", "none", 39)
    assert list(report["per_class"]) == list(EMOTIONS)
    stored = load_checkpoint(tmp_path / "run").metrics["random"]
    assert stored["accuracy"] == pytest.approx(report["accuracy"])
    for plot in ("confusion", "per_class", "learning_curve"):
        assert (plots / f"{plot}.png").read_bytes().startswith(PNG)


def test_the_same_command_twice_gives_the_same_weights(
    program: Run, options: list[object], tmp_path: Path
) -> None:
    for name in ("first", "second"):
        assert program("fit", *options, "--out", tmp_path / name) == 0
    first, second = (load_checkpoint(tmp_path / name).head for name in ("first", "second"))
    assert weights_sha256(first) == weights_sha256(second)


def test_the_run_remembers_which_whisper_was_taken_but_not_where_it_lay(
    program: Run, options: list[object], whisper: Path, tmp_path: Path
) -> None:
    assert program("fit", *options, "--out", tmp_path / "run") == 0
    assert load_checkpoint(tmp_path / "run").recipe.whisper == whisper.name
    assert str(whisper) not in (tmp_path / "run" / "run.json").read_text()


def test_crossval_over_emoboxs_folds_keeps_a_loadable_run_for_each(
    program: Run, options: list[object], tmp_path: Path
) -> None:
    assert program("crossval", *options, "--folds", "emobox", "--out", tmp_path) == 0
    report = json.loads((tmp_path / "crossval.json").read_text())
    assert (report["protocol"], report["n"], len(report["folds"])) == ("emobox", 192, 6)
    assert report["ua"] == pytest.approx(sum(fold["ua"] for fold in report["folds"]) / 6)
    assert (tmp_path / "plots" / "confusion.png").exists()
    for number, actors in enumerate(EMOBOX_FOLDS, start=1):
        folder = tmp_path / f"fold-{number}"
        names = load_clip_names(folder)
        assert {int(name[-2:]) for name in names.held_out} == actors
        assert not set(names.held_out) & set(names.train)
        assert load_checkpoint(folder).metrics["emobox"]["n"] == 32


def test_crossval_over_random_splits_reports_each_seed_and_their_spread(
    program: Run, options: list[object], tmp_path: Path
) -> None:
    arguments = ("--folds", "random", "--seeds", "2", "--out", tmp_path)
    assert program("crossval", *options, *arguments) == 0
    report = json.loads((tmp_path / "crossval.json").read_text())
    assert [seed["name"] for seed in report["seeds"]] == ["seed-3", "seed-4"]
    assert list(report["sd"]) == ["accuracy", "ua", "macro_f1", "ece"]
    assert report["best_epoch"]["accuracy"] >= report["accuracy"]
    assert load_checkpoint(tmp_path / "seed-4").metrics["random"]["n"] == 39


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that were trained on, and not taken from what lay there."""
    names: list[str] = []

    def counted(material: Material, split: Split, seed: int, folder: Path) -> Trained:
        names.append(split.name)
        return train_split(material, split, seed, folder)

    monkeypatch.setattr(runs, "train_split", counted)
    return names


def test_an_interrupted_crossval_goes_on_with_the_models_that_are_missing(
    program: Run, options: list[object], tmp_path: Path, trained: list[str]
) -> None:
    arguments = ("crossval", *options, "--folds", "emobox", "--out", tmp_path)
    assert program(*arguments) == 0
    whole = (tmp_path / "crossval.json").read_bytes()
    (tmp_path / "crossval.json").unlink()
    shutil.rmtree(tmp_path / "fold-4")
    trained.clear()
    assert program(*arguments) == 0
    assert trained == ["fold-4"]
    assert (tmp_path / "crossval.json").read_bytes() == whole


def test_a_model_of_another_recipe_is_trained_anew(
    program: Run, options: list[object], recipe_file: Path, tmp_path: Path
) -> None:
    arguments = ("crossval", *options, "--folds", "emobox", "--out", tmp_path)
    assert program(*arguments) == 0
    before = load_checkpoint(tmp_path / "fold-1")
    recipe_file.write_text(recipe_file.read_text().replace("seed = 3", "seed = 4"))
    assert program(*arguments) == 0
    after = load_checkpoint(tmp_path / "fold-1")
    assert (before.recipe.seed, after.recipe.seed) == (3, 4)
    assert weights_sha256(before.head) != weights_sha256(after.head)


def test_a_tuned_recipe_stores_an_encoder_with_each_model(
    program: Run, options: list[object], tuned: Recipe, as_toml: Callable[..., str], tmp_path: Path
) -> None:
    recipe = tmp_path / "tuned.toml"
    recipe.write_text(as_toml(tuned))
    options[1] = recipe
    assert (
        program("crossval", *options, "--folds", "random", "--seeds", "2", "--out", tmp_path) == 0
    )
    folders = tmp_path / "seed-3", tmp_path / "seed-4"
    digests = {weights_sha256(load_checkpoint(folder).embedder) for folder in folders}
    assert len(digests) == 2
    assert not (tmp_path / "encoder.safetensors").exists()


def test_another_head_of_a_tuned_recipe_takes_the_encoders_that_are_there(
    program: Run,
    options: list[object],
    tuned: Recipe,
    as_toml: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ("--folds", "random", "--seeds", "1", "--out")
    options[1] = file = tmp_path / "tuned.toml"
    file.write_text(as_toml(tuned))
    assert program("crossval", *options, *arguments, tmp_path / "first") == 0
    monkeypatch.setattr(tune._Run, "one_epoch", None)
    assert program("crossval", *options, *arguments, tmp_path / "again") == 0
    file.write_text(as_toml(msgspec.structs.replace(tuned, epochs=2)))
    assert program("crossval", *options, *arguments, tmp_path / "other") == 0
    first, again, other = (
        load_checkpoint(tmp_path / name / "seed-3") for name in ("first", "again", "other")
    )
    assert weights_sha256(first.embedder) == weights_sha256(other.embedder)
    assert weights_sha256(first.head) == weights_sha256(again.head) != weights_sha256(other.head)


def test_runs_of_other_training_code_are_trained_anew(
    program: Run,
    options: list[object],
    tmp_path: Path,
    trained: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ("crossval", *options, "--folds", "random", "--seeds", "1", "--out", tmp_path)
    assert program(*arguments) == 0
    trained.clear()
    assert program(*arguments) == 0
    assert not trained
    for name in ("PIECES_VERSION", "FEATURES_VERSION", "TUNE_VERSION", "FIT_VERSION"):
        monkeypatch.setattr(runs, name, 99)
        assert program(*arguments) == 0
    assert trained == ["seed-3"] * 4


def test_a_used_folder_is_trained_over_whatever_lay_there(
    program: Run,
    options: list[object],
    recipe: Recipe,
    tuned: Recipe,
    as_toml: Callable[..., str],
    tmp_path: Path,
) -> None:
    fewer = msgspec.structs.replace(recipe, layers=(1,))
    arguments = ("--folds", "random", "--seeds", "1", "--out", tmp_path / "run")
    for number, each in enumerate((tuned, recipe, fewer)):
        file = tmp_path / f"{number}.toml"
        file.write_text(as_toml(each))
        options[1] = file
        assert program("crossval", *options, *arguments) == 0
        assert load_checkpoint(tmp_path / "run" / "seed-3").recipe.layers == each.layers
    assert not list((tmp_path / "run").rglob("tuning.pt"))


def test_the_model_that_ships_learns_from_all_and_carries_the_folds_figures(
    program: Run, options: list[object], corpus: Path, cache: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folds, run = tmp_path / "folds", tmp_path / "run"
    assert program("crossval", *options, "--folds", "emobox", "--out", folds) == 0
    assert program("fit", *options, "--all", "--metrics-from", folds, "--out", run) == 0
    report = json.loads((folds / "crossval.json").read_text())
    assert load_checkpoint(run).metrics["emobox"]["ua"] == report["ua"]
    assert len(load_clip_names(run).train) == 192
    capsys.readouterr()
    arguments = ("--run", run, "--data", corpus, "--json", tmp_path / "r.json", "--cache", cache)
    assert program("evaluate", *arguments) == 2
    assert "was trained on all these clips" in capsys.readouterr().err


@pytest.fixture
def own(options: list[object], own_corpus: Path) -> list[object]:
    """The options with a corpus that is not RAVDESS."""
    options[options.index("--data") + 1] = own_corpus
    return options


def test_a_corpus_of_ones_own_is_judged_on_speakers_that_were_not_trained_on(
    program: Run, own: list[object], own_corpus: Path, cache: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folds, run = tmp_path / "folds", tmp_path / "run"
    assert program("crossval", *own, "--folds", "speakers", "--out", folds) == 0
    assert "broken.wav: cannot be decoded" in caplog.text
    absent = "no recording is calm or fearful or disgust or surprised"
    assert caplog.text.count(absent) == 1
    report = json.loads((folds / "crossval.json").read_text())
    assert (report["protocol"], report["n"], len(report["folds"])) == ("speakers", 48, 3)
    recalls = [recall for recall in report["per_class"].values() if recall is not None]
    assert len(recalls) == 4 and report["ua"] == pytest.approx(sum(recalls) / 4)
    speakers = {clip.name: clip.speaker for clip in load_corpus(own_corpus)}
    held_out = []
    for number in (1, 2, 3):
        names = load_clip_names(folds / f"fold-{number}")
        (voice,) = {speakers[name] for name in names.held_out}
        assert voice not in {speakers[name] for name in names.train}
        held_out.append(voice)
    assert sorted(held_out) == ["Anna", "Zoë", "customer 17"]

    assert program("fit", *own, "--all", "--metrics-from", folds, "--out", run) == 0
    checkpoint = load_checkpoint(run)
    assert checkpoint.metrics["speakers"]["ua"] == report["ua"]
    assert all(torch.isfinite(value).all() for value in checkpoint.head.state_dict().values())

    result = tmp_path / "result.json"
    arguments = ("--data", own_corpus, "--json", result, "--cache", cache)
    assert program("evaluate", "--run", folds / "fold-2", *arguments) == 0
    judged = json.loads(result.read_text())
    assert (judged["protocol"], judged["ua"]) == ("speakers", report["folds"][1]["ua"])


def test_a_model_is_trained_again_where_the_manifest_says_something_else_of_its_clips(
    program: Run, own: list[object], own_corpus: Path, tmp_path: Path, trained: list[str]
) -> None:
    data = shutil.copytree(own_corpus, tmp_path / "data")
    own[own.index("--data") + 1] = data
    arguments = ("crossval", *own, "--folds", "speakers", "--out", tmp_path / "run")
    assert program(*arguments) == 0
    trained.clear()
    assert program(*arguments) == 0
    assert not trained
    manifest = data / "clips.csv"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("1.wav,neutral,Anna", "1.wav,disgust,Anna", 1), "utf-8")
    assert program(*arguments) == 0
    assert trained == ["fold-1", "fold-2", "fold-3"]


@pytest.mark.parametrize(
    "arguments", [["crossval", "--folds", "emobox"], ["suite", "--target", "none"]]
)
def test_what_is_ravdesss_alone_is_refused_to_other_corpora(
    arguments: list[str], program: Run, own: list[object], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert program(*arguments, *own, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "is for RAVDESS" in error and "--folds speakers" in error
    assert error.count("\n") == 1


def test_recordings_that_a_run_never_saw_are_judged_under_their_own_name(
    program: Run,
    options: list[object],
    cache: Path,
    tmp_path: Path,
    write_clip: Callable[..., Path],
) -> None:
    assert program("fit", *options, "--out", tmp_path / "run") == 0
    for emotion in range(1, 9):
        write_clip(tmp_path / "data", f"03-01-{emotion:02}-01-02-01-05")
    arguments = ("--data", tmp_path / "data", "--json", tmp_path / "r.json", "--cache", cache)
    assert program("evaluate", "--run", tmp_path / "run", *arguments) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["protocol"], report["n"]) == ("other", 8)


def test_figures_of_another_recipe_are_refused(
    program: Run, options: list[object], recipe_file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = ("--folds", "random", "--seeds", "1", "--out", tmp_path / "folds")
    assert program("crossval", *options, *arguments) == 0
    recipe_file.write_text(recipe_file.read_text().replace("epochs = 4", "epochs = 5"))
    arguments = ("--all", "--metrics-from", tmp_path / "folds", "--out", tmp_path / "run")
    assert program("fit", *options, *arguments) == 2
    assert "its recipe is not the one being fitted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "--recipe", "sead", "--data", ".", "--out", "x"], "one of: edge, seed, stream"),
        (["fit", "--recipe", "seed", "--data", "nowhere", "--out", "x"], "no such folder"),
        (["fit", "--recipe", "seed"], "Missing option"),
        (["fit", "--recipe", "seed", "--data", ".", "--out", "x", "--metrics-from", "y"], "--all"),
        (["crossval", "--recipe", "seed", "--folds", "emo", "--data", ".", "--out", "x"], "emo"),
        (
            ["crossval", "--recipe", "seed", "--folds", "emobox", "--seeds", "3", "--data", ".",
             "--out", "x"],
            "--seeds is for --folds random",
        ),
        (
            ["crossval", "--recipe", "seed", "--folds", "speakers", "--seeds", "3", "--data", ".",
             "--out", "x"],
            "the folds of speakers are fixed",
        ),
        (["evaluate", "--run", "nowhere", "--data", ".", "--json", "x"], "no finished run"),
        (["download", "--out", "x", "--base-url", "nonsense"], "nonsense"),
        (["sweet"], "No such command"),
    ],
)  # fmt: skip
def test_what_a_user_gets_wrong_ends_in_one_line_and_code_2(
    arguments: list[str], said: str, program: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert program(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_whisper_that_is_not_there_ends_in_one_line(
    program: Run, options: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program("fit", *options, "--whisper", "/nowhere", "--out", tmp_path / "run") == 2
    assert "--whisper /nowhere: no such folder" in capsys.readouterr().err


def test_skipped_files_are_reported_on_the_way(
    program: Run, options: list[object], corpus: Path, cache: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    (data / "Actor_01" / "take two.wav").write_bytes(b"")
    (data / "Actor_02" / "03-01-01-01-01-01-02.wav").write_bytes(b"broken")
    options[options.index("--data") + 1] = data
    assert program("fit", *options, "--out", tmp_path / "run") == 0
    assert "take two.wav: not a RAVDESS name" in caplog.text
    assert "03-01-01-01-01-01-02.wav: cannot be decoded" in caplog.text
    names = load_clip_names(tmp_path / "run")
    assert len(names.train) + len(names.held_out) == 191
