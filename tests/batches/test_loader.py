"""Batches depend on (seed, step) alone: repeatable, complete epochs, shares that add up."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.loader import Loader, derived_seed, sampled_indices
from semiseg_lib.batches.options import DataConfig, ViewConfig
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.batches.weak_view import DRAWS, View, draw_view, recolour
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Sample
from semiseg_lib.training.loop import _read

SHIFTED = ViewConfig(
    shift=8, border="mirror", brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1
)
STILL = ViewConfig(flip=0)
PADDED = ViewConfig(crop=32, scale=(0.5, 2.0), brightness=0.3)
VOC = DataConfig("voc", labelled=3, keep=("background", "cat", "dog"))
SIZE = 16
CPU = torch.device("cpu")


@pytest.fixture
def sets(make_samples, make_set) -> tuple[ImageSet, ImageSet]:
    """Seven labelled images, and thirteen unlabelled ones with stored logits."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(13, 3, SIZE // 2, SIZE // 2, generator=generator).half()
    labelled = make_set(make_samples(7, "labelled"))
    unlabelled = make_set(make_samples(13, "unlabelled", masks=False))
    return labelled, unlabelled.with_logits(list(logits))


@pytest.fixture
def loader(sets):
    def make(seed: int = 0, augment: ViewConfig = SHIFTED, **share: int) -> Loader:
        return Loader(*sets, 4, 6, augment, seed, **share)

    return make


def tensors(part: Part) -> dict[str, torch.Tensor]:
    return {
        f.name: getattr(part, f.name) for f in fields(part)
        if isinstance(getattr(part, f.name), torch.Tensor)
    }


def same(a: Part, b: Part) -> bool:
    ours, theirs = tensors(a), tensors(b)
    return a.names == b.names and ours.keys() == theirs.keys() and all(
        torch.equal(ours[key], theirs[key]) for key in ours
    )


def same_batch(a: Batch, b: Batch) -> bool:
    return same(a.labelled, b.labelled) and same(a.unlabelled, b.unlabelled) and a.seed == b.seed


def voc_loader(root, **options) -> Loader:
    data = Data(VOC, 1, root)
    return Loader(data.labelled, data.unlabelled, 4, 4, PADDED, **{"seed": 7, **options})


# One batch for one step


@pytest.mark.parametrize("augment", [
    SHIFTED, STILL, replace(PADDED, crop=20), replace(PADDED, border="mirror", shift=3),
], ids=["shifted", "still", "padded", "mirrored"])
def test_a_step_gives_the_same_batch_whenever_and_in_whatever_order_it_is_asked_for(
    loader, augment
):
    one, two = loader(augment=augment), loader(augment=augment)
    forwards = [one.batch(step) for step in range(6)]
    for step in reversed(range(6)):
        assert same_batch(two.batch(step), forwards[step])


def test_a_batch_of_files_depends_on_seed_and_step_alone(voc_root):
    first = voc_loader(voc_root).batch(5)
    again = voc_loader(voc_root)
    for step in range(3):
        again.batch(step)
    assert same_batch(first, again.batch(5))
    assert not torch.equal(first.unlabelled.images, again.batch(6).unlabelled.images)
    assert not torch.equal(
        first.unlabelled.images, voc_loader(voc_root, seed=8).batch(5).unlabelled.images
    )


def test_seeds_and_steps_give_other_images_and_other_views(loader):
    batches = [loader(seed).batch(step) for seed in (0, 1) for step in (0, 1)]
    assert len({batch.unlabelled.names for batch in batches}) == 4
    assert len({batch.unlabelled.images.numpy().tobytes() for batch in batches}) == 4
    # The same image at two steps is seen in two views.
    views = [
        part.images[place] for step in range(4) for part in [loader().batch(step).labelled]
        for place, name in enumerate(part.names) if name == "labelled0"
    ]
    assert len(views) >= 2 and not torch.equal(views[0], views[1])


def test_the_global_generators_are_neither_used_nor_moved(loader):
    torch.manual_seed(1)
    np.random.seed(1)
    first, state = loader().batch(0), torch.get_rng_state()
    torch.manual_seed(2)
    np.random.seed(2)
    assert same_batch(loader().batch(0), first)
    torch.manual_seed(1)
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    loader().batch(3)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_workers_and_processes_read_the_batches_of_one(voc_root, workers):
    """Interleaved shares put together are the batch of one process, whoever reads them."""
    steps = range(3)
    whole = [voc_loader(voc_root).batch(step) for step in steps]
    for processes in (1, 2, 4):
        shares = []
        for process in range(processes):
            one = voc_loader(voc_root, process=process, processes=processes)
            with closing(_read(one, steps, workers, CPU)) as batches:
                shares.append(list(batches))
        for step in steps:
            check_shares([share[step] for share in shares], whole[step])


