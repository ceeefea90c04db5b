"""What every method is: a module with losses for training and a forward pass for use.

:class:`Method` is the contract, :class:`AveragedMethod` adds the moving average of the weights,
:class:`SemiSupervised` what methods share that learn from labelled and unlabelled images together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Batch, Part, required
from semiseg_lib.methods.averaging import MovingAverage
from semiseg_lib.methods.losses import enlarge, hard_cross_entropy

LABELLED = frozenset({"labelled"})
"""Value of :meth:`Method.learns_from` of a method that learns from labelled images alone."""
BOTH = frozenset({"labelled", "unlabelled"})
"""Value of :meth:`Method.learns_from` of a method that learns from both kinds of images."""


class Method(nn.Module):
    """A way to learn segmentation, from labelled and perhaps from unlabelled images.

    Attributes:
        uses_boxes: whether the deployed forward pass reads box maps. True for the ancillary alone:
            what is tested on images without boxes must not see any.
        reads: fields of a part that :meth:`losses` reads besides images, masks and logits:
            ``box_maps``, ``allowed``.
        needs_logits: the parts of a batch whose stored ancillary logits :meth:`losses` reads.
        networks: the number of networks that it trains.
        multiple: the deployed model takes images whose sides are multiples of this, in pixels.
        uses_all_weights: whether the losses of every step depend on every trained weight. If not,
            several processes determine in each step on which ones they do.
        attention: the module with which a network with a pretrained encoder reads box maps; see
            :func:`semiseg_lib.models.build`. None if it reads none.
    """

    uses_boxes: bool = False
    reads: frozenset[str] = frozenset()
    needs_logits: frozenset[str] = frozenset()
    networks: int = 1
    multiple: int = 16
    uses_all_weights: bool = False
    attention: type[nn.Module] | None = None

    @classmethod
    def from_config(cls, config: Any, build: Callable[[], nn.Module], num_classes: int) -> Method:
        """Return the method with these options, around networks that ``build`` makes.

        Args:
            config: its options.
            build: returns a fresh network at each call.
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
        """Return the number of channels of box maps that the network reads; 0 for none.

        Args:
            config: the options.
            num_classes: C, background included.
        """
        return num_classes if cls.uses_boxes else 0

    def load_start(self, finished: Sequence[Method]) -> None:
        """Load the weights of finished methods.

        Args:
            finished: as many methods as :attr:`networks`.

        Raises:
            ValueError: there are more or fewer.
            RuntimeError: the weights do not fit.
        """
        (method,) = finished
        self.load_state_dict(method.state_dict())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the terms of the loss by name; their sum is minimised.

        Args:
            batch: labelled and perhaps unlabelled images.
            progress: the share of the training that is done, in [0, 1].

        Returns:
            Scalars; a term that has nothing to learn from is 0, never NaN.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        """Return the deployed model's logits at the size of the images, (B, C, H, W).

        Args:
            images: float32 (B, 3, H, W) in [0, 1].
            box_maps: float32 (B, C, H, W); only for a method that :attr:`uses_boxes`.
        """
        raise NotImplementedError

    def head_logits(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        """Return the deployed model's logits at head resolution, (B, C, h, w).

        Args:
            images, box_maps: as for :meth:`forward`.
        """
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """Update what follows the weights, such as moving averages.

        Args:
            step: the index of the step that was just made, from 0.
        """

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Return parameter groups for the optimizer; ``lr_scale`` multiplies the base rate.

        A network with a pretrained ``encoder`` states its scale as ``encoder_lr``. Everything else
        learns at the base rate.
        """
        scales = {
            parameter: float(cast(float, module.encoder_lr))
            for module in self.modules() if hasattr(module, "encoder_lr")
            for parameter in cast(nn.Module, module.encoder).parameters()
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

    def load_start(self, finished: Sequence[Method]) -> None:
        """Continue network and average of one finished method; everything else starts afresh.

        Args:
            finished: one method.
        """
        (start,) = finished
        self.load_start_of_network(start)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the average's class probabilities, float32 (B, C, H, W), without gradient.

        In single precision also under autocast: thresholds and margins need it.

        Args:
            images: (B, 3, H, W) in [0, 1].
        """
        return enlarge(self.average(images).float(), images.shape[-2:]).softmax(dim=1)

    def logits_together(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Return the network's logits (B, C, h, w) of each batch, from one pass over all of them.

        Batch normalization then sees all of them.

        Args:
            images: batches (B, 3, H, W) of images in [0, 1] of one size.
        """
        return self.network(torch.cat(images)).split([len(one) for one in images])

    def load_start_of_network(self, finished: Method) -> None:
        """Load network and average of a finished method.

        Args:
            finished: a method with the same network.

        Raises:
            RuntimeError: its weights do not fit.
        """
        if not isinstance(finished, AveragedMethod):
            raise RuntimeError(f"{type(finished).__name__} has no network with a moving average.")
        self.network.load_state_dict(finished.network.state_dict())
        self.average.load_state_dict(finished.average.state_dict())


class SemiSupervised(AveragedMethod):
    """A method with L = L_labelled + w(t) L_unlabelled.

    With ``config.weight`` 0 it reads no unlabelled image and equals supervised training bit by bit:
    the control of the method. Unlabelled images are left out before ``start``, too.

    A subclass writes :meth:`unlabelled_loss`. In it every pass of a network with gradients comes
    before a pass of the same network without: in older PyTorch, autocast keeps its first copy of a
    weight, and one made without gradients cuts the weight off (pytorch/pytorch#142234).

    Args:
        config: options with ``weight`` w, ``ema_decay``, and ``hard``: which labelled pixels are
            learnt.
        network: ``network(images) -> logits (B, C, h, w)``.
        start: the share of the training after which unlabelled images are read, in [0, 1].
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
        masks = required(labelled.masks, "masks")
        if not self.config.weight or progress < self.start:
            loss = self.labelled_loss(self.labelled_logits(labelled.images), masks)
            nothing = {"unlabelled": torch.zeros_like(loss)} if self.config.weight else {}
            return {"labelled": loss, **nothing}
        views = required(batch.unlabelled, "unlabelled images")
        logits, unlabelled = self.unlabelled_loss(labelled, views, progress, rng)
        return {
            "labelled": self.labelled_loss(logits, masks),
            "unlabelled": self.weight(progress) * unlabelled,
        }

    def unlabelled_loss(
        self, labelled: Part, unlabelled: Part, progress: float, rng: np.random.Generator
    ) -> tuple[Any, Tensor]:
        """Return the labelled images' logits, and the unlabelled images' loss without its weight.

        Args:
            labelled: what :meth:`labelled_part` returned.
            unlabelled: weak views of images without masks.
            progress: the share of the training that is done, in [0, 1].
            rng: draws strong views and the like.
        """
        raise NotImplementedError

    def labelled_part(self, part: Part, rng: np.random.Generator) -> Part:
        """Return the labelled images to learn from; a method may crop or change them here.

        Args:
            part: weak views with masks.
            rng: draws the changes.
        """
        return part

    def labelled_logits(self, images: Tensor) -> Any:
        """Return the logits for :meth:`labelled_loss` in a step without unlabelled images.

        Args:
            images: (B, 3, H, W) in [0, 1].
        """
        return self.network(images)

    def labelled_loss(self, logits: Any, masks: Tensor) -> Tensor:
        """Return the mean cross-entropy over the labelled pixels, or over the hard ones only.

        Args:
            logits: (B, C, h, w).
            masks: int64 (B, H, W), 255 = void.
        """
        return hard_cross_entropy(logits, masks, self.config.hard)

    def weight(self, progress: float) -> float:
        """Return w(t), the weight of the unlabelled loss.

        Args:
            progress: t, the share of the training that is done, in [0, 1].
        """
        return self.config.weight
