"""What every method is: a module with losses for training and a forward pass for use.

:class:`Method` is the contract, :class:`AveragedMethod` adds the moving average of the weights,
:class:`SemiSupervised` what methods share that learn from labelled and unlabelled images together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.methods.averaging import MovingAverage
from semiseg_lib.methods.losses import enlarge, hard_cross_entropy

LABELLED, BOTH = frozenset({"labelled"}), frozenset({"labelled", "unlabelled"})
"""The parts of a batch that a method may learn from; see :meth:`Method.learns_from`."""


class Method(nn.Module):
    """A way to learn segmentation, from labelled and perhaps from unlabelled images.

    Attributes:
        uses_boxes: the deployed forward pass reads box maps. True for the ancillary alone: what is
            tested on images without boxes must not see any.
        reads: what :meth:`losses` reads of a part beside images, masks and logits: ``box_maps``,
            ``allowed``.
        needs_logits: the parts of a batch whose stored ancillary logits :meth:`losses` reads.
        networks: how many networks it trains.
        multiple: the deployed model takes images whose sides are multiples of so many pixels.
        uses_all_weights: the losses of every step depend on every weight that is trained. Where
            they need not, several processes look up in each step on which ones they do.
        attention: what a network with a pretrained encoder reads box maps with; see
            :func:`semiseg_lib.models.build`. None where it reads none.
    """

    uses_boxes: bool = False
    reads: frozenset[str] = frozenset()
    needs_logits: frozenset[str] = frozenset()
    networks: int = 1
    multiple: int = 16
    uses_all_weights: bool = False
    attention: type[nn.Module] | None = None

    @classmethod
    def of(cls, config: Any, build: Callable[[], nn.Module], num_classes: int) -> Method:
        """The method with these options, around networks that ``build`` makes.

        Args:
            config: its options.
            build: makes a fresh network each time.
            num_classes: C, background included.
        """
        return cls(config, build())

    @classmethod
    def learns_from(cls, config: Any) -> frozenset[str]:
        """Return the parts of a batch that :meth:`losses` reads, ``LABELLED`` or ``BOTH``.

        Args:
            config: the options; a method that a weight of 0 turns into supervised training reads
                the labelled images alone then.
        """
        return LABELLED

    @classmethod
    def box_channels(cls, config: Any, num_classes: int) -> int:
        """How many channels of box maps the network reads beside the image; 0 for none."""
        return num_classes if cls.uses_boxes else 0

    def begin_with(self, finished: Sequence[Method]) -> None:
        """Begin with the weights of finished methods, as many as :attr:`networks`."""
        (method,) = finished
        self.load_state_dict(method.state_dict())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The terms to be summed and minimised, by name.

        Args:
            batch: labelled and perhaps unlabelled images.
            progress: the share of the training that is done, 0 .. 1.

        Returns:
            Scalars; a term that has nothing to learn from is 0, never NaN.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        """The deployed model: images (B, 3, H, W) in [0, 1] to logits (B, C, H, W)."""
        raise NotImplementedError

    def head_logits(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        """The deployed model's logits (B, C, h, w), before they are enlarged to the image."""
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """Called after each optimiser step: moving averages and the like."""

    def parameter_groups(self) -> Iterable[dict]:
        """Parameter groups for the optimiser; ``lr_scale`` multiplies the base learning rate.

        A network with a pretrained ``encoder`` states its scale as ``encoder_lr``. Everything else
        learns at the base rate.
        """
        scales = {
            parameter: float(module.encoder_lr)
            for module in self.modules() if hasattr(module, "encoder_lr")
            for parameter in module.encoder.parameters()
        }
        groups: dict[float, list[nn.Parameter]] = {}
        for parameter in self.parameters():
            if parameter.requires_grad:
                groups.setdefault(scales.get(parameter, 1.0), []).append(parameter)
        return [{"params": params, "lr_scale": scale} for scale, params in groups.items()]


