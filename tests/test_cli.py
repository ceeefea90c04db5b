"""The command line, in-process: files, tables, exit codes; no traceback for a user's mistake."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.batches.options import CutMixConfig
from semiseg_lib.cli import COMMANDS, commands, doctor, main, renamed
from semiseg_lib.core import durable
from semiseg_lib.core.durable import read_json
from semiseg_lib.datasets.labels import read_mask
from semiseg_lib.experiments import training
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.training.run_folder import RunFolder

SMOKE = ["--profile", "smoke", "--seed", "5", "--device", "cpu"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(folder))
        patch.delenv("SEMISEG_PROFILE", raising=False)
        yield folder


@pytest.fixture(scope="module")
def runs(work) -> dict[str, Path]:
    """The runs of the smoke pipeline, by method; of the two primaries the self-correcting one."""
    assert main(["pipeline", *SMOKE]) == 0
    found = {}
    for path in sorted((work / "runs").iterdir()):
        run = value_in(path)
        if run["method"].get("correction") != "none" and run["masks"] != "first half":
            found[run["method"]["name"]] = path
    return found


def value_in(folder: Path) -> dict:
    """The options of a run, as its folder holds them."""
    return read_json(folder / "config.json")["value"]


def folder_in(printed: str) -> Path:
    """The folder that a command has named."""
    return Path(re.search(r"^run: (.*)$", printed, re.M)[1])


def scores_in(folder: Path, split: str) -> tuple[dict, str]:
    """The only scores of a split that lie beside a run, and the report beside them."""
    (path,) = (folder / "evaluations").glob(f"{split}-*.json")
    return read_json(path), path.with_suffix(".md").read_text(encoding="utf-8")


def failed(capsys, arguments: list[str], code: int = 1) -> str:
    """Run a command that cannot be done; return what it says."""
    assert main(arguments) == code
    said = capsys.readouterr().err
    message = said[said.index("semiseg: "):]
    assert "Traceback" not in said and len(message.strip().splitlines()) <= 3
    return message


@pytest.mark.parametrize(("arguments", "said"), [
    ("pipeline --seed -1", "seed is -1"),
    ("train supervised --seed -1", "seed is -1"),
    (f"train supervised --seed {2**64}", f"seed is {2**64}"),
    ("train supervised --workers -1", "workers is -1"),
    ("train supervised --trackers bogus", "'bogus' is not a tracker"),
    ("train supervised --model.width 0", "model.width is 0"),
    ("train supervised --train.lr -1", "train.lr is -1.0; it must be >= 0"),
    ("train supervised --train.lr nan", "train.lr is nan; it must be >= 0"),
    ("logits --seed -2", "seed is -2"),
    ("logits --workers -2", "workers is -2"),
    ("study methods --seeds 1 -1", "seed is -1"),
    ("study methods --workers -1", "workers is -1"),
    ("run . --workers -1", "workers is -1"),
    ("evaluate . --window -1", "window is -1"),
    ("evaluate . --scales 1 0", "scales are (1.0, 0.0)"),
    ("predict . --run . --out labels --overlap 2", "overlap is 2.0"),
    ("compare --ratio nan", "--ratio is nan"),
    ("data split digits --labelled 10 --seed -3 --out list.txt", "seed is -3"),
    ("data frames . --size -1 5", "--size is (-1, 5)"),
    ("data audit digits --workers 0", "--workers is 0"),
])
def test_a_value_out_of_its_range_is_refused_before_anything_is_begun(
    tmp_path, monkeypatch, capsys, arguments, said
):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path)
    try:
        code = main(arguments.split())
    except SystemExit as stopped:  # the parser's own
        code = stopped.code
    assert code == 2 and said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def wrong_flags(capsys, arguments: list[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err + said.out


def test_the_pipeline_compares_five_models(runs, work, capsys):
    capsys.readouterr()
    assert main(["pipeline", *SMOKE]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 7 and sum("primary" in line.split("|")[1] for line in table) == 3
    for line in table[2:]:
        name, score, _minutes, run = (cell.strip() for cell in line.strip("|").split("|"))
        assert 0 < float(score) < 100 and (Path(run) / "model.safetensors").is_file(), name
    assert len(list((work / "runs").iterdir())) == 7  # conv has a start and a half ancillary


@pytest.mark.parametrize("method", ["supervised", "ancillary", "primary"])
def test_training_leaves_a_run_with_its_scores(runs, capsys, method):
    """The run of ``train`` is the pipeline's own: same configuration, same folder."""
    assert main(["train", method, *SMOKE]) == 0
    printed = capsys.readouterr().out
    folder = runs[method]
    assert folder.name in printed and "mIoU on val:" in printed
    scores, report = scores_in(folder, "val")
    assert scores["split"] == "val" and np.array(scores["confusion"]).shape == (5, 5)
    assert f"{100 * scores['mean_iou']:.1f} %" in report
    assert all(name in report for name in scores["classes"])


