"""Directional context-aware consistency, CAC (Lai et al., CVPR 2021).

Two overlapping crops of an unlabelled image show the same pixels in different surroundings. A
pixel's feature should depend on the pixel and not on where the crop happens to end, so the features
of both crops are pulled together where they overlap: the less confident one towards the other, and
away from pixels that are taken for another class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.cac import CACConfig
from semiseg_lib.methods.cac.crop_pairs import Crops, draw_crops, draw_pair, shared_cells
from semiseg_lib.methods.parts import Projector, hard_cross_entropy, inside_at, shown_pixels

Pair = tuple[Crops, Crops]
CHUNK = 1024
"""Cells that are compared with all negatives at a time; more would only take more memory."""


@dataclass(frozen=True)
class Cells:
    """The cells of both crops of a batch, in one row of N.

    Attributes:
        vectors: (N, D), of unit length.
        labels: int64 (N,), the most likely class; VOID where a cell shows padding.
        confidence: float32 (N,), its probability; 0 where a cell shows padding.
    """

    vectors: Tensor
    labels: Tensor
    confidence: Tensor

    def at(self, places: np.ndarray) -> Cells:
        """Some of them."""
        chosen = torch.from_numpy(places).to(self.labels.device)
        return Cells(self.vectors[chosen], self.labels[chosen], self.confidence[chosen])


class CAC(AveragedMethod):
    """L = CE(labelled) + w (mean over M1 of l1 + mean over M2 of l2).

    With unit vectors f1, f2 of a cell that both crops show, pseudo-labels y and confidences c,

        l1 = -log e^(f1 . f2 / tau) / (e^(f1 . f2 / tau) + sum_{n: y_n != y1} e^(f1 . n / tau))
        M1 = cells with c1 < c2 and c2 > gamma

    and l2, M2 the other way round. Only f1 takes a gradient from l1; the classifier takes none.

    Where it differs from the published system: padding is left out; a batch of fewer cells than
    ``negatives`` gives all it has; a step's negatives are drawn from both crops together; crops are
    cut from a view that has been scaled already; the moving average is deployed. Several processes
    do not exchange cells: each contrasts with the cells of its own images, and the bank of
    earlier steps is the main process's.

    Raises:
        ValueError: the cells' stride is no multiple of the network's.
    """

    def __init__(self, config: CACConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config
        self.learns_from = frozenset({"labelled", "unlabelled"} if config.weight else {"labelled"})
        if not network.stride or config.stride % network.stride:
            raise ValueError(
                f"cac.stride is {config.stride}; it must be a multiple of the network's stride, "
                f"which is {network.stride}."
            )
        if config.weight:
            self.projector = Projector(network.feature_channels, config.channels)
            slots = (config.bank, config.negatives)
            self.register_buffer("bank_vectors", torch.zeros(*slots, config.channels))
            self.register_buffer("bank_labels", torch.full(slots, VOID))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        config, rng = self.config, np.random.default_rng(batch.seed)
        crops = draw_crops(batch.labelled.images, config.crop, config.stride, rng)
        labelled = crops.cut(batch.labelled)
        if not config.weight or progress < config.start:
            logits = self.network(labelled.images)
            loss = hard_cross_entropy(logits, labelled.masks, config.hard)
            nothing = {"unlabelled": torch.zeros_like(loss)} if config.weight else {}
            return {"labelled": loss, **nothing}
        pair, parts = self.draw(batch.unlabelled, rng)
        count = len(labelled.images)
        images = torch.cat([labelled.images, *(part.images for part in parts)])
        features = self.network.decode_features(self.network.encode(images))
        logits = self.network.head(features)
        inside = torch.cat([shown_pixels(part) for part in parts])
        cells = self.cells(features[count:], logits[count:].detach(), inside)
        return {
            "labelled": hard_cross_entropy(logits[:count], labelled.masks, config.hard),
            "unlabelled": config.weight * self.consistency(cells, pair, rng),
        }

    def draw(self, unlabelled: Part, rng: np.random.Generator) -> tuple[Pair, list[Part]]:
        """Two crops of every image: where they lie, and what they show in their own colours."""
        config = self.config
        pair = draw_pair(
            unlabelled.images, config.crop, config.stride, rng, config.flip, config.overlap
        )
        parts = [crops.cut(unlabelled) for crops in pair]
        return pair, [
            replace(part, images=strong_view(part.images, config.strong, rng)) for part in parts
        ]

    def cells(self, features: Tensor, logits: Tensor, inside: Tensor) -> Cells:
        """What is compared: features and logits, averaged over each cell.

        Args:
            features: (B, feature_channels, h, w) of crops.
            logits: (B, C, h, w), without gradient.
            inside: bool (B, H, W), False where a crop shows padding.
        """
        grid = [side // self.config.stride for side in inside.shape[-2:]]
        vectors = self.projector(nn.functional.adaptive_avg_pool2d(features, grid))
        logits = nn.functional.adaptive_avg_pool2d(logits.float(), grid)
        confidence, labels = logits.softmax(dim=1).max(dim=1)
        shown = inside_at(inside, grid)
        return Cells(
            vectors.movedim(1, -1).flatten(0, 2).to(self.bank_vectors),
            labels.where(shown, VOID).flatten(),
            confidence.where(shown, 0).flatten(),
        )

    def consistency(self, cells: Cells, pair: Pair, rng: np.random.Generator) -> Tensor:
        """Mean of l1 over M1 plus mean of l2 over M2; the negatives are stored for later steps.

        Args:
            cells: those of all first crops, then those of all second crops.
            pair: where the crops lie.
            rng: draws the negatives.
        """
        config = self.config
        first, second = shared_cells(*pair, config.stride)
        one, two = cells.at(first), cells.at(second + len(cells.labels) // 2)
        total = len(cells.labels)
        drawn = cells.at(rng.choice(total, min(config.negatives, total), replace=False))
        vectors = torch.cat([drawn.vectors.detach(), self.bank_vectors.flatten(0, 1)])
        labels = torch.cat([drawn.labels, self.bank_labels.flatten()])
        if self.training:
            self._store(drawn)
        return self._moved(one, two, vectors, labels) + self._moved(two, one, vectors, labels)

    def _moved(self, mine: Cells, other: Cells, vectors: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of the cells that move towards the other crop's."""
        moves = moving(mine.confidence, other.confidence, self.config)
        losses = in_chunks(
            mine.vectors, other.vectors.detach(), mine.labels, vectors, labels,
            self.config.temperature, self.config.filtered,
        )
        return losses.where(moves, 0).sum() / moves.sum().clamp(min=1)

    @torch.no_grad()
    def _store(self, drawn: Cells) -> None:
        """Push a step's negatives into the bank; the oldest step falls out."""
        new = ((self.bank_vectors, drawn.vectors, 0), (self.bank_labels, drawn.labels, VOID))
        for bank, values, empty in new if self.config.bank else ():
            bank.copy_(bank.roll(1, dims=0))
            bank[0] = empty
            bank[0, : len(values)] = values


