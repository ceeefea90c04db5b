"""CAC in equations.

For two crops A_1 and A_2 of each unlabelled image:

    (E1)  IoU(A_1, A_2) >= o,    corners of A_1 and A_2 at multiples of s,
          in methods/cac/crop_pairs.py
    (E2)  f_i = normalise(projector(mean of z over cell i)),    a_i = mean of g(z) over cell i,
          yhat_i = argmax_k a_{i,k},    c_i = max_k softmax_k(a_i)
    (E3)  M_1 = [c_2 > gamma] and [c_1 < c_2],    M_2 with the crops exchanged
    (E4)  l_1 = -log [P / (P + sum_{n in Neg: yhat_n != yhat_1} exp(f_1 . f_n / tau))],
          P = exp(f_1 . f_2 / tau),    l_2 with the crops exchanged
    (E5)  Neg = cells drawn from A_1 and A_2 of all images, of this step and of the b before
    (E6)  L = CE(y, p(x)) + w (mean_{M_1} l_1 + mean_{M_2} l_2),    p = softmax(g(z))

In l_1 only f_1 takes a gradient, and the classifier takes none: the less confident cell moves to
the more confident one.

========  ============  =====================================================================
symbol    shape         meaning
========  ============  =====================================================================
x         (B, 3, H, W)  labelled images in [0, 1]
y         (B, H, W)     their masks: class ids, 255 = void
A_1, A_2  crops         of unlabelled images; they overlap
IoU       number        intersection over union
o         number        the smallest overlap
s         number        the stride: pixels per cell
z         (B, D, h, w)  the decoder's features
g         (B, C, h, w)  the classifier's logits
a         (C,)          the logits of a cell, without gradient
f         (D,)          the vector of a cell, of unit length
yhat, c   (N,)          most likely class of each cell and its probability, the confidence
gamma     number        threshold of the confidence
M_1, M_2  bool (N,)     the shared cells of A_1 (A_2) that move; disjoint
l_1, l_2  (N,)          the contrast of each shared cell of A_1 (A_2)
P         (N,)          what is due to the same cell in the other crop
Neg       cells         the negatives: what others are pushed away from
tau       number        temperature
b         number        earlier steps whose negatives still count
p         (B, C, H, W)  the network's probabilities, enlarged to the image
CE        number        mean of -log of the label's probability over pixels that are not void
w         number        weight of the contrast
L         number        the loss
i, n, k   index         cell, negative cell, class; 1, 2: one cell in either crop
========  ============  =====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from semiseg_lib.batches.part import Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import SemiSupervised
from semiseg_lib.methods.cac import CACConfig
from semiseg_lib.methods.cac.crop_pairs import Crops, draw_crops, draw_pair, shared_cells
from semiseg_lib.methods.losses import inside_at, shown_pixels
from semiseg_lib.methods.projector import Projector

Pair = tuple[Crops, Crops]
CHUNK = 1024
"""Cells that are compared with all negatives at a time; more would only take more memory."""


@dataclass(frozen=True)
class Cells:
    """Cells of crops, in one row of N.

    Attributes:
        vectors: (N, D), of unit length.
        labels: int64 (N,), the most likely class; VOID where a cell shows padding.
        confidence: float32 (N,), its probability; 0 where a cell shows padding.
    """

    vectors: Tensor
    labels: Tensor
    confidence: Tensor

    def at(self, places: np.ndarray) -> Cells:
        """Return the cells at some places (n,)."""
        chosen = torch.from_numpy(places).to(self.labels.device)
        return Cells(self.vectors[chosen], self.labels[chosen], self.confidence[chosen])

    def where(self, kept: Tensor, other: Cells) -> Cells:
        """Return these cells where ``kept``, bool (N,), and the other ones elsewhere."""
        return Cells(
            self.vectors.where(kept[:, None], other.vectors),
            self.labels.where(kept, other.labels),
            self.confidence.where(kept, other.confidence),
        )


def moving(mine: Tensor, other: Tensor, config: CACConfig) -> Tensor:
    """Return which cells move (E3), bool (N,).

    Args:
        mine, other: confidence of the cells and of the same ones in the other crop, (N,) each; 0
            in both where they show padding, so that these never move.
        config: its threshold, and whether it is directional: without, both of two cells move.
    """
    sure = other > config.threshold
    return sure & (mine < other) if config.directional else sure  # (E3)


def contrast(
    anchors: Tensor,
    positives: Tensor,
    labels: Tensor,
    negatives: Tensor,
    negative_labels: Tensor,
    temperature: float,
    filtered: bool = True,
) -> Tensor:
    """Return the contrast (E4) of each anchor, (N,): a cross-entropy whose right answer is first.

    Args:
        anchors, positives: (N, D), pairs of unit vectors.
        labels: (N,), the anchors' pseudo-labels.
        negatives: (M, D).
        negative_labels: (M,); one with VOID never counts.
        temperature: tau.
        filtered: one with the anchor's own label does not count either.
    """
    anchors = anchors / temperature
    near = (anchors * positives).sum(dim=1, keepdim=True)
    left_out = negative_labels == VOID
    if filtered:
        left_out = left_out | (negative_labels == labels[:, None])
    far = anchors @ negatives.T - 1e9 * left_out  # faster than to fill in minus infinity
    logits, first = torch.cat([near, far], dim=1), torch.zeros_like(labels)
    # Where it differs: the published code adds 1e-8 in two places, which changes the loss by 2e-5.
    return nn.functional.cross_entropy(logits, first, reduction="none")  # (E4)


def in_chunks(
    anchors: Tensor, positives: Tensor, labels: Tensor, *others: Any, chunk: int = CHUNK
) -> Tensor:
    """Return :func:`contrast`, some anchors at a time; if many, computed anew going backward.

    So what is held at any time are ``chunk`` rows of similarities and not all of them. In single
    precision also under autocast: a cosine over tau with eight bits would be off by percents.

    Args:
        anchors, positives, labels, others: the arguments of :func:`contrast`, in its order.
        chunk: anchors at a time.
    """
    # Where it differs: the published code splits the negatives, 8,000 at a time.
    with torch.autocast(anchors.device.type, enabled=False):
        if len(anchors) <= chunk:
            return contrast(anchors, positives, labels, *others)
        rows = (one.split(chunk) for one in (anchors, positives, labels))
        return torch.cat([
            checkpoint(contrast, *some, *others, use_reentrant=False, preserve_rng_state=False)
            for some in zip(*rows, strict=True)
        ])


def pulled(
    one: Cells, two: Cells, negatives: Tensor, negative_labels: Tensor, config: CACConfig
) -> Tensor:
    """Return the mean of l_1 over M_1 plus the mean of l_2 over M_2, the unlabelled part of (E6).

    Args:
        one, two: the same cells in the first and in the second crop.
        negatives: (M, D), without gradient.
        negative_labels: (M,).
        config: temperature, threshold, and which cells move and are pushed away.
    """
    def losses(mine: Cells, other: Cells) -> Tensor:
        return in_chunks(
            mine.vectors, other.vectors.detach(), mine.labels, negatives, negative_labels,
            config.temperature, config.filtered,
        )

    forth = moving(one.confidence, two.confidence, config)
    back = moving(two.confidence, one.confidence, config)
    if config.directional:  # M_1, M_2 are disjoint: one pass has l_1 and, outside M_1, l_2
        l1 = l2 = losses(one.where(forth, two), two.where(forth, one))
    else:
        l1, l2 = losses(one, two), losses(two, one)
    return sum(  # the unlabelled part of (E6)
        each.where(moves, 0).sum() / moves.sum().clamp(min=1)
        for each, moves in ((l1, forth), (l2, back))
    )


class CAC(SemiSupervised):
    """Consistency of a pixel's features in different surroundings, beside the masks (E6).

    Args:
        config: the options.
        network: ``network(images) -> logits (B, C, h, w)``, with a decoder.

    Raises:
        ValueError: the cells' stride is not a multiple of the network's.
    """

    # Where it differs: the moving average is deployed (published: the network, as with decay 0).

    def __init__(self, config: CACConfig, network: nn.Module) -> None:
        super().__init__(config, network, config.start)
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

    def labelled_part(self, part: Part, rng: np.random.Generator) -> Part:
        """Return a crop of each labelled view, as large as those of the unlabelled ones.

        Args:
            part: weak views with masks.
            rng: draws the corners.
        """
        return draw_crops(part.images, self.config.crop, self.config.stride, rng).cut(part)

    def unlabelled_loss(
        self, labelled: Part, unlabelled: Part, progress: float, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        pair, parts = self.draw(unlabelled, rng)
        count = len(labelled.images)
        # Where it differs: one pass of all crops (published: three, each with its own statistics).
        images = torch.cat([labelled.images, *(part.images for part in parts)])
        features = self.network.decode_features(self.network.encode(images))
        logits = self.network.head(features)
        inside = torch.cat([shown_pixels(part) for part in parts])
        cells = self.cells(features[count:], logits[count:].detach(), inside)
        return logits[:count], self.consistency(cells, pair, rng)  # both terms of (E6), without w

    def draw(self, unlabelled: Part, rng: np.random.Generator) -> tuple[Pair, list[Part]]:
        """Return two crops of every image (E1): where they lie, and what they show.

        Args:
            unlabelled: weak views.
            rng: draws corners, flips and colours.
        """
        config = self.config
        # Where it differs: crops are cut from a view that has been scaled already (published: from
        # the image, resized for each pair), and StrongConfig's blur is wider (published: 5x5 pixels
        # with standard deviation 1.1).
        pair = draw_pair(  # (E1)
            unlabelled.images, config.crop, config.stride, rng, config.flip, config.overlap
        )
        parts = [crops.cut(unlabelled) for crops in pair]
        return pair, [
            replace(part, images=strong_view(part.images, config.strong, rng)) for part in parts
        ]

    def cells(self, features: Tensor, logits: Tensor, inside: Tensor) -> Cells:
        """Return what is compared (E2): features and logits, averaged over each cell.

        Args:
            features: (B, feature_channels, h, w) of crops.
            logits: (B, C, h, w), without gradient.
            inside: bool (B, H, W), False where a crop shows padding.
        """
        grid = [side // self.config.stride for side in inside.shape[-2:]]
        vectors = self.projector(nn.functional.adaptive_avg_pool2d(features, grid))  # f of (E2)
        logits = nn.functional.adaptive_avg_pool2d(logits.float(), grid)  # a of (E2)
        confidence, labels = logits.softmax(dim=1).max(dim=1)  # c and yhat of (E2)
        # Where it differs: cells that show padding neither move nor push (published: they do both).
        shown = inside_at(inside, grid)
        return Cells(
            vectors.movedim(1, -1).flatten(0, 2).to(self.bank_vectors),
            labels.where(shown, VOID).flatten(),
            confidence.where(shown, 0).flatten(),
        )

    def consistency(self, cells: Cells, pair: Pair, rng: np.random.Generator) -> Tensor:
        """Return the mean of l_1 over M_1 plus the mean of l_2 over M_2 (E6).

        Args:
            cells: those of all first crops, then those of all second crops.
            pair: where the crops lie.
            rng: draws the negatives.
        """
        first, second = shared_cells(*pair, self.config.stride)
        one, two = cells.at(first), cells.at(second + len(cells.labels) // 2)
        return pulled(one, two, *self.negatives(cells, rng), self.config)

    def negatives(self, cells: Cells, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw negatives (E5) from a step's cells and store them for later steps.

        Args:
            cells: those of all crops of the step.
            rng: draws the negatives.

        Returns:
            their vectors (M, D), without gradient, and labels (M,), with those of earlier steps.
        """
        # Where they differ: as many as there are if they are too few (published: a ValueError);
        # from both crops of all images together (published: as many from either); from the images
        # of one process (published: from all processes), and stored by the main process alone.
        total = len(cells.labels)
        drawn = cells.at(rng.choice(total, min(self.config.negatives, total), replace=False))
        vectors = torch.cat([drawn.vectors.detach(), self.bank_vectors.flatten(0, 1)])
        labels = torch.cat([drawn.labels, self.bank_labels.flatten()])  # (E5)
        if self.training:
            self._store(drawn)
        return vectors, labels

    @torch.no_grad()
    def _store(self, drawn: Cells) -> None:
        """Push a step's negatives into the bank; the oldest step falls out."""
        new = ((self.bank_vectors, drawn.vectors, 0), (self.bank_labels, drawn.labels, VOID))
        for bank, values, empty in new if self.config.bank else ():
            bank.copy_(bank.roll(1, dims=0))
            bank[0] = empty
            bank[0, : len(values)] = values