@pytest.mark.parametrize("method", ["pseudo-label", "fixmatch", "cps", "cutmix-cps"])
def test_a_method_without_boxes_trains_from_one_command(work, capsys, method):
    """What it starts from is made first; a second call only loads and says the same."""
    assert main(["train", method, *SMOKE]) == 0
    printed = capsys.readouterr().out
    assert "mIoU on val:" in printed and "balloon" in printed
    folder = folder_in(printed)
    value = value_in(folder)
    assert value["start"] or method == "pseudo-label"
    assert (value["method"].get("cutmix") is not None) == (method in ("cutmix-cps", "fixmatch"))
    assert scores_in(folder, "val")[0]["split"] == "val"
    assert ("round 2: the teacher has" in printed) == (method == "pseudo-label")
    assert main(["train", method, *SMOKE]) == 0
    again = capsys.readouterr()
    assert again.out == printed and "step/s" not in again.err


def test_a_student_is_reported_with_its_last_weights_and_its_best(work, capsys):
    """Its teacher-to-be is the best one on val; what is printed first is still the last."""
    arguments = ["train", "pseudo-label", "--dataset", "digits", *SMOKE, "--method.count", "1",
                 "--method.no-keep-better", "--method.finetune.steps", "20",
                 "--method.finetune.validate-every", "1", "--method.finetune.lr", "0.02"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    folder = folder_in(printed)
    assert main(["evaluate", str(folder), "--split", "val", "--device", "cpu"]) == 0
    (summary,) = (line for line in printed.splitlines() if line.startswith("mIoU on val"))
    assert summary in capsys.readouterr().out
    last, best = summary.split(" (last weights); ")
    assert last.split()[-2:] != best.split()[:2], "this run cannot tell the two apart"


def test_flags_of_methods_without_boxes_reach_the_run(work, capsys):
    arguments = ["--method.weight", "0.5", "--method.threshold", "0.7", "--train.steps", "2",
                 "--method.views", "2", "--method.feature-dropout", "0.25"]
    assert main(["train", "fixmatch", *SMOKE, *arguments]) == 0
    config = value_in(folder_in(capsys.readouterr().out))
    found = {key: config["method"][key]
             for key in ("weight", "threshold", "views", "feature_dropout")}
    assert found == {"weight": 0.5, "threshold": 0.7, "views": 2, "feature_dropout": 0.25}
    assert config["train"]["steps"] == 2


def test_flags_reach_the_run(work, capsys):
    before = set((work / "runs").iterdir()) if (work / "runs").is_dir() else set()
    arguments = ["train", "primary", *SMOKE, "--train.steps", "2", "--method.correction", "none",
                 "--method.alpha.end", "0.25", "--augment.flip", "0", "--model.width", "5"]
    assert main(arguments) == 0
    (folder,) = {p for p in set((work / "runs").iterdir()) - before if "primary" in p.name}
    config = value_in(folder)
    assert config["train"]["steps"] == 2 and config["method"]["correction"] == "none"
    assert config["method"]["alpha"]["end"] == 0.25 and config["views"]["flip"] == 0
    assert config["model"]["width"] == 5 and config["seed"] == 5


def test_evaluating_a_run_scores_the_split_that_was_asked_for(runs, capsys):
    folder = runs["primary"]
    for split in ("val", "test"):
        assert main(["evaluate", str(folder), "--split", split, "--device", "cpu"]) == 0
        assert f"mIoU on {split}:" in capsys.readouterr().out
    confusions = [scores_in(folder, split)[0]["confusion"] for split in ("val", "test")]
    assert confusions[0] != confusions[1]


def test_data_and_logits_say_what_is_there(runs, work, capsys):
    assert main(["data", *SMOKE]) == 0
    printed = capsys.readouterr().out
    assert "balloon" in printed and "VOC2012" in printed
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in printed.splitlines() if line.startswith("|")]
    assert {row[0]: row[1] for row in rows[2:]} == {
        "labelled": "8", "unlabelled": "16", "val": "16", "test": "16"
    }
    assert main(["logits", *SMOKE]) == 0
    printed = capsys.readouterr().out
    assert "16 images" in printed and (work / "logits").as_posix() in printed


