"""The environment check: each finding can be good or bad, and each bad one says what to do."""

from importlib.metadata import metadata

import pytest
import torch
from packaging.requirements import Requirement

from semiseg_lib.cli import doctor
from semiseg_lib.cli.doctor import Diagnosis


def statuses(checks):
    return [check.status for check in checks]


def test_a_line_shows_the_status_and_the_mend_below():
    assert str(Diagnosis("OK", "all well")) == "[OK]    all well"
    assert str(Diagnosis("FAIL", "broken", "fix it")) == "[FAIL]  broken\n        -> fix it"


def test_missing_and_old_packages(monkeypatch):
    versions = {"torch": "2.7.1", "timm": None, "nbval": None, "tqdm": "4.70.0+local"}
    monkeypatch.setattr(doctor, "version_of", lambda package: versions.get(package, "9.9.9"))
    found = {check.text: check for check in doctor.check_packages()}
    assert found["torch 2.7.1, but >=2.8 is needed"].status == "FAIL"
    assert found["not installed: timm"].status == "FAIL"
    assert found["not installed: timm"].fix == doctor.CHECKOUT_INSTALL
    assert found["not installed, to run the tests: nbval"].status == "NOTE"
    assert found["numpy 9.9.9"].status == found["tqdm 4.70.0+local"].status == "OK"


def test_a_checkout_that_was_not_installed_fails(monkeypatch):
    monkeypatch.setattr(doctor, "version_of", lambda package: None)
    (found,) = doctor.check_packages()
    assert found.status == "FAIL" and found.fix == doctor.CHECKOUT_INSTALL


def test_every_package_that_the_project_asks_for_is_looked_at_once():
    asked = metadata("semiseg_lib")
    assert set(doctor.EXTRAS) == set(asked.get_all("Provides-Extra"))
    found = [check.text for check in doctor.check_packages()]
    for name in {Requirement(one).name for one in asked.get_all("Requires-Dist")}:
        listed = [text for text in found if name in text.partition(": ")[2].split(", ")]
        assert len(listed) + sum(text.startswith(f"{name} ") for text in found) == 1, name


@pytest.mark.parametrize(("version", "status"), [("4.5.11", "OK"), ("5.0.0", "NOTE"),
                                                  (None, "NOTE")])
def test_a_jupyterlab_that_the_project_does_not_ask_for(monkeypatch, version, status):
    versions = {"jupyterlab": version}
    monkeypatch.setattr(doctor, "version_of", lambda package: versions.get(package, "9.9.9"))
    (found,) = [one for one in doctor.check_packages()
                if one.text.startswith("jupyterlab ") or one.text.endswith(": jupyterlab")]
    assert found.status == status and (status == "OK" or doctor.EXTRAS["lab"] in found.text)


def test_outside_of_a_checkout_the_fix_names_packages_that_an_index_has(monkeypatch):
    monkeypatch.setattr(doctor, "in_checkout", lambda: False)
    versions = {"timm": None, "nbval": None, "av": None}
    monkeypatch.setattr(doctor, "version_of", lambda package: versions.get(package, "9.9.9"))
    fixes = {one.text: one.fix for one in doctor.check_packages()}
    assert fixes["not installed: timm"].startswith('python -m pip install "timm>=')
    assert not any("semiseg" in fix for fix in fixes.values())
    (text,) = [one for one in fixes if "nbval" in one]
    assert '"nbval>=' in fixes[text] and '"av>=' in fixes[text]


@pytest.mark.parametrize(("declared", "status"), [(True, "NOTE"), (False, "OK")])
def test_torchvision(monkeypatch, declared, status):
    monkeypatch.setattr(doctor.compat, "make_torchvision_importable", lambda: declared)
    assert doctor.check_torchvision().status == status


def test_an_unused_graphics_card_is_noted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "nvidia-smi")
    assert "INDEX" in doctor.check_devices()[-1].fix
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert "no graphics card" in doctor.check_devices()[-1].text


def test_computation_is_really_checked(monkeypatch):
    assert doctor.check_computation().status == "OK"
    broken = torch.nn.functional.conv2d
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *a, **k: 2 * broken(*a, **k))
    assert doctor.check_computation().status == "FAIL"


def test_too_little_memory_fails(monkeypatch):
    memory = type("Memory", (), {"available": 0.5e9, "total": 8e9})
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory)
    assert doctor.check_memory().status == "FAIL"


def test_disk(monkeypatch, tmp_path):
    assert statuses(doctor.check_disk(tmp_path / "not" / "yet" / "made")) == ["OK", "OK"]
    usage = type("Usage", (), {"free": 0.1e9})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    full = doctor.check_disk(tmp_path)[0]
    assert full.status == "FAIL" and "SEMISEG_WORK" in full.fix


def test_datasets(monkeypatch, tmp_path):
    monkeypatch.delenv("SEMISEG_DATA", raising=False)
    assert statuses(doctor.check_datasets()) == ["NOTE"]
    assert statuses(doctor.check_datasets(tmp_path / "missing")) == ["FAIL"]
    assert statuses(doctor.check_datasets(tmp_path)) == ["NOTE"]
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation").mkdir(parents=True)
    (found,) = doctor.check_datasets(tmp_path)
    assert found == Diagnosis("OK", "dataset found: PASCAL VOC 2012")
    (tmp_path / "camvid").mkdir()
    assert doctor.check_datasets(tmp_path) == [found], "an empty folder is no dataset"
    (tmp_path / "camvid" / "train").mkdir()
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "test_batch.bin").touch()
    found = [check.text for check in doctor.check_datasets(tmp_path)]
    titles = [text.removeprefix("dataset found: ") for text in found]
    assert titles == ["PASCAL VOC 2012", "CamVid", "CIFAR-10"]


def test_a_dataset_that_cannot_be_loaded_is_a_note(monkeypatch, tmp_path):
    def without_scipy(name):
        if name == "cityscapes":
            raise ImportError("No module named 'scipy'")
        return find(name)

    find = doctor.find
    monkeypatch.setattr(doctor, "find", without_scipy)
    (note,) = doctor.check_datasets(tmp_path)
    assert note.status == "NOTE" and "cityscapes cannot be loaded (ImportError)" in note.text


@pytest.mark.parametrize(("status", "code"), [("OK", 0), ("NOTE", 0), ("FAIL", 1)])
def test_the_exit_code_says_whether_something_failed(monkeypatch, capsys, status, code):
    found = [Diagnosis("OK", "a"), Diagnosis(status, "b", "c")]
    monkeypatch.setattr(doctor, "examine", lambda: found)
    assert doctor.main() == code
    assert f"[{status}]" in capsys.readouterr().out


def test_the_report_names_no_folder_of_this_machine(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    monkeypatch.setenv("SEMISEG_DATA", str(tmp_path))
    doctor.main()
    assert str(tmp_path) not in capsys.readouterr().out
