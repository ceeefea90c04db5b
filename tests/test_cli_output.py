"""How commands write: --json is one document on standard output, --quiet says what was asked."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import own_folder
import pytest

from semiseg_lib import cli, recipes
from semiseg_lib.cli import COMMANDS, data, main
from semiseg_lib.core.paths import CHECKOUT
from semiseg_lib.core.terminal import Style, give, progress_bar, say, written_as

ON_CPU = ["--device", "cpu"]
FOLDER = ["--dataset", "folder", "--profile", "smoke", *ON_CPU]
DOCUMENTS = {
    "doctor": ["failed", "findings"],
    "data minivoc --profile smoke": ["classes", "lists", "path"],
    "data audit minivoc": ["dataset", "failed", "findings"],
    "data split minivoc --labelled 8 --out {out}/list.txt": [
        "labelled", "list", "of", "seed", "sha256"],
    "train supervised {folder}": [
        "classes", "confusion", "count", "images", "mean_iou", "pixel_accuracy",
        "protocol", "run", "scores", "split", "weights"],
    "evaluate {run} --root {root} --device cpu": [
        "classes", "confusion", "count", "images", "mean_iou", "pixel_accuracy",
        "protocol", "run", "scores", "split", "weights"],
    "predict {root}/images --run {run} --out {out}/labels --device cpu": [
        "classes", "labels", "run", "weights"],
    "run {run} --root {root} --device cpu": ["config", "run"],
    "runs --root {root}": ["items", "work"],
    "runs prune --root {root} --yes": ["kept", "removed", "work"],
    "compare --profile laptop": ["against", "dataset", "missing", "profile", "ratio", "rows"],
}
"""{command: the keys of its document}, in an order in which each finds what it needs."""
ELSEWHERE = {
    "logits": "as `run`; in tests/test_cli.py as text",
    "pipeline": "trains five models; in tests/test_cli.py as text",
    "study": "trains; in tests/test_studies.py as text",
    "visualize": "needs a run of eln; in tests/test_visualize.py as text",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What stands in braces above, and a work folder with a trained run."""
    folder = tmp_path_factory.mktemp("output")
    root = own_folder.draw(folder / "own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(folder / "work"))
        patch.delenv("SEMISEG_DATA", raising=False)
        load = recipes.load
        tiny = own_folder.load_instead(own_folder.profile())
        patch.setattr(recipes, "load", lambda profile=None, dataset="minivoc", method="": (
            tiny if dataset == "folder" else load)(profile, dataset, method))
        assert main(["train", "supervised", *FOLDER, "--root", str(root)]) == 0
        run, = (folder / "work" / "runs").iterdir()
        yield {"root": root, "run": run, "out": folder,
               "folder": " ".join([*FOLDER, "--root", str(root)])}


def test_every_command_is_here_or_said_to_be_elsewhere():
    assert {command.split()[0] for command in DOCUMENTS} | set(ELSEWHERE) == set(COMMANDS)
    assert {"minivoc", "audit", "split"} <= set(data.commands())


@pytest.mark.parametrize("command", DOCUMENTS)
def test_json_is_one_document_on_standard_output(places, capsys, command):
    capsys.readouterr()
    assert main([*command.format(**places).split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(found) == DOCUMENTS[command]


def keys_of(document: object) -> set[str]:
    """Every key of a JSON document, at any depth."""
    if isinstance(document, dict):
        return {*document}.union(*map(keys_of, document.values()))
    return set().union(*map(keys_of, document)) if isinstance(document, list) else set()


def given_keys(path: Path) -> Iterator[str]:
    """The keys that a file of the command line writes in documents."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "give":
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.Dict):
                    yield from (key.value for key in part.keys if key)


def test_the_keys_of_all_documents_have_one_style(places, capsys):
    keys = {key for path in Path(cli.__file__).parent.glob("*.py") for key in given_keys(path)}
    assert {"mean_iou", "bytes_per_image", "made_with", "kept"} <= keys
    for command in DOCUMENTS:
        capsys.readouterr()
        assert main([*command.format(**places).split(), "--json"]) == 0
        keys |= keys_of(json.loads(capsys.readouterr().out))
    assert "difference_low" in keys
    assert [key for key in keys if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", key)] == []


@pytest.mark.parametrize("command", DOCUMENTS)
def test_quiet_says_the_result_and_shows_no_bar(places, capsys, command):
    capsys.readouterr()
    main([*command.format(**places).split(), "--quiet"])
    printed = capsys.readouterr()
    assert printed.out.strip() and printed.err == ""


def test_the_numbers_are_those_that_are_stored(places, capsys):
    capsys.readouterr()
    main(["evaluate", str(places["run"]), "--root", str(places["root"]), *ON_CPU, "--json"])
    found = json.loads(capsys.readouterr().out)
    stored = json.loads(Path(found["scores"]).read_text(encoding="utf-8"))
    assert found["mean_iou"] == stored["mean_iou"] and found["confusion"] == stored["confusion"]


def test_styles_hold_for_their_context(capsys):
    with written_as(Style(quiet=True)):
        say("a remark")
        say("a warning", sys.stderr)
        give({"a": 1}, "the result")
        assert progress_bar(range(3)).disable
    assert capsys.readouterr() == ("the result\n", "a warning\n")
    with written_as(Style(json=True)):
        say("a remark")
        give({"a": np.float32(0.5), "b": math.nan, "c": (Path("x"), [np.int64(3)])}, "unseen")
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"a": 0.5, "b": None, "c": [str(Path("x").absolute()), [3]]}
    assert printed.err == "a remark\n"
    say("again")
    assert capsys.readouterr().out == "again\n"


@pytest.mark.parametrize("command", ["predict", "train fixmatch", "runs prune", "data audit"])
def test_the_help_of_every_command_names_them(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), "--help"])
    assert not stopped.value.code
    assert "--quiet and --json" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")
@pytest.mark.parametrize("command", [["--help"], ["train", "eln", "--help"], ["doctor"]])
def test_a_reader_that_stops_reading_gets_no_message(command, tmp_path):
    """``semiseg COMMAND | head -n 0``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "semiseg_lib", *command], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "SEMISEG_WORK": str(tmp_path)},
    )
    process.stdout.close()
    assert process.stderr.read().decode() == ""
    assert process.wait() in (0, 1)