def test_predicting_a_folder_of_odd_images(runs, tmp_path, capsys):
    source, out = tmp_path / "mine", tmp_path / "out"
    source.mkdir()
    generator = np.random.default_rng(0)
    sizes = {"wide": (37, 50), "tall": (70, 33)}
    for name, size in sizes.items():
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(source / f"{name}.jpg")
    arguments = ["predict", str(source), "--run", str(runs["primary"]), "--out", str(out)]
    assert main([*arguments, "--device", "cpu"]) == 0
    assert "2 images segmented" in capsys.readouterr().out
    for name, size in sizes.items():
        assert read_mask(out / f"{name}.png", 5).shape == size
        assert (out / f"{name}_overlay.png").is_file()
    arguments[3] = str(runs["ancillary"])
    assert "needs boxes" in failed(capsys, arguments)


def test_weights_of_another_model_are_refused_with_the_mend(runs, tmp_path, capsys):
    """Copied into the folder they are damage; stored as its own they do not fit."""
    mixed = tmp_path / "mixed"
    shutil.copytree(runs["primary"], mixed)
    shutil.copy(runs["ancillary"] / "model.safetensors", mixed / "model.safetensors")
    said = failed(capsys, ["evaluate", str(mixed)])
    assert "model.safetensors is damaged" in said or "not finished" in said
    store = RunFolder.open(mixed).store
    store.put("model.safetensors", (mixed / "model.safetensors").read_bytes())
    store.finish()
    said = failed(capsys, ["evaluate", str(mixed)])
    assert "model.safetensors does not fit this model" in said and "train again" in said


@pytest.mark.parametrize("content", ['{"method": "other"}', "{}", "", "[1]"])
def test_a_configuration_that_is_none_is_refused(runs, tmp_path, capsys, content):
    """Of a run that is not finished; a finished one is described by its manifest."""
    spoiled = tmp_path / "spoiled"
    shutil.copytree(runs["primary"], spoiled)
    (spoiled / "config.json").write_text(content, encoding="utf-8")
    assert main(["run", str(spoiled), "--device", "cpu"]) == 0
    assert runs["primary"].name in capsys.readouterr().out
    (spoiled / "manifest.json").unlink()
    for command in ("evaluate", "run"):
        assert "config.json" in failed(capsys, [command, str(spoiled)])


