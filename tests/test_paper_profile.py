"""The profile `paper` is the published recipe, as far as one is published; the rest is marked."""

from dataclasses import replace

import jupytext
import pytest

from semiseg_lib import profiles
from semiseg_lib.notebook import published

DATASETS = ("voc", "cityscapes")
RECIPE = published.recipe()


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("line", RECIPE, ids=lambda line: line.setting)
def test_the_profile_follows_what_was_published(line, dataset):
    paper = profiles.load("paper", dataset)
    assert line.followed_by(paper) or (line.source == "none" and line.held_by(paper) is not None)


def test_the_values_that_the_book_relies_on_are_in_the_table():
    """Typed a second time, from the sources: a slip in the file is no slip here."""
    values = {line.setting: line.value for line in RECIPE}
    assert values["train_primary.lr"] == 0.007 and values["train_primary.schedule"] == "poly"
    assert (values["primary.alpha.start"], values["primary.alpha.end"]) == (30, 0.5)
    assert values["augment.crop"] == 513 and values["augment.scale"] == [0.5, 2]
    assert values["train_primary.steps"] == 30_000 and values["conv.width"] == 128
    assert values["ancillary.boxes"] == "class maps" and values["primary.alpha.shape"] is None


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_stage_has_the_primarys_optimiser_and_as_many_images(dataset):
    paper = profiles.load("paper", dataset)
    assert paper.data.labelled == published.read()["labelled"][dataset]
    for stage in ("supervised", "ancillary", "start"):
        train = getattr(paper, f"train_{stage}")
        assert replace(
            train, batch_labelled=paper.train_primary.batch_labelled,
            batch_unlabelled=paper.train_primary.batch_unlabelled, steps=paper.train_primary.steps,
        ) == paper.train_primary
        assert train.images == paper.train_primary.images
        assert getattr(paper, stage, paper.supervised).ema_decay == 0


def test_another_value_in_the_profile_is_noticed():
    paper = profiles.load("paper", "voc")
    other = replace(paper, train_primary=replace(paper.train_primary, lr=0.01),
                    augment=replace(paper.augment, scale=(0.5, 1.5)))
    differing = {line.setting for line in RECIPE if line.value is not None
                 and not line.followed_by(other)}
    assert differing == {"train_primary.lr", "augment.scale"}
    rows = published.recipe_rows(other, RECIPE)
    assert [row["hyper-parameter"] for row in rows if row[""] == "DIFFERS"] == [
        "learning rate", "scales of a view"]


def test_a_line_without_a_source_is_refused():
    with pytest.raises(ValueError, match="is no source"):
        published.Hyperparameter("crop", 513, "hearsay", "augment.crop", 513)
    with pytest.raises(ValueError, match="a value needs a source"):
        published.Hyperparameter("crop", 513, "none", "augment.crop", 513)
    with pytest.raises(AttributeError):
        published.Hyperparameter("x", "not given", "none", "augment.colour").held_by(
            profiles.load("paper", "voc"))


def test_the_chapter_shows_this_table(checkout):
    chapter = jupytext.read(checkout / "notebooks" / "09_real_photographs.py", fmt="py:percent")
    code = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "code")
    assert "published.recipe()" in code and "published.recipe_rows(" in code