def test_of_the_processes_of_a_job_one_gives_the_result(capsys, monkeypatch):
    """Two documents would be none."""
    for rank, count in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        with written_as(Style(json=True)):
            give({"a": 1}, "")
        assert capsys.readouterr().out.count("{") == count


@pytest.mark.parametrize("command", [
    "train --profile smoke --help", "train -h", "train primary -h", "train --profile smoke cps -h",
])
def test_help_is_given_wherever_it_stands(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    printed = capsys.readouterr().out
    has_method = {"primary", "cps"} & set(command.split())
    assert not stopped.value.code
    assert ("--train.steps" in printed) == bool(has_method) and "usage: semiseg train" in printed


@pytest.mark.parametrize("command", [
    "trian --help", "data adit --help", "data adit -h", "runs purne --help",
])
def test_an_unknown_command_is_no_call_for_help(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert command.split()[-2] in printed.err and not printed.out


@pytest.mark.parametrize(("command", "name"), [
    ("data audit", "DATASET"), ("data split", "DATASET"), ("data frames --help", "VIDEO"),
    ("run", "CONFIG"), ("evaluate", "RUN"), ("predict", "IMAGE"), ("visualize", "IMAGE"),
    ("study", "STUDY"),
])
def test_what_stands_without_a_flag_has_a_name(capsys, command, name):
    with pytest.raises(SystemExit):
        main(command.split())
    printed = capsys.readouterr()
    assert name in printed.out + printed.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell):
    """Of every shell that the page of the command line names."""
    page = (CHECKOUT / "notebooks" / "command_line.md").read_text(encoding="utf-8")
    assert f"`{shell}`" in page or f"completion {shell}`" in page
    script = subprocess.run(
        [sys.executable, "-m", "semiseg_lib", "--tyro-print-completion", shell],
        check=True, capture_output=True, text=True,
    ).stdout
    assert all(name in script for name in COMMANDS) and "--split" in script
    if shell == "fish":  # a string within double quotes
        script = re.sub(r"\\(.)", r"\1", script)
    spec = ast.literal_eval(re.search(r"^COMPLETION_SPEC = (.*)$", script, re.M)[1])
    below = spec["subcommands"]
    assert below["data"]["subcommands"].keys() == data.commands().keys()
    assert {"fixmatch", "primary"} <= below["train"]["subcommands"].keys()
    for command in [*below.values(), *below["data"]["subcommands"].values(),
                    *below["train"]["subcommands"].values()]:
        flags = {flag for option in command["options"] for flag in option["flags"]}
        assert {"--quiet", "--json", "--help"} <= flags and "--arguments" not in flags
        assert not any("\n" in option["description"] for option in command["options"])


@pytest.mark.parametrize("line", [
    "--tyro-print-completion", "--tyro-print-completion tcsh", "--tyro-print-completion bogus",
    "--tyro-write-completion bash", "--tyro-write-completion tcsh file",
    "--tyro-print-completion=bash", "train supervised --tyro-print-completion tcsh",
    "runs --tyro-write-completion tcsh x", "runs prune --tyro-print-completion bash",
])
def test_a_completion_script_that_there_is_not_is_refused(capsys, line):
    assert main(line.split()) == 2
    assert "SHELL is bash, zsh or fish" in capsys.readouterr().err


def test_a_completion_script_can_be_written_to_a_file(tmp_path):
    file = tmp_path / "completion.bash"
    with pytest.raises(SystemExit) as stopped:
        main(["--tyro-write-completion", "bash", str(file)])
    assert not stopped.value.code and "semiseg" in file.read_text(encoding="utf-8")


OFFERED = """
source /dev/stdin
offered=$(complete -p semiseg | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$offered
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(("line", "words"), [
    ("semiseg evaluate --", {"--split", "--root", "--other-data", "--quiet", "--json"}),
    ("semiseg data audit --", {"--sample", "--list", "--json"}),
    ("semiseg compare --ag", {"--against"}),
    ("semiseg evaluate --split ", {"val", "test"}),
    ("semiseg data s", {"split", "sbd"}),
    ("semiseg train fix", {"fixmatch"}),
])
def test_bash_offers_words_of_the_command_line_only(line, words):
    script = subprocess.run(
        [sys.executable, "-m", "semiseg_lib", "--tyro-print-completion", "bash"],
        check=True, capture_output=True, text=True,
    ).stdout
    offered = subprocess.run(
        ["bash", "-c", OFFERED, "bash", *line.split(" ")], input=script, check=True,
        capture_output=True, text=True,
    ).stdout.split("\n")[:-1]
    assert words <= {*offered}
    assert [one for one in offered if not re.fullmatch(r"-?-?[a-z][a-z0-9-]*", one)] == []


@pytest.mark.parametrize("method", ["supervised", "fixmatch"])
def test_every_flag_of_a_training_says_what_it_is(capsys, method):
    """Below its name and before its default stand words of its own."""
    with pytest.raises(SystemExit):
        main(["train", method, "--help"])
    printed = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    flags = re.findall(r" (--[a-z][\w.-]*)(?:, --no-[\w.-]+)? ?(.*?)\(default:", printed)
    assert len(flags) > 40
    silent = [flag for flag, text in flags if not re.search(r"[a-z]{2,}.* [a-z]{2,}", text)]
    assert silent in ([], ["--method.name"])  # which has one value