MISTYPED = {
    "evaluate nowhere": "nowhere is missing",
    "predict nowhere --run nowhere --out out": "nowhere is missing",
    "predict {image} --run nowhere --out out": "nowhere is missing",
    "visualize nowhere.png --run nowhere --out out.png": "nowhere.png is missing",
    "visualize {image} --run {folder} --out out.jpg": "out.jpg: the figure is written as a .png",
    "visualize {image} --run {folder} --out {image}": "is an input",
    "run nowhere": "nowhere is missing",
    "run {image} --weights nowhere.bin": "nowhere.bin is missing",
    "data --profile desktop": "no profile 'desktop'; there are smoke",
    "data audit mars": "unknown dataset 'mars'; choose from minivoc, voc",
    "data audit minivoc --list nowhere.txt": "nowhere.txt is missing",
    "data audit minivoc --sample 0": "--sample is 0; check at least one image",
    "data split mars --labelled 5 --out x": "unknown dataset 'mars'",
    "data split minivoc --labelled 0 --out x": "--labelled is 0",
    "data frames": "name at least one video",
    "data frames nowhere.MXF": "nowhere.MXF is missing",
    "data frames {image} --every 0": "--every is 0",
    "train supervised --profile desktop": "no profile 'desktop'",
    "train --train.steps 3": "name the method before any flag",
    "train --data.candidates cps fixmatch": "name the method before any flag",
    "train fixmatch --profile paper --dataset camvid": "no recipe of fixmatch",
    "train fixmatch --profile smoke --data.published nowhere.txt": "nowhere.txt is missing",
    "train supervised --profile smoke --model.architecture deeplab --model.weights nowhere.pth":
        "nowhere.pth is missing",
    "study schedules --profile desktop": "no profile 'desktop'",
    "compare --profile desktop": "no profile 'desktop'",
    "compare --against nonsense": "'nonsense' is not a row of the comparison; choose from superv",
    "compare --ratio 0": "--ratio is 0",
    "compare --out table.xls": "table.xls: the comparison is written as .md or .csv",
    "pipeline --dataset mars": "unknown dataset 'mars'; choose from minivoc, voc",
    "pipeline --profile desktop": "no profile 'desktop'",
    "pipeline --labelled -1": "data.labelled is -1",
    "pipeline --steps 0": "steps is 0",
    "pipeline --steps -1": "steps is -1",
    "pipeline --published nowhere.txt": "nowhere.txt is missing",
    "logits --profile desktop": "no profile 'desktop'",
    "evaluate \x1b[31m": "holds characters that show nothing",
}
"""{what cannot be meant: what is said}, with a file and a folder that there are in braces."""
MISTYPED_FLAGS = [
    "nonsense", "train nonsense", "train fixmatch --dataset mars", "data mars", "study nonsense",
    "compare --dataset mars", "evaluate {folder} --split train", "runs purne", "doctor now",
    "train cutmix-cps --method.cutmix maybe", "train fixmatch --train.steps many",
    "train fixmatch --profile smoke --train.steps 0", "data --world mars",
]
"""What the parsers refuse."""


def test_what_was_mistyped_ends_with_two_at_once_and_begins_nothing(tmp_path):
    """In every command; nothing that computes is imported, and nothing written."""
    assert {line.split()[0] for line in [*MISTYPED, *MISTYPED_FLAGS]} == {*COMMANDS, "nonsense"}
    image, folder = tmp_path / "image.png", tmp_path / "folder"
    image.touch()
    folder.mkdir()
    given = [line.format(image=image, folder=folder) for line in [*MISTYPED, *MISTYPED_FLAGS]]
    work = tmp_path / "work"
    done = subprocess.run(
        [sys.executable, "-c", ANSWERED_AT_ONCE], input="\n".join(given), capture_output=True,
        text=True, check=True, cwd=tmp_path, env={**os.environ, "SEMISEG_WORK": str(work)},
    )
    *codes, heavy = done.stdout.splitlines()
    assert codes == [f"{line} 2" for line in given] and heavy == "[]"
    assert not work.exists() and {*tmp_path.iterdir()} == {image, folder}


@pytest.mark.parametrize(("flags", "words"), [
    ("--model.encoder nosuch", "timm has no encoder named 'nosuch'"),
    ("--model.encoder resnet18 --model.weights package", "no weights for encoder resnet18"),
    ("--model.weights package", "needs an encoder"),
])
def test_an_encoder_that_there_is_not_is_refused_before_anything_is_begun(
    tmp_path, monkeypatch, capsys, flags, words
):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    line = f"train supervised --profile smoke --model.architecture deeplab {flags}"
    assert main(line.split()) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "work").exists()


@pytest.mark.parametrize("line", MISTYPED)
def test_what_was_mistyped_is_said_with_the_way_to_the_help(work, tmp_path, capsys, line):
    (tmp_path / "image.png").touch()
    arguments = line.format(image=tmp_path / "image.png", folder=tmp_path).split()
    said = failed(capsys, arguments, code=2)
    assert MISTYPED[line] in said and f"`semiseg {arguments[0]} --help`" in said


