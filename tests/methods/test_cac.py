"""CAC against a loop over cells in double precision; what moves, what does not, and the bank."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from semiseg_lib import methods
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import CACConfig, SupervisedConfig
from semiseg_lib.methods.cac.crop_pairs import draw_crops, draw_pair, shared_cells
from semiseg_lib.methods.cac.method import CAC, Cells, contrast, in_chunks, moving
from semiseg_lib.models import ModelConfig
from semiseg_lib.training.memory import estimate, example_batch, saved_bytes

STRIDE, GRID, SIZE = 4, 4, 32
SMALL = CACConfig(
    crop=0.5, stride=STRIDE, channels=5, negatives=40, bank=0, threshold=0.5, temperature=0.3,
    weight=0.7,
)


class Patches(nn.Module):
    """A network in double precision whose outputs see their own 2x2 pixels only."""

    stride, feature_channels = 2, 6

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 6, 2, stride=2)
        self.decoder = nn.Conv2d(6, 6, 1)
        self.head = nn.Conv2d(6, 3, 1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(3 * torch.randn(parameter.shape, generator=generator))
            self.head.bias.zero_()
            self.decoder.bias.zero_()

    def encode(self, images):
        return self.encoder(images.to(self.encoder.weight) - 0.5).tanh()

    def decode_features(self, features):
        return self.decoder(features).tanh()

    def forward(self, images):
        return self.head(self.decode_features(self.encode(images)))


def built(config=SMALL, training: bool = False) -> CAC:
    torch.manual_seed(0)
    return CAC(config, Patches()).double().train(training)


def some(make_batch, seed: int = 0, padded: bool = False) -> Batch:
    batch = make_batch(seed)
    inside = torch.ones(3, SIZE, SIZE, dtype=torch.bool)
    inside[0, :9] = inside[1, :, 22:] = inside[2, 14:, 10:] = False
    unlabelled = replace(batch.unlabelled, inside=inside) if padded else batch.unlabelled
    return replace(batch, unlabelled=unlabelled, seed=seed + 3)


def cells_by_loop(method: CAC, batch: Batch) -> tuple[list[dict], list[int]]:
    """Every cell of both crops, the first crops before the second ones; which are negatives.

    Draws are taken in the order: labelled crops, pairs, colours of either crop, negatives.
    """
    config, unlabelled = method.config, batch.unlabelled
    rng = np.random.default_rng(batch.seed)
    draw_crops(batch.labelled.images, config.crop, config.stride, rng)
    pair = draw_pair(
        unlabelled.images, config.crop, config.stride, rng, config.flip, config.overlap
    )
    first, _, last = (layer for layer in method.projector)
    cells = []
    for crops in pair:
        images = strong_view(crops(unlabelled.images), config.strong, rng)
        features = method.network.decode_features(method.network.encode(images))
        logits = method.network.head(features).detach().numpy()
        for number, row, column in np.ndindex(3, GRID, GRID):
            patch = features[number, :, 2 * row:2 * row + 2, 2 * column:2 * column + 2]
            mean = sum(patch[:, r, c] for r in (0, 1) for c in (0, 1)) / 4
            hidden = (first.weight[:, :, 0, 0] @ mean + first.bias).clamp(min=0)
            vector = last.weight[:, :, 0, 0] @ hidden + last.bias
            four = logits[number, :, 2 * row:2 * row + 2, 2 * column:2 * column + 2]
            powers = [math.exp(four[k].mean()) for k in range(3)]
            top, left = crops.corners[number]
            place = GRID - 1 - column if crops.flipped[number] else column
            top, left = top + STRIDE * row, left + STRIDE * place
            shown = unlabelled.inside is None or bool(
                unlabelled.inside[number, top:top + STRIDE, left:left + STRIDE].all()
            )
            cells.append({
                "place": (number, int(top), int(left)), "vector": vector / vector.norm(),
                "label": int(np.argmax(powers)) if shown else None,
                "confidence": max(powers) / sum(powers), "shown": shown,
            })
    drawn = rng.choice(len(cells), min(config.negatives, len(cells)), replace=False)
    return cells, drawn.tolist()


def unlabelled_by_loop(config, cells: list[dict], negatives: list[dict]) -> torch.Tensor:
    """w (mean over M1 of l1 + mean over M2 of l2), one cell and one negative at a time."""
    crops = [{one["place"]: one for one in half}
             for half in (cells[:len(cells) // 2], cells[len(cells) // 2:])]
    total = torch.zeros((), dtype=torch.float64)
    for mine, other in (crops, crops[::-1]):
        losses = []
        for place in mine.keys() & other.keys():
            a, p = mine[place], other[place]
            if not a["shown"] or not p["confidence"] > config.threshold:
                continue
            if config.directional and not a["confidence"] < p["confidence"]:
                continue
            near = torch.exp((a["vector"] * p["vector"].detach()).sum() / config.temperature)
            bottom = near
            for n in negatives:
                if n["shown"] and not (config.filtered and n["label"] == a["label"]):
                    product = (a["vector"] * n["vector"].detach()).sum()
                    bottom = bottom + torch.exp(product / config.temperature)
            losses.append(-torch.log(near / bottom))
        if losses:
            total = total + sum(losses) / len(losses)
    return config.weight * total


VARIANTS = pytest.mark.parametrize("config", [
    SMALL, replace(SMALL, directional=False), replace(SMALL, filtered=False, flip=0.0),
    replace(SMALL, negatives=1000, overlap=0.6), replace(SMALL, threshold=0.8, flip=1.0),
], ids=repr)


@VARIANTS
@pytest.mark.parametrize("padded", [False, True])
def test_the_loss_and_its_gradient_are_those_of_a_loop_over_cells(config, padded, make_batch):
    method, batch = built(config), some(make_batch, 1, padded)
    cells, drawn = cells_by_loop(method, batch)
    assert len({one["label"] for one in cells} - {None}) > 1
    expected = unlabelled_by_loop(config, cells, [cells[i] for i in drawn])
    assert expected > 0
    losses = method.losses(batch, 0.5)
    assert losses["unlabelled"].item() == pytest.approx(expected.item(), rel=1e-9)
    learnt = [*method.network.encoder.parameters(), *method.projector.parameters()]
    found = torch.autograd.grad(losses["unlabelled"], learnt)
    for mine, theirs in zip(found, torch.autograd.grad(expected, learnt), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)


def test_the_labelled_loss_is_that_of_the_crops(make_batch):
    method, batch = built(), some(make_batch)
    crops = draw_crops(batch.labelled.images, 0.5, STRIDE, np.random.default_rng(batch.seed))
    images, masks = crops(batch.labelled.images), crops(batch.labelled.masks)
    assert images.shape[-2:] == (16, 16)
    logits = nn.functional.interpolate(
        method.network(images), size=(16, 16), mode="bilinear", align_corners=False
    )
    expected = nn.functional.cross_entropy(logits, masks, ignore_index=VOID)
    torch.testing.assert_close(method.losses(batch, 0.5)["labelled"], expected)


def test_earlier_steps_count_and_the_oldest_goes(make_batch):
    config = replace(SMALL, bank=3)
    method, kept = built(config, training=True), []
    for step in range(5):
        batch = some(make_batch, step, padded=step == 1)
        cells, drawn = cells_by_loop(method, batch)
        now = [cells[i] for i in drawn]
        earlier = [one for each in kept[-3:] for one in each]
        expected = unlabelled_by_loop(config, cells, now + earlier)
        loss = method.losses(batch, 0.5)["unlabelled"]
        assert loss.item() == pytest.approx(expected.item(), rel=1e-9), step
        kept.append(now)
    for slot, step in enumerate(kept[:1:-1]):
        stored = torch.stack([one["vector"] for one in step])
        torch.testing.assert_close(method.bank_vectors[slot], stored)
        assert method.bank_labels[slot].tolist() == [
            VOID if one["label"] is None else one["label"] for one in step
        ]


def test_in_evaluation_mode_nothing_is_stored(make_batch):
    method, batch = built(replace(SMALL, bank=1)), some(make_batch)
    first, second = (method.losses(batch, 0.5)["unlabelled"] for _ in range(2))
    assert torch.equal(first, second) and (method.bank_labels == VOID).all()
    method.train()
    assert torch.equal(method.losses(batch, 0.5)["unlabelled"], first)
    assert not torch.equal(method.losses(batch, 0.5)["unlabelled"], first)


def test_the_bank_is_saved_and_goes_on(make_batch):
    config = replace(SMALL, bank=2)
    method = built(config, training=True)
    for step in range(3):
        method.losses(some(make_batch, step), 0.5)
    other = built(config, training=True)
    other.load_state_dict(method.state_dict())
    batch = some(make_batch, 7)
    expected = method.losses(batch, 0.5)["unlabelled"]
    assert torch.equal(other.losses(batch, 0.5)["unlabelled"], expected)
    fresh = built(config, training=True).losses(batch, 0.5)["unlabelled"]
    assert not torch.equal(other.losses(batch, 0.5)["unlabelled"], fresh)


def test_fewer_cells_than_negatives_is_no_error(make_batch):
    batch = some(make_batch)
    one = replace(batch, unlabelled=Part(("a",), batch.unlabelled.images[:1]))
    method = built(replace(SMALL, negatives=500, bank=1), training=True)
    for each, images in ((batch, 3), (one, 1), (one, 1)):
        assert method.losses(each, 0.5)["unlabelled"].isfinite()
        assert (method.bank_labels != VOID).sum() == 2 * images * GRID * GRID


def test_crops_swap_and_so_do_the_losses():
    """l1 of one order is l2 of the other: the sum over both directions is the same."""
    method, cells, pair = built(), *drawn_cells()
    swapped = type(cells)(*(value.roll(len(value) // 2, dims=0) for value in vars(cells).values()))
    everything = replace(SMALL, negatives=10_000)
    method.config = everything
    losses = [method.consistency(each, order, np.random.default_rng(0))
              for each, order in ((cells, pair), (swapped, pair[::-1]))]
    torch.testing.assert_close(*losses)
    first, second = shared_cells(*pair, STRIDE)
    one, two = cells.at(first), cells.at(second + len(cells.labels) // 2)
    moves = moving(one.confidence, two.confidence, SMALL)
    back = moving(two.confidence, one.confidence, SMALL)
    assert moves.any() and back.any() and not (moves & back).any()


def drawn_cells():
    """Cells with drawn values for a pair of crops of three images."""
    generator = torch.Generator().manual_seed(4)
    pair = draw_pair(torch.zeros(3, 3, SIZE, SIZE), 0.5, STRIDE, np.random.default_rng(1), 0.5)
    count = 2 * 3 * GRID * GRID
    vectors = torch.randn(count, 5, generator=generator, dtype=torch.float64)
    return Cells(
        nn.functional.normalize(vectors, dim=1),
        torch.randint(0, 3, (count,), generator=generator),
        torch.rand(count, generator=generator),
    ), pair


def drawn_contrast(anchors: int = 50, negatives: int = 70) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    a, p, n = (nn.functional.normalize(torch.randn(count, 8, generator=generator,
                                                   dtype=torch.float64), dim=1)
               for count in (anchors, anchors, negatives))
    labels, others = (torch.randint(0, 3, (count,), generator=generator)
                      for count in (anchors, negatives))
    return [a.requires_grad_(), p, labels, n, others]


def test_negatives_are_a_set_and_those_of_the_own_class_or_empty_count_nothing():
    a, p, labels, n, others = drawn_contrast()
    plain = contrast(a, p, labels, n, others, 0.1)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(contrast(a, p, labels, n[order], others[order], 0.1), plain)
    for more in (torch.tensor([VOID]), labels[:1]):
        longer = contrast(a, p, labels, torch.cat([n, p[:1]]), torch.cat([others, more]), 0.1)
        same = (labels == more) | (more == VOID)
        torch.testing.assert_close(longer[same], plain[same])
        assert (longer[~same] > plain[~same]).all()
    unfiltered = contrast(a, p, labels, n, others, 0.1, filtered=False)
    assert (unfiltered > plain).all()


def test_limits_of_the_contrast():
    a, p, labels, n, others = drawn_contrast()
    alone = contrast(a, p, labels, n, torch.full_like(others, VOID), 0.1)
    assert torch.equal(alone, torch.zeros_like(alone)), "nothing to be pushed away from"
    alone.sum().backward()
    assert a.grad.isfinite().all()
    equal = contrast(a, a.detach(), labels, a[:1].detach(), labels[:1] + 1, 1e-4, False)
    assert equal[0].item() == pytest.approx(math.log(2)) and (equal[1:] == 0).all()
    cold = contrast(a, -a.detach(), labels, n, others, 1e-4)
    assert cold.isfinite().all() and (cold > 1e3).all()


@pytest.mark.parametrize("chunk", [1, 7, 49, 50, 1000])
def test_the_size_of_a_chunk_changes_neither_loss_nor_gradient(chunk):
    a, p, labels, n, others = drawn_contrast()
    expected = contrast(a, p, labels, n, others, 0.1)
    weights = torch.linspace(0, 1, 50, dtype=torch.float64)
    gradient = torch.autograd.grad((weights * expected).sum(), a)[0]
    found = in_chunks(a, p, labels, n, others, 0.1, chunk=chunk)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad((weights * found).sum(), a)[0], gradient)


def kept_bytes(anchors: int, chunk: int, negatives: int = 500) -> int:
    values = drawn_contrast(anchors, negatives)
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.setdefault(t.untyped_storage().data_ptr(), t), lambda t: t
    ):
        loss = in_chunks(*values, 0.1, chunk=chunk).sum()
    own = {t.untyped_storage().data_ptr() for t in values}
    assert loss.isfinite()
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


def test_what_is_held_does_not_grow_with_the_similarities():
    """Without chunks, rows of 500 similarities are held for every anchor; with them, none is."""
    row = 500 * 8
    assert kept_bytes(600, chunk=600) > 600 * row
    assert kept_bytes(600, chunk=100) < 100 * row
    assert kept_bytes(2400, chunk=100) < 100 * row


def test_half_precision_compares_as_single_precision_does():
    a, p, labels, n, others = (one.float() if one.is_floating_point() else one
                               for one in drawn_contrast())
    expected = contrast(a, p, labels, n, others, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(in_chunks(a, p, labels, n, others, 0.1), expected)
        assert torch.equal(in_chunks(a, p, labels, n, others, 0.1, chunk=50), expected)
    method = CAC(SMALL, Patches().float())
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    cells = method.cells(torch.zeros(2, 6, 8, 8), logits, torch.ones(2, 16, 16, dtype=torch.bool))
    means = logits.double().unflatten(-1, (4, 2)).unflatten(-3, (4, 2)).mean(dim=(-1, -3))
    known = means.softmax(dim=1).amax(dim=1).flatten()
    torch.testing.assert_close(cells.confidence.double(), known, rtol=1e-5, atol=0)


def test_who_moves():
    mine = torch.tensor([0.6, 0.8, 0.8, 0.9, 0.2])
    other = torch.tensor([0.9, 0.8, 0.9, 0.8, 0.5])
    config = replace(SMALL, threshold=0.5)
    assert moving(mine, other, config).tolist() == [True, False, True, False, False]
    both = replace(config, directional=False)
    assert moving(mine, other, both).tolist() == [True, True, True, True, False]


def test_a_threshold_of_one_is_never_passed(make_batch):
    method = built(replace(SMALL, threshold=1.0))
    loss = method.losses(some(make_batch), 0.5)["unlabelled"]
    loss.backward()
    assert loss.item() == 0
    assert not any(p.grad.any() for p in method.network.encoder.parameters())


def test_images_that_are_all_padding_teach_nothing(make_batch):
    batch = some(make_batch)
    nothing = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
    method = built(replace(SMALL, threshold=0.0, bank=1, directional=False), training=True)
    unlabelled = replace(batch.unlabelled, inside=nothing)
    loss = method.losses(replace(batch, unlabelled=unlabelled), 0.5)["unlabelled"]
    loss.backward()
    assert loss.item() == 0 and (method.bank_labels == VOID).all()


def test_what_lies_in_the_padding_has_no_say(make_batch):
    config = replace(SMALL, bank=1, strong=replace(SMALL.strong, contrast=0.0, blur=0.0))
    batch = some(make_batch, 0, padded=True)
    dark = batch.unlabelled.images.where(batch.unlabelled.inside[:, None], 0.9)
    other = replace(batch, unlabelled=replace(batch.unlabelled, images=dark))
    losses = []
    for earlier in (batch, other):
        method = built(config, training=True)
        losses.append([method.losses(each, 0.5)["unlabelled"] for each in (earlier, batch)])
    assert not torch.equal(other.unlabelled.images, batch.unlabelled.images)
    torch.testing.assert_close(*losses)
    ignored = replace(other, unlabelled=replace(other.unlabelled, inside=None))
    found = built(config).losses(ignored, 0.5)["unlabelled"]
    assert not torch.isclose(found, losses[0][0], rtol=1e-3)


def test_the_classifier_gets_no_gradient_and_neither_does_the_surer_side(make_batch):
    method, batch = built(replace(SMALL, threshold=0.0)), some(make_batch)
    method.losses(batch, 0.5)["unlabelled"].backward()
    assert all(p.grad is None for p in method.network.head.parameters())
    assert all(p.grad.any() for p in method.projector.parameters())
    cells, pair = drawn_cells()
    cells.vectors.requires_grad_()
    method.config = replace(SMALL, negatives=96)
    method.consistency(cells, pair, np.random.default_rng(0)).backward()
    moved = cells.vectors.grad.any(dim=1)
    first, second = shared_cells(*pair, STRIDE)
    second = second + len(moved) // 2
    sure = cells.confidence
    for mine, other in zip(first.tolist(), second.tolist(), strict=True):
        less, more = sorted((mine, other), key=lambda i: sure[i].item())
        assert moved[less] == (sure[more].item() > 0.5) and not moved[more]
    assert moved.sum() <= len(first) < len(moved) // 2


def test_before_its_start_no_unlabelled_image_is_read(make_batch):
    config = replace(SMALL, start=0.3)
    method, batch = built(config), some(make_batch)
    early = method.losses(replace(batch, unlabelled=None), 0.29)
    assert early["unlabelled"].item() == 0
    late = method.losses(batch, 0.3)
    torch.testing.assert_close(early["labelled"], late["labelled"])
    assert late["unlabelled"] > 0


def unet(config, seed: int = 0, **model):
    torch.manual_seed(seed)
    return methods.build(config, ModelConfig(**{"width": 4, **model}), 3).train()


def trained(method, batches):
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.02)
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        sum(method.losses(batch, 0.5).values()).backward()
        optimizer.step()
        method.after_step(step)
    return method.state_dict()


def test_with_weight_zero_it_is_supervised_training_on_crops(make_batch):
    config = replace(SMALL, weight=0.0)
    batches = [replace(make_batch(step), seed=step, unlabelled=None) for step in range(4)]
    cut = [
        replace(batch, labelled=draw_crops(
            batch.labelled.images, 0.5, STRIDE, np.random.default_rng(batch.seed)
        ).cut(batch.labelled)) for batch in batches
    ]
    off = unet(config)
    assert off.learns_from(config) == {"labelled"}
    found, expected = trained(off, batches), trained(unet(SupervisedConfig()), cut)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_a_warm_start_loads_the_network_and_leaves_the_rest_fresh(make_batch):
    start = unet(SupervisedConfig(), seed=5)
    trained(start, [make_batch()])
    method, fresh = unet(SMALL), unet(SMALL)
    method.load_start([start])
    for mine, theirs in ((method.network, start.network), (method.average, start.average)):
        state = theirs.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in mine.state_dict().items())
    assert torch.equal(method.projector[0].weight, fresh.projector[0].weight)


ENCODER = {"encoder": "resnet18", "weights": "", "decoder_width": 16}


@pytest.mark.parametrize("model", [
    {"norm": "group"}, {"architecture": "swiftnet", **ENCODER},
    {"architecture": "deeplab", **ENCODER},
    {"architecture": "vit", **ENCODER, "encoder": "vit_tiny_patch16_224"},
], ids=lambda model: model.get("architecture", "unet"))
def test_it_works_with_every_network_and_in_half_precision(model, make_batch):
    method = unet(replace(SMALL, threshold=0.0, crop=1.0), **model)
    with torch.autocast("cpu", torch.bfloat16):
        losses = method.losses(some(make_batch), 0.5)
    losses["unlabelled"].backward()
    assert losses["unlabelled"].dtype == torch.float32 and losses["unlabelled"] > 0
    encoder = getattr(method.network, "encoder", None) or method.network.stem
    gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert gradients and all(one.isfinite().all() for one in gradients)


@pytest.mark.parametrize("precision, off", [("no", 0.0), ("bf16", 0.01)])
def test_its_memory_is_told_without_values(precision, off):
    method = unet(CACConfig(stride=4, negatives=300), width=8)
    batch = example_batch(method, 3, labelled=2, unlabelled=3, size=(64, 64))
    parts = [replace(part, **{
        name: torch.ones(value.shape, dtype=value.dtype)
        for name, value in vars(part).items() if isinstance(value, torch.Tensor)
    }) for part in (batch.labelled, batch.unlabelled)]
    exact = saved_bytes(unet(method.config, width=8), Batch(*parts), precision)
    assert estimate(method, batch, precision).activations == pytest.approx(exact, rel=off)


@pytest.mark.parametrize("name, value, message", [
    ("weight", -1.0, "at least 0"), ("crop", 0.0, r"in \(0, 1\]"), ("crop", 1.5, r"in \(0, 1\]"),
    ("threshold", 2.0, r"in \[0, 1\]"), ("temperature", 0.0, "above 0"),
    ("negatives", 0, "at least 1"), ("bank", -1, "at least 0"), ("stride", 0, "at least 1"),
])
def test_options_out_of_their_range_are_named(name, value, message):
    with pytest.raises(ValueError, match=rf"cac\.{name} is .*{message}"):
        CACConfig(**{name: value})


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_a_stride_that_does_not_fit_the_network_is_refused(weight):
    with pytest.raises(ValueError, match=r"cac\.stride is 3; .* multiple of the network's .* 2"):
        unet(CACConfig(stride=3, weight=weight))
