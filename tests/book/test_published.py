"""What others published: every score has its source, and a table shows what the file holds."""

import math

import pytest

from semiseg_lib import recipes
from semiseg_lib.notebook import published


def test_every_published_score_has_its_source_and_the_table_its_columns():
    content = published.read()
    for setting, scores in content["results_unlabelled"].items():
        rows = published.unlabelled_rows(setting)
        assert len(rows) == len(scores["rows"])
        for row, shown in zip(scores["rows"], rows, strict=True):
            assert row["source"] in set(published.SOURCES) and shown["how sure"]
            numbers = [one for one in row["scores"] if one is not None]
            assert numbers and all(40 < one < 100 and math.isfinite(one) for one in numbers)
    for one in content["reproducibility"]:
        assert one["source"] in published.SOURCES and one["what"] and one["where"]
    blended = {(row["method"], row["encoder"]): row
               for row in content["results_unlabelled"]["voc blended"]["rows"]}
    assert blended["CPS", "ResNet-50"]["scores"] == [68.2, 73.2, 74.2, 75.9]
    assert blended["CPS", "ResNet-50"]["source"] == "recalled"
    assert blended["CutMix-CPS", "ResNet-101"]["scores"] == [74.5, 76.4, 77.7, None]
    assert blended["CAC", "ResNet-101"]["scores"] == [72.4, 74.6, 76.3, None]
    assert blended["ELN", "ResNet-101"]["scores"] == [None, 75.1, 76.58, None]
    assert {blended[name, "ResNet-50"]["source"] for name in ("CAC", "ELN")} == {"recalled"}
    classic = {row["method"]: row["scores"]
               for row in content["results_unlabelled"]["voc classic"]["rows"]}
    assert classic["S4MC on CutMix-Seg"] == [71.0, 71.7, 75.4, 77.7, 80.6]
    assert classic["S4MC on FixMatch"] == [74.3, 75.6, 77.8, 79.7, 81.5]


def test_no_result_is_in_a_table_twice_and_masks_alone_stand_beside_every_kind_of_encoder():
    """What a method adds can be told from what its encoder brings along."""
    for setting, scores in published.read()["results_unlabelled"].items():
        keys = [(row["method"], row["encoder"], row.get("note")) for row in scores["rows"]]
        assert len(set(keys)) == len(keys), setting
        assert all(len(row["scores"]) == len(scores["labelled"]) for row in scores["rows"])
    for setting in ("voc classic", "cityscapes"):
        rows = published.unlabelled_rows(setting, ("masks alone",))
        assert {row["encoder"] for row in rows} >= {"ResNet-50", "ResNet-101", "DINOv2-B"}


def test_some_methods_rows_are_those_of_the_whole_table():
    some = published.unlabelled_rows("voc blended", ("CPS", "CAC"))
    rows = published.unlabelled_rows("voc blended")
    assert some == [row for row in rows if row["published"] in ("CPS", "CAC")] and len(some) == 4
    with pytest.raises(ValueError, match=r"'voc classic' has no row of CAC, nobody; .* UniMatch 2"):
        published.unlabelled_rows("voc classic", ("CAC", "nobody", "U2PL"))


def test_a_table_shows_lists_and_nothing_as_such():
    lines = {line.setting: line for line in published.recipe("s4mc", "voc")}
    chosen = [lines["augment.scale"], lines["unlabelled.s4mc.expectation"],
              lines["unlabelled.s4mc.cutmix.area"]]
    rows = published.recipe_rows(recipes.load("paper", "voc", "s4mc"), chosen)
    assert [row["profile"] for row in rows] == ["0.5 to 2", "–", "0.5"]