@pytest.mark.parametrize("arguments, words", [
    (["evaluate", "."], "config.json is missing"),
    (["pipeline", *SMOKE, "--labelled", "999"], "999 labelled images wanted"),
    (["pipeline", *SMOKE, "--labelled", "1"], "Label more images"),
    (["train", "fixmatch", *SMOKE, "--train.batch-unlabelled", "0"],
     "learns from unlabelled images"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_what_cannot_be_done_is_said_in_a_line(work, capsys, arguments, words):
    assert words in failed(capsys, arguments)


def test_a_flag_may_stand_before_the_method(work, capsys):
    assert main(["train", "--seed", "5", "--train.steps", "2", "supervised", *SMOKE[:2],
                 *SMOKE[4:]]) == 0
    config = value_in(folder_in(capsys.readouterr().out))
    assert config["seed"] == 5 and config["train"]["steps"] == 2


def test_a_home_folder_that_nobody_knows_is_said_in_a_line(capsys, monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert "home directory" in failed(capsys, ["runs", "--root", "~/x"])


OLD_FLAGS = {
    "--train.batch-weak 2": "--train.batch-weak is now --train.batch-unlabelled.",
    "--data.weak train_aug": "--data.weak is now --data.unlabelled.",
    "--data.world tight": "--data.world is now --data.options.world.",
    "--data.sizes 5": "--data.sizes is now --data.options.sizes.",
    "--data.sizes.weak 5": "--data.sizes.weak is now --data.options.sizes.unlabelled.",
    "--data.sizes.val=5": "--data.sizes.val is now --data.options.sizes.val.",
    "--data.labelled-boxes.jitter 0.1":
        "--data.labelled-boxes.jitter is now --data.options.labelled-boxes.jitter.",
    "--data.labelled-boxes None": "--data.labelled-boxes is now --data.options.labelled-boxes.",
    "--data.weak-boxes.missed 0.5":
        "--data.weak-boxes.missed is now --data.options.unlabelled-boxes.missed.",
    "--data.recipe merged": "--data.recipe is now --data.options.recipe.",
    "--method.pretrain.batch-weak 4":
        "--method.pretrain.batch-weak is now --method.pretrain.batch-unlabelled.",
    "--method.finetune.batch_weak 4":
        "--method.finetune.batch-weak is now --method.finetune.batch-unlabelled.",
    "data.labelled-boxes:none":
        "data.labelled-boxes:none is now data.options.labelled-boxes:none.",
    "--train.batch_weak 2": "--train.batch-weak is now --train.batch-unlabelled.",
}


@pytest.mark.parametrize("flag", OLD_FLAGS)
def test_a_flag_that_was_renamed_is_refused_with_its_new_name(work, capsys, flag):
    """Nothing is trained, whatever stands beside it."""
    said = failed(capsys, ["train", "supervised", *SMOKE, *flag.split(" ")], code=2)
    assert OLD_FLAGS[flag] in said


def test_every_flag_that_was_renamed_is_among_these():
    for old, new in renamed.FLAGS.items():
        assert any(said.startswith(f"--{old} is now --{new}") or said.startswith(f"--{old}.")
                   for said in OLD_FLAGS.values()), old


def flags_of(capsys, *arguments: str) -> set[str]:
    """The flags that the help of a training names; an optional group is named in its text."""
    with pytest.raises(SystemExit) as stopped:
        main(["train", *arguments, "--help"])
    assert stopped.value.code in (0, None)
    said = capsys.readouterr().out
    groups = {f"--{name}." for name in re.findall(r"([a-z.-]+) \((?:none|used)\)", said)}
    return {*re.findall(r"--[a-z][a-z0-9.-]*", said), *groups}


def test_every_new_flag_is_there_and_no_old_one(work, capsys):
    drawn = flags_of(capsys, "fixmatch", "--profile", "smoke")
    street = flags_of(capsys, "supervised", "--profile", "smoke", "--dataset", "camvid")
    rounds = flags_of(capsys, "pseudo-label", "--profile", "smoke", "--dataset", "camvid")
    for new in renamed.FLAGS.values():
        assert any(flag == f"--{new}" or flag.startswith(f"--{new}.")
                   for flag in drawn | street | rounds)
    assert {"--data.options.world", "--data.options.sizes.unlabelled"} <= drawn
    assert "--data.options.recipe" in street and "--data.options.recipe" not in drawn
    for flags in (drawn, street):
        shared = {"dataset", "labelled", "published", "candidates", "unlabelled", "val", "test",
                  "keep", "at-most", "unboxed"}
        assert flags >= {f"--data.{name}" for name in shared}
        views = {"crop", "scale", "shift", "border", "flip", "brightness", "contrast",
                 "saturation", "hue"}
        assert flags >= {f"--augment.{name}" for name in views}
        assert {"--train.batch-labelled", "--train.batch-unlabelled"} <= flags
        assert not [flag for flag in flags for old in renamed.FLAGS
                    if flag == f"--{old}" or flag.startswith(f"--{old}.")]


@pytest.mark.parametrize("arguments, cutmix, hard", [
    ([], CutMixConfig(1.0, 3, (0.25, 0.5), 0.0), None),
    (["--method.cutmix", "none"], None, None),
    (["--method.cutmix=None"], None, None),
    (["--method.cutmix.area", "0.2", "0.4"], CutMixConfig(1.0, 3, (0.2, 0.4), 0.0), None),
    (["--method.hard", "default"], CutMixConfig(1.0, 3, (0.25, 0.5), 0.0), HardPixels()),
    (["--method.hard.below", "0.5", "--method.cutmix", "none"], None, HardPixels(0.5)),
])
def test_a_group_of_options_is_left_out_or_added_by_a_plain_flag(
    monkeypatch, arguments, cutmix, hard
):
    seen = []
    monkeypatch.setattr(commands, "_train_and_report", lambda run, *_: seen.append(run.method))
    assert main(["train", "cutmix-cps", *SMOKE, *arguments]) == 0
    assert [(one.cutmix, one.hard) for one in seen] == [(cutmix, hard)]


def test_an_option_of_a_group_that_is_left_out_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "cutmix-cps", *SMOKE, "--method.cutmix", "none",
              "--method.cutmix.boxes", "2"])
    assert stopped.value.code == 2


def test_a_group_in_the_old_form_is_refused_with_the_new_one(capsys):
    said = failed(capsys, ["train", "cutmix-cps", *SMOKE, "method.cutmix:none"], code=2)
    assert "method.cutmix:none is now --method.cutmix none." in said


ANSWERED_AT_ONCE = """
import contextlib, io, sys
from semiseg_lib.cli import main
for line in sys.stdin.read().splitlines():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = main(line.split())
        except SystemExit as stopped:
            code = stopped.code or 0
    print(line, code)
print(sorted({"torch", "torchvision", "matplotlib", "timm", "scipy", "pandas", "accelerate",
              "IPython", "nbformat", "sklearn"} & sys.modules.keys()))
"""


def test_help_and_wrong_flags_are_answered_without_what_computes():
    """No torch, no matplotlib, no timm: so it takes a second, not five."""
    lines = {"--help": 0, "--version": 0, "nothing": 2, "": 2, "train": 2, "train --help": 0,
             **{f"{name} --help": 0 for name in COMMANDS},
             **{f"{name} --no-such-flag": 2 for name in COMMANDS},
             **{f"train {name} --help": 0 for name in ("fixmatch", "primary", "pseudo-label")},
             "train fixmatch --no-such-flag": 2,
             "data audit --help": 0, "data nothing": 2, "runs prune --help": 0}
    done = subprocess.run([sys.executable, "-c", ANSWERED_AT_ONCE], input="\n".join(lines),
                          capture_output=True, text=True, check=True)
    *codes, heavy = done.stdout.splitlines()
    assert codes == [f"{line} {code}" for line, code in lines.items()]
    assert heavy == "[]"


TRAINED = """
import sys
from semiseg_lib.cli import main
assert main(["train", "fixmatch", "--profile", "smoke", "--device", "cpu"]) == 0
print(sorted({"matplotlib", "IPython", "ipywidgets", "nbformat", "jupyter_core", "ipykernel"}
             & sys.modules.keys()))
"""


def test_a_training_needs_neither_matplotlib_nor_jupyter(work):
    done = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True,
                          check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_new_flags_reach_the_run(work, capsys):
    arguments = ["--data.options.world", "harder", "--data.options.sizes.unlabelled", "10",
                 "--train.batch-unlabelled", "3", "--train.steps", "2", "--data.at-most", "9"]
    boxes = ["--data.options.labelled-boxes", "none",
             "--data.options.unlabelled-boxes.missed", "0.5"]
    arguments += ["--data.labelled", "12", *boxes]
    assert main(["train", "fixmatch", *SMOKE, *arguments]) == 0
    folder = folder_in(capsys.readouterr().out)
    config = value_in(folder)
    assert config["data"]["options"]["world"] == "harder"
    assert config["data"]["options"]["sizes"]["unlabelled"] == 10
    assert config["data"]["options"]["unlabelled_boxes"]["missed"] == 0.5
    assert config["train"]["batch_unlabelled"] == 3 and config["data"]["labelled"] == 12
    lists = read_json(folder / "lists.json")
    lists = lists["made from"] | lists["scored on"]
    assert [len(lists[name]) for name in ("labelled", "unlabelled", "val", "test")] == [12, 9, 9, 9]
    assert main(["evaluate", str(folder), "--device", "cpu"]) == 0
    assert "house" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [
    ["nonsense"], ["train"], ["train", "nonsense"], ["evaluate"], ["data", "--world", "mars"],
    ["evaluate", "run", "--split", "train"], ["data", "--steps", "many"], ["data", "--nonsense"],
    ["train", "supervised", "--profile", "smoke", "--train.steps", "many"],
], ids=" ".join)
def test_wrong_flags_end_with_two_and_show_the_usage(work, capsys, arguments):
    said = wrong_flags(capsys, arguments)
    assert "semiseg" in said and len(said) > 50


@pytest.mark.parametrize("arguments, words", [
    (["pseudo-label", "--method.count", "0"], "rounds.count is 0"),
    (["pseudo-label", "--method.selection.share", "2"], "selection.share is 2"),
    (["fixmatch", "--method.feature-dropout", "1"], "feature_dropout is 1"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_options_that_make_no_sense_are_named(work, capsys, arguments, words):
    assert words in wrong_flags(capsys, ["train", arguments[0], *SMOKE, *arguments[1:]])


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["pipeline", "--help"],
                                       ["train", "primary", "--help"]], ids=" ".join)
def test_help_is_no_failure(work, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code in (0, None)
    assert len(capsys.readouterr().out) > 200


def test_an_interruption_says_how_to_go_on(work, capsys, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", interrupted)
    said = failed(capsys, ["train", "supervised", *SMOKE, "--seed", "77"], code=130)
    assert "continues from the last checkpoint" in said


def test_a_group_is_not_left_out_and_changed(work, capsys):
    said = wrong_flags(capsys, ["train", "cutmix-cps", *SMOKE, "--method.cutmix.area", "0.2",
                                "0.4", "--method.cutmix", "none"])
    assert "--method.cutmix none leaves out the group that --method.cutmix.area belongs" in said


def test_old_names_are_refused_as_names_of_flags_and_datasets_only(work, capsys):
    """A class, a file may be called so."""
    split = ["data", "split", "minivoc", "--labelled", "8", "--out", "mini", "--keep", "mini"]
    assert "is now" not in failed(capsys, split)
    predict = ["predict", "data.weak", "--run", "nowhere", "--out", "out"]
    assert "is now" not in failed(capsys, predict, code=2)
    for line in (["data", "mini"], ["data", "split", "mini", "--labelled", "8", "--out", "x"]):
        assert "is now called minivoc" in failed(capsys, line, code=2)


def test_a_full_disk_is_said_in_a_line(work, capsys, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "_rename", full)
    said = failed(capsys, ["train", "supervised", *SMOKE, "--seed", "78"])
    assert "could not write" in said and "Free some disk space" in said


@pytest.mark.parametrize("arguments, code", [(["evaluate", "nowhere"], 2), (["data", *SMOKE], 0)])
def test_the_module_hands_the_exit_code_to_the_shell(work, monkeypatch, arguments, code):
    monkeypatch.setattr(sys, "argv", ["semiseg", *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("semiseg_lib", run_name="__main__")
    assert stopped.value.code == code


def test_the_doctors_exit_code_is_that_of_the_command(monkeypatch):
    monkeypatch.setattr(doctor, "main", lambda: 4)
    assert main(["doctor"]) == 4
