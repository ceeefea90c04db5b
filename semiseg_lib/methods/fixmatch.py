"""FixMatch for segmentation (Sohn et al. 2020; Yang et al., "UniMatch", CVPR 2023).

A teacher labels a weak view of an unlabelled image; the student learns the confident part of that
label on a strong view of the same image. The teacher is the moving average of the student, and
the average is what is deployed.

With a second strong view and dropped features this is UniMatch's recipe (its version 2 has the
moving average too).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.cutmix import CutMixConfig, draw_mix
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.batches.strong_view import StrongConfig, strong_view
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.parts import (
    HardPixels,
    confident_cross_entropy,
    hard_cross_entropy,
    shown_pixels,
)


@dataclass(frozen=True)
class FixMatchConfig(Configuration):
    """Options of FixMatch.

    Attributes:
        weight: of the unlabelled loss. With 0 no unlabelled image is looked at, and this is
            supervised training to the last bit.
        threshold: a pixel is learnt if the teacher's largest probability is at least this.
        strong: how far a strong view differs.
        cutmix: how strong views are mixed; None for not at all.
        views: strong views an image; their losses are averaged.
        feature_dropout: share of the feature maps that is dropped in a further, weak view (0.5 in
            UniMatch), which then makes up half of the unlabelled loss; 0 for no such view.
        ema_decay: decay of the moving average that teaches and is deployed; with 0 the student
            teaches itself.
        hard: the labelled loss is the mean over hard pixels only; None for all of them.
    """

    name: Literal["fixmatch"] = "fixmatch"
    weight: float = 1.0
    threshold: float = 0.95
    strong: StrongConfig = StrongConfig()
    cutmix: CutMixConfig | None = CutMixConfig()
    views: Literal[1, 2] = 1
    feature_dropout: float = 0.0
    ema_decay: float = 0.99
    hard: HardPixels | None = None

    def __post_init__(self) -> None:
        if self.weight < 0 or not 0 <= self.threshold <= 1:
            raise ValueError(
                f"fixmatch.weight is {self.weight} and threshold {self.threshold}; they must be at "
                "least 0, and the threshold at most 1."
            )
        if not 0 <= self.feature_dropout < 1:
            raise ValueError(
                f"fixmatch.feature_dropout is {self.feature_dropout}; it must be 0 up, below 1."
            )


class FixMatch(AveragedMethod):
    """L = CE(labelled) + w [(1 - f) mean over strong views of CE_conf + f CE_conf(dropped)].

    CE_conf is summed over the pixels that the teacher is sure of and divided by all of the image,
    so few sure pixels weigh little. f is 1/2 with dropped features and 0 without.
    """

    uses_all_weights = True

    def __init__(self, config: FixMatchConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config
        self.learns_from = frozenset({"labelled", "unlabelled"} if config.weight else {"labelled"})

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        labelled, unlabelled = batch.labelled, batch.unlabelled
        if not self.config.weight:
            return {"labelled": self._labelled(self.network(labelled.images), labelled)}
        rng = np.random.default_rng(batch.seed)
        labels = self.teach(unlabelled.images)
        views = [self.strong_part(unlabelled, labels, rng) for _ in range(self.config.views)]
        images = torch.cat([labelled.images, *(view.images for view in views)])
        logits, *of_views = self.network(images).split(
            [len(labelled.images), *(len(view.images) for view in views)]
        )
        strong = sum(
            confident_cross_entropy(one, view.masks, view.inside)
            for one, view in zip(of_views, views, strict=True)
        ) / len(views)
        return {
            "labelled": self._labelled(logits, labelled),
            "unlabelled": self.config.weight * self._with_dropped(strong, unlabelled, labels, rng),
        }

    def _labelled(self, logits: Tensor, part: Part) -> Tensor:
        return hard_cross_entropy(logits, part.masks, self.config.hard)

    @torch.no_grad()
    def teach(self, images: Tensor) -> Tensor:
        """The teacher's labels of weak views (B, 3, H, W): int64 (B, H, W), void where unsure."""
        confidence, labels = self.probabilities(images).max(dim=1)
        return labels.where(confidence >= self.config.threshold, VOID)

    def strong_part(self, unlabelled: Part, labels: Tensor, rng: np.random.Generator) -> Part:
        """A strong view of every image, mixed with its neighbour's, and its labels as masks."""
        mix = draw_mix(unlabelled.images, self.config.cutmix, rng)
        strong = strong_view(unlabelled.images, self.config.strong, rng)
        inside = mix(shown_pixels(unlabelled))
        return Part(unlabelled.names, mix(strong), mix(labels), inside=inside)

    def _with_dropped(
        self, strong: Tensor, unlabelled: Part, labels: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Mean of the strong views' loss and that of a weak view some of whose features go."""
        share = self.config.feature_dropout
        if not share:
            return strong
        features = [_dropped(one, share, rng) for one in self.network.encode(unlabelled.images)]
        logits = self.network.decode(features)
        return (strong + confident_cross_entropy(logits, labels, shown_pixels(unlabelled))) / 2


def _dropped(features: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Features (B, D, h, w) of which whole maps are 0, the others enlarged to make up for them."""
    kept = torch.from_numpy(rng.random(features.shape[:2]) >= share).to(features)
    return features * kept[..., None, None] / (1 - share)
