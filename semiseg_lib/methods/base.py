"""What every method is: a module with losses for training and a forward pass for use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Batch
from semiseg_lib.methods.parts import MovingAverage, enlarge


class Method(nn.Module):
    """A way to learn segmentation, from labelled and perhaps from unlabelled or unlabelled images.

    Attributes:
        uses_boxes: the deployed forward pass reads box maps. True for the ancillary alone: what is
            tested on images without boxes must not see any.
        reads: what :meth:`losses` reads of a part beside images, masks and logits: ``box_maps``,
            ``allowed``.
        learns_from: the parts of a batch that :meth:`losses` reads.
        needs_logits: the parts of a batch whose stored ancillary logits :meth:`losses` reads.
        networks: how many networks it trains.
        multiple: the deployed model takes images whose sides are multiples of so many pixels.
        uses_all_weights: the losses of every step depend on every weight that is trained. Where
            they need not, several processes look up in each step on which ones they do.
    """

    uses_boxes: bool = False
    reads: frozenset[str] = frozenset()
    learns_from: frozenset[str] = frozenset({"labelled"})
    needs_logits: frozenset[str] = frozenset()
    networks: int = 1
    multiple: int = 16
    uses_all_weights: bool = False

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

    def begin_network_with(self, finished: AveragedMethod) -> None:
        """Begin with a finished method's network and average; what else this one has stays."""
        self.network.load_state_dict(finished.network.state_dict())
        self.average.load_state_dict(finished.average.state_dict())
