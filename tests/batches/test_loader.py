"""Batches depend on (seed, step) alone: repeatable, complete epochs, shares that add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from semiseg_lib.batches.weak_view import ViewConfig
from semiseg_lib.batches.image_set import ImageSet, load_pool
from semiseg_lib.batches.loader import Loader, drawn_indices
from semiseg_lib.batches.part import Part
from semiseg_lib.datasets.sample import Boxes, Sample
from semiseg_lib.datasets.voc import VOCDataset

AUGMENT = ViewConfig(hue=0.1)
STILL = ViewConfig(flip=0, shift=0, brightness=0, contrast=0, saturation=0)
SIZE = 16


def pool(count: int, prefix: str, masks: bool = True, logits: bool = False) -> ImageSet:
    """Images whose first pixel row is their number, so that a batch tells what it shows."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    images[:, :, 0] = torch.arange(count, dtype=torch.uint8)[:, None, None]
    maps = torch.randint(0, 3, (count, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return ImageSet(
        names=tuple(f"{prefix}{i}" for i in range(count)),
        images=images,
        masks=maps if masks else None,
        box_maps=torch.stack([maps == c for c in range(3)], dim=1).to(torch.uint8),
        logits_ancillary=(
            torch.randn(count, 3, SIZE // 2, SIZE // 2, generator=generator).half()
            if logits else None
        ),
    )


def loader(seed: int = 0, augment: ViewConfig = AUGMENT, **share: int) -> Loader:
    unlabelled = pool(13, "unlabelled", masks=False, logits=True)
    return Loader(pool(7, "labelled"), unlabelled, 4, 6, augment, seed, **share)


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


def test_a_step_gives_the_same_batch_whenever_and_in_whatever_order_it_is_asked_for():
    one, two = loader(), loader()
    forwards = [one.batch(step) for step in range(6)]
    for step in reversed(range(6)):
        again = two.batch(step)
        assert same(again.labelled, forwards[step].labelled)
        assert same(again.unlabelled, forwards[step].unlabelled)


def test_seeds_and_steps_give_other_images_and_other_views():
    batches = [loader(seed).batch(step) for seed in (0, 1) for step in (0, 1)]
    assert len({batch.unlabelled.names for batch in batches}) == 4
    assert len({batch.unlabelled.images.numpy().tobytes() for batch in batches}) == 4
    # The same image at two steps is seen in two views.
    views = [
        part.images[place] for step in range(4) for part in [loader().batch(step).labelled]
        for place, name in enumerate(part.names) if name == "labelled0"
    ]
    assert len(views) >= 2 and not torch.equal(views[0], views[1])


def test_the_global_generator_is_neither_used_nor_moved():
    torch.manual_seed(1)
    first, state = loader().batch(0), torch.get_rng_state()
    torch.manual_seed(2)
    assert same(loader().batch(0).unlabelled, first.unlabelled)
    torch.manual_seed(1)
    loader().batch(3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("pool_size, batch", [(7, 4), (13, 6), (3, 8), (5, 5)])
def test_an_epoch_shows_every_image_once_and_the_next_in_another_order(pool_size, batch):
    steps = range(2 * pool_size)
    shown = [i for step in steps for i in drawn_indices(pool_size, batch, step, seed=4)]
    epochs = [shown[k:k + pool_size] for k in range(0, len(shown) - pool_size + 1, pool_size)]
    assert all(sorted(epoch) == list(range(pool_size)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) >= 5


def test_the_unlabelled_order_is_not_the_labelled_order():
    both = pool(12, "p", logits=True)
    batches = Loader(both, both, 12, 12, STILL, seed=0).batch(0)
    assert batches.labelled.names != batches.unlabelled.names


@pytest.mark.parametrize("processes", [2, 3])
def test_the_shares_of_several_processes_are_the_one_process_batch(processes):
    for step in range(3):
        whole = loader().batch(step)
        shares = [loader(process=p, processes=processes).batch(step) for p in range(processes)]
        for kind in ("labelled", "unlabelled"):
            expected = getattr(whole, kind)
            seen = Counter()
            for process, share in enumerate(shares):
                part = getattr(share, kind)
                places = range(process, len(expected.names), processes)
                seen.update(part.names)
                assert part.names == tuple(expected.names[place] for place in places)
                for name, tensor in tensors(part).items():
                    assert torch.equal(tensor, tensors(expected)[name][list(places)]), name
            assert seen == Counter(expected.names)


def test_a_view_is_its_image_in_the_formats_that_networks_read():
    batch = loader(augment=STILL).batch(0)
    labelled, unlabelled = pool(7, "labelled"), pool(13, "unlabelled", masks=False, logits=True)
    for part, source in ((batch.labelled, labelled), (batch.unlabelled, unlabelled)):
        numbers = [source.names.index(name) for name in part.names]
        assert torch.allclose(part.images, source.images[numbers].float() / 255, atol=1e-6)
        assert torch.equal(part.box_maps, source.box_maps[numbers].float())
    assert batch.labelled.masks.dtype == torch.int64
    numbers = [unlabelled.names.index(name) for name in batch.unlabelled.names]
    assert torch.equal(batch.unlabelled.logits_ancillary, unlabelled.logits_ancillary[numbers].float())


def test_mask_and_boxes_of_a_view_move_with_it():
    """The box maps were made from the mask, so they must still say the same of every pixel."""
    batch = loader(augment=replace(STILL, flip=0.5, shift=6)).batch(0).labelled
    assert torch.equal(batch.box_maps.argmax(dim=1), batch.masks)
    still = loader(augment=STILL).batch(0).labelled
    assert batch.names == still.names and not torch.equal(batch.masks, still.masks)


def test_stored_logits_of_a_view_move_with_it():
    """The logits are means of the box maps over 2x2 pixels, and must still be after the move."""
    maps = pool(13, "unlabelled").box_maps.float()
    unlabelled = replace(pool(13, "unlabelled", masks=False), logits_ancillary=avg_pool2d(maps, 2).half())
    batches = Loader(pool(7, "labelled"), unlabelled, 4, 6, AUGMENT, seed=0)
    for step in range(3):
        part = batches.batch(step).unlabelled
        assert torch.equal(part.logits_ancillary, avg_pool2d(part.box_maps, 2))


def test_unlabelled_masks_never_reach_a_batch():
    assert loader().batch(0).unlabelled.masks is None
    supervised = Loader(pool(7, "labelled"), None, 4, 0, AUGMENT, 0)
    assert supervised.batch(0).unlabelled is None


def test_a_pool_is_read_in_the_order_of_the_list(voc):
    dataset = VOCDataset(voc.path, "train", voc.classes)
    everything = load_pool(dataset, boxes=True)
    assert everything.names == ("one", "two") and everything.box_maps.shape == (2, 3, 10, 14)
    assert np.array_equal(everything.images[1].numpy(), dataset[1].image)
    assert np.array_equal(everything.masks[1].numpy(), dataset[1].mask)
    unlabelled = load_pool(VOCDataset(voc.path, "train", voc.classes, masks=None), indices=[1])
    assert unlabelled.names == ("two",) and unlabelled.masks is None and unlabelled.box_maps is None


def test_images_of_two_sizes_are_refused_with_the_mend():
    class TwoSizes(list):
        classes = ("background", "cat")

    samples = TwoSizes(Sample(str(s), np.zeros((3, s, 8), np.uint8), None, Boxes()) for s in (4, 6))
    with pytest.raises(ValueError, match=r"2 sizes.*\(4, 8\), \(6, 8\).*Resize or crop"):
        load_pool(samples)