class AveragedMethod(Method):
    """A method that trains one network and deploys the moving average of its weights.

    Args:
        network: ``network(images[, box_maps]) -> logits (B, C, h, w)``.
        ema_decay: decay of the moving average.
    """

    def __init__(self, network: nn.Module, ema_decay: float) -> None:
        super().__init__()
        self.network = network
        self.multiple = getattr(network, "multiple", self.multiple)
        self.average = MovingAverage(network, ema_decay)

    def head_logits(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        return self.average(images, box_maps) if self.uses_boxes else self.average(images)

    def forward(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        return enlarge(self.head_logits(images, box_maps), images.shape[-2:])

    def after_step(self, step: int) -> None:
        self.average.update_parameters(self.network)

    def begin_with(self, finished: Sequence[Method]) -> None:
        """The network and its average go on from a finished method; all else begins afresh."""
        (start,) = finished
        self.begin_network_with(start)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """What the average believes of images (B, 3, H, W): (B, C, H, W), without gradient.

        In single precision also under autocast: thresholds and margins need it.
        """
        return enlarge(self.average(images).float(), images.shape[-2:]).softmax(dim=1)

    def logits_together(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Return the network's logits of each batch (B, 3, H, W), from one pass over all of them.

        So batch normalisation sees all of them.
        """
        return self.network(torch.cat(images)).split([len(one) for one in images])

    def begin_network_with(self, finished: AveragedMethod) -> None:
        """Begin with a finished method's network and average; what else this one has stays."""
        self.network.load_state_dict(finished.network.state_dict())
        self.average.load_state_dict(finished.average.state_dict())


class SemiSupervised(AveragedMethod):
    """A method with L = L_labelled + w(t) L_unlabelled.

    With ``config.weight`` 0 no unlabelled image is looked at, and this is supervised training to
    the last bit: the method's control. Before ``start`` unlabelled images are left out as well.

    A subclass writes :meth:`unlabelled_loss`. In it every pass of a network with gradients comes
    before a pass of the same network without: in older PyTorch, autocast keeps its first copy of a
    weight, and one made without gradients cuts the weight off (pytorch/pytorch#142234).

    Args:
        config: options with ``weight`` w, ``ema_decay``, and ``hard``: which labelled pixels are
            learnt.
        network: ``network(images) -> logits (B, C, h, w)``.
        start: share of the training that is over before unlabelled images are looked at.
    """

    def __init__(self, config: Any, network: nn.Module, start: float = 0.0) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config
        self.start = start

    @classmethod
    def learns_from(cls, config: Any) -> frozenset[str]:
        return BOTH if config.weight else LABELLED

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        rng = np.random.default_rng(batch.seed)
        labelled = self.labelled_part(batch.labelled, rng)
        if not self.config.weight or progress < self.start:
            loss = self.labelled_loss(self.labelled_logits(labelled.images), labelled.masks)
            nothing = {"unlabelled": torch.zeros_like(loss)} if self.config.weight else {}
            return {"labelled": loss, **nothing}
        logits, unlabelled = self.unlabelled_loss(labelled, batch.unlabelled, progress, rng)
        return {
            "labelled": self.labelled_loss(logits, labelled.masks),
            "unlabelled": self.weight(progress) * unlabelled,
        }

    def unlabelled_loss(
        self, labelled: Part, unlabelled: Part, progress: float, rng: np.random.Generator
    ) -> tuple[Any, Tensor]:
        """Return the labelled images' logits and the loss of the unlabelled ones, not weighted.

        Args:
            labelled: what :meth:`labelled_part` gave.
            unlabelled: weak views of images without masks.
            progress: the share of the training that is done, 0 .. 1.
            rng: draws the strong views and the like.
        """
        raise NotImplementedError

    def labelled_part(self, part: Part, rng: np.random.Generator) -> Part:
        """Return what is learnt of the labelled images."""
        return part

    def labelled_logits(self, images: Tensor) -> Any:
        """Return the logits that :meth:`labelled_loss` takes, where nothing else is learnt."""
        return self.network(images)

    def labelled_loss(self, logits: Any, masks: Tensor) -> Tensor:
        """Return the mean cross-entropy over the labelled pixels, or over the hard ones only."""
        return hard_cross_entropy(logits, masks, self.config.hard)

    def weight(self, progress: float) -> float:
        """Return w(t), the weight of the unlabelled loss when a share t of the training is done."""
        return self.config.weight