def check_shares(shares: list[Batch], whole: Batch) -> None:
    processes = len(shares)
    assert len({share.seed for share in shares}) == processes
    for kind in ("labelled", "unlabelled"):
        expected = getattr(whole, kind)
        seen = Counter()
        for process, share in enumerate(shares):
            part = getattr(share, kind)
            seen.update(part.names)
            assert part.names == expected.names[process::processes]
            assert tensors(part).keys() == tensors(expected).keys()
            for name, tensor in tensors(part).items():
                assert torch.equal(tensor, tensors(expected)[name][process::processes]), name
        assert seen == Counter(expected.names)


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_the_shares_of_several_processes_are_the_one_process_batch(loader, processes):
    for step in range(3):
        shares = [loader(process=p, processes=processes).batch(step) for p in range(processes)]
        check_shares(shares, loader().batch(step))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 4])
def test_workers_move_stored_logits_like_the_loader_itself(loader, workers):
    with closing(_read(loader(), range(4), workers, CPU)) as batches:
        for step, batch in enumerate(batches):
            assert same_batch(batch, loader().batch(step))


def test_the_labelled_part_does_not_depend_on_the_unlabelled_one(sets):
    labelled, unlabelled = sets
    supervised = Loader(labelled, None, 4, 0, SHIFTED, 3)
    for others, size in ((unlabelled, 6), (unlabelled, 2), (unlabelled.take([1, 2]), 1)):
        for step in range(3):
            both = Loader(labelled, others, 4, size, SHIFTED, 3).batch(step)
            alone = supervised.batch(step)
            assert same(alone.labelled, both.labelled) and alone.seed == both.seed
            assert alone.unlabelled is None


def test_an_image_keeps_its_view_whatever_lies_beside_it(make_samples, make_set):
    """Another image, also one of another size or with a mask only, at one other place."""
    augment = replace(PADDED, crop=24, hue=0.1, shift=3)
    samples = make_samples(6)
    other = make_samples(6, "other", size=(30, 21), seed=5)
    for changed in range(6):
        mixed = [*samples]
        mixed[changed] = other[changed]
        one, two = (
            Loader(make_set(each), None, 6, 0, augment, 1).batch(2).labelled
            for each in (samples, mixed)
        )
        place = one.names.index(f"made{changed}")
        assert two.names[place] == f"other{changed}"
        others = [i for i in range(6) if i != place]
        for name, tensor in tensors(one).items():
            assert torch.equal(tensor[others], tensors(two)[name][others]), name
        assert not torch.equal(one.images[place], two.images[place])


def test_a_view_is_the_one_that_the_draws_of_its_place_decide(voc_root):
    """Seed, step and part make the draws; a row of them is a place."""
    data = Data(VOC, 1, voc_root)
    batch = voc_loader(voc_root).batch(4)
    for number, (images, part) in enumerate(
        ((data.labelled, batch.labelled), (data.unlabelled, batch.unlabelled))
    ):
        draws = np.random.default_rng([7, 4, number]).random((4, DRAWS))
        for place, name in enumerate(part.names):
            sample = images.sample(images.names.index(name))
            view = draw_view(sample.image.shape[1:], PADDED, draws[place])
            shown = torch.from_numpy(view.image(sample.image))[None].float() / 255
            shown = recolour(shown, PADDED, draws[place:place + 1, 6:])[0]
            assert torch.equal(part.images[place], shown)
            assert np.array_equal(part.inside[place], view.inside())
            assert np.array_equal(part.box_maps[place], view.box_maps(sample.boxes, 3))
            if number == 0:
                assert np.array_equal(part.masks[place], view.mask(sample.mask))


def test_the_draws_of_the_parts_steps_and_seeds_differ(sets):
    labelled, _ = sets
    mirror = replace(SHIFTED, flip=0.5)
    seen = set()
    for seed, step in ((0, 0), (0, 1), (1, 0)):
        batch = Loader(labelled, labelled, 7, 7, mirror, seed).batch(step)
        for part in (batch.labelled, batch.unlabelled):
            place = part.names.index("labelled3")
            seen.add(part.images[place].numpy().tobytes())
    assert len(seen) == 6


# Who is shown when