def moving(mine: Tensor, other: Tensor, config: CACConfig) -> Tensor:
    """Which cells move, bool (N,), given their confidence and that of the other crop, (N,) each.

    Cells that show padding have confidence 0 in both crops.
    """
    sure = other > config.threshold
    return sure & (mine < other) if config.directional else sure


def contrast(
    anchors: Tensor,
    positives: Tensor,
    labels: Tensor,
    negatives: Tensor,
    negative_labels: Tensor,
    temperature: float,
    filtered: bool = True,
) -> Tensor:
    """-log e^(a . p / tau) / (e^(a . p / tau) + sum over n of e^(a . n / tau)) per anchor: (N,).

    Args:
        anchors, positives: (N, D), pairs.
        labels: (N,), the anchors' pseudo-labels.
        negatives: (M, D).
        negative_labels: (M,); one with VOID never counts.
        temperature: tau.
        filtered: one with the anchor's own label does not count either.
    """
    anchors = anchors / temperature
    near = (anchors * positives).sum(dim=1, keepdim=True)
    far = anchors @ negatives.T
    left_out = negative_labels == VOID
    if filtered:
        left_out = left_out | (negative_labels == labels[:, None])
    far = far.masked_fill(left_out, -torch.inf)
    return torch.cat([near, far], dim=1).logsumexp(dim=1) - near[:, 0]


def in_chunks(
    anchors: Tensor, positives: Tensor, labels: Tensor, *others, chunk: int = CHUNK
) -> Tensor:
    """:func:`contrast`, some anchors at a time; if many, computed anew in the backward pass.

    So what is held at any time are ``chunk`` rows of similarities and not all of them. In single
    precision also under autocast: a cosine over tau with eight bits would be off by percents.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        if len(anchors) <= chunk:
            return contrast(anchors, positives, labels, *others)
        rows = (one.split(chunk) for one in (anchors, positives, labels))
        return torch.cat([
            checkpoint(contrast, *some, *others, use_reentrant=False, preserve_rng_state=False)
            for some in zip(*rows, strict=True)
        ])