@pytest.mark.parametrize("count, batch", [(7, 4), (13, 6), (3, 8), (5, 5)])
def test_an_epoch_shows_every_image_once_and_the_next_in_another_order(count, batch):
    steps = range(2 * count)
    shown = [i for step in steps for i in sampled_indices(count, batch, step, seed=4)]
    epochs = [shown[k:k + count] for k in range(0, len(shown) - count + 1, count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) >= 5


def test_the_unlabelled_order_is_not_the_labelled_order(sets):
    batch = Loader(sets[1], sets[1], 13, 13, STILL, seed=0).batch(0)
    assert batch.labelled.names != batch.unlabelled.names


def test_each_process_and_step_has_a_seed_of_its_own(loader):
    seeds = {
        loader(seed, process=p, processes=2).batch(step).seed
        for seed in (0, 1) for p in (0, 1) for step in range(3)
    }
    assert len(seeds) == 12 and all(0 <= seed < 2**32 for seed in seeds)
    assert loader(3).batch(5).seed == derived_seed(3, 5, 2, 0)


# What a part holds


def test_a_view_is_its_image_in_the_formats_that_networks_read(loader, sets):
    batch = loader(augment=STILL).batch(0)
    for part, source in zip((batch.labelled, batch.unlabelled), sets, strict=True):
        numbers = [source.names.index(name) for name in part.names]
        expected = source.part(numbers)
        assert torch.allclose(part.images, source.images[numbers].float() / 255, atol=1e-6)
        assert torch.equal(part.box_maps, expected.box_maps)
        assert part.images.dtype == part.box_maps.dtype == torch.float32
        assert part.inside.all() and part.inside.dtype == torch.bool and expected.inside is None
    assert batch.labelled.masks.dtype == torch.int64
    numbers = [sets[1].names.index(name) for name in batch.unlabelled.names]
    stored = torch.stack([sets[1].stored[number] for number in numbers])
    assert batch.unlabelled.logits_ancillary.dtype == torch.float32
    assert torch.equal(batch.unlabelled.logits_ancillary, stored.float())


def test_mask_boxes_and_allowed_classes_of_a_view_move_with_it(sets):
    """The boxes are those of the mask's rectangles, so they still say the same of every pixel."""
    moving = replace(STILL, flip=0.5, shift=6, border="mirror")
    labelled = sets[0].with_fields("box_maps", "allowed")
    shown = Loader(labelled, None, 4, 0, moving, 0).batch(0).labelled
    assert torch.equal(shown.box_maps.argmax(dim=1), shown.masks)
    assert torch.equal(shown.allowed[:, 1:], shown.box_maps[:, 1:] == 1)
    assert shown.allowed[:, 0].all() and shown.allowed.dtype == torch.bool
    still = Loader(labelled, None, 4, 0, STILL, 0).batch(0).labelled
    assert shown.names == still.names and not torch.equal(shown.masks, still.masks)


def test_stored_logits_of_a_view_move_with_it(make_samples, make_set):
    """The logits are means of the box maps over 2x2 pixels, and must still be after the move."""
    bare = make_set(make_samples(13, "unlabelled", masks=False))
    maps = bare.part(range(13)).box_maps
    unlabelled = bare.with_logits(list(avg_pool2d(maps, 2).half()))
    batches = Loader(make_set(make_samples(7)), unlabelled, 4, 6, SHIFTED, seed=0)
    moved = 0
    for step in range(3):
        part = batches.batch(step).unlabelled
        assert torch.equal(part.logits_ancillary, avg_pool2d(part.box_maps, 2))
        numbers = [bare.names.index(name) for name in part.names]
        moved += not torch.equal(part.box_maps, maps[numbers])
    assert moved == 3


def test_what_a_view_of_a_file_holds(voc_root):
    part = voc_loader(voc_root).batch(0).labelled
    assert part.images.shape == (4, 3, 32, 32) and 0 <= part.images.min() <= part.images.max() <= 1
    assert part.box_maps.shape == (4, 3, 32, 32) and part.masks.dtype == torch.int64
    assert set(part.masks.unique().tolist()) <= {0, 1, 2, VOID}
    objects = (part.masks == 1) | (part.masks == 2)
    covered = part.box_maps[:, 1:].amax(dim=1) == 1
    assert objects.any() and (covered | ~objects).float().mean() > 0.97  # boxes hold their objects


def test_padding_is_void_and_known_as_such(voc_root):
    data = Data(VOC, 1, voc_root)
    small = replace(PADDED, scale=(0.3, 0.6))
    part = Loader(data.labelled.with_fields("box_maps", "allowed"), None, 8, 0, small, 0).batch(
        0
    ).labelled
    assert not part.inside.all() and part.inside.any()
    assert (part.masks[~part.inside] == VOID).all()
    assert (part.masks[part.inside] != VOID).float().mean() > 0.9
    outside = ~part.inside[:, None]
    assert part.allowed[outside.expand_as(part.allowed)].all()
    assert (part.box_maps[:, :1][outside] == 1).all()


def test_an_image_that_is_mirrored_in_has_no_padding(voc_root):
    data = Data(VOC, 1, voc_root)
    mirrored = replace(PADDED, scale=(0.3, 0.6), border="mirror", shift=4)
    for step in range(3):
        batch = Loader(data.labelled, data.unlabelled, 4, 4, mirrored, 0).batch(step)
        assert batch.labelled.inside.all() and batch.unlabelled.inside.all()


def test_unlabelled_masks_never_reach_a_batch(loader, sets, voc_root):
    assert loader().batch(0).unlabelled.masks is None
    assert voc_loader(voc_root).batch(0).unlabelled.masks is None
    assert Loader(sets[0], None, 4, 0, SHIFTED, 0).batch(0).unlabelled is None


@pytest.mark.parametrize("published", [False, True], ids=["drawn", "published"])
def test_masks_of_unlabelled_images_are_never_read(voc_root, published):
    """They are looked at once, to draw who is labelled; a published list needs not even that."""
    data = Data(VOC, 1, voc_root)
    expected = voc_loader(voc_root).batch(0).unlabelled
    names = data.names
    if published:
        (voc_root / "chosen.txt").write_text("\n".join(names["labelled"]), encoding="utf-8")
    for name in names["unlabelled"]:
        for kind in ("SegmentationClass", "SegmentationClassAug"):
            path = voc_root / "VOCdevkit" / "VOC2012" / kind / f"{name}.png"
            if path.is_file():
                path.write_bytes(b"poison")
    if published:
        data = Data(replace(VOC, published=str(voc_root / "chosen.txt")), 1, voc_root)
    part = Loader(data.labelled, data.unlabelled, 4, 4, PADDED, 7).batch(0).unlabelled
    assert part.masks is None and same(part, expected)


def test_without_boxes_the_same_views_are_drawn(voc_root):
    labelled = Data(VOC, 1, voc_root).labelled
    boxed, bare = (
        Loader(images, None, 4, 0, PADDED, 1).batch(0).labelled
        for images in (labelled, labelled.without_boxes())
    )
    assert torch.equal(boxed.images, bare.images) and torch.equal(boxed.masks, bare.masks)
    assert boxed.box_maps is not None and bare.box_maps is None
    assert labelled.sample(0).boxes is not None  # the set itself still reads them


def test_stored_logits_of_files_come_along(voc_root):
    data = Data(VOC, 1, voc_root)
    sizes = [data.unlabelled.sample(i).image.shape[1:] for i in range(len(data.unlabelled))]
    stored = [torch.full((3, -(-h // 4), -(-w // 4)), i).half() for i, (h, w) in enumerate(sizes)]
    images = data.unlabelled.with_logits(stored)
    part = Loader(data.labelled, images, 2, 4, PADDED, seed=7).batch(0).unlabelled
    assert part.logits_ancillary.shape == (4, 3, 8, 8)
    numbers = [images.names.index(name) for name in part.names]
    assert part.logits_ancillary.mean(dim=(1, 2, 3)).tolist() == numbers


# What is refused


def test_sets_without_images_are_refused(sets):
    labelled, unlabelled = sets
    for pair in ((labelled.take([]), None), (labelled.take([]), unlabelled),
                 (labelled, unlabelled.take([]))):
        with pytest.raises(ValueError, match="no images to learn from"):
            Loader(*pair, 4, 6, SHIFTED, 0)


def test_images_of_two_sizes_need_a_crop(make_samples, make_set):
    images = make_set([*make_samples(1), *make_samples(1, "wide", size=(16, 20))])
    with pytest.raises(ValueError, match=r"2 sizes.*\(16, 16\), \(16, 20\).*augment\.crop"):
        Loader(images, None, 2, 0, SHIFTED, 0).batch(0)
    part = Loader(images, None, 2, 0, replace(SHIFTED, crop=16), 0).batch(0).labelled
    assert part.images.shape == (2, 3, 16, 16)


def test_a_batch_of_images_with_and_without_masks_is_refused(make_samples, make_set):
    images = make_set([*make_samples(1), *make_samples(1, "bare", masks=False)])
    with pytest.raises(ValueError, match="bare0 has no mask"):
        Loader(images, None, 2, 0, STILL, 0).batch(0)


def test_every_sample_is_seen_by_one_view(make_samples, make_set):
    """The function that draws views gets each place once, with its sample."""
    images, asked = make_set(make_samples(5)), []

    def view(place: int, sample: Sample) -> View:
        asked.append((place, sample.name))
        return View.whole((16, 16))

    images.part([4, 0, 4], view)
    assert asked == [(0, "made4"), (1, "made0"), (2, "made4")]
