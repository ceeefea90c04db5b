"""The classifier: CIFAR's ResNet-18, one answer an image, and the sizes it takes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from semiseg_lib import methods
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.datasets.single_class import Images, SingleClassDataset
from semiseg_lib.evaluation.metrics import evaluate
from semiseg_lib.evaluation.predict import predict_part
from semiseg_lib.methods import SupervisedConfig
from semiseg_lib.models import ModelConfig, build
from semiseg_lib.models.classifier import Classifier
from semiseg_lib.training.memory import example_batch

CLASSES = 4


def network(encoder: str = "test_resnet", classes: int = CLASSES, **options) -> Classifier:
    torch.manual_seed(0)
    config = ModelConfig(architecture="classifier", encoder=encoder, **options)
    return build(config, classes)


def method():
    torch.manual_seed(0)
    config = ModelConfig(architecture="classifier", encoder="test_resnet")
    return methods.build(SupervisedConfig(), config, CLASSES)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_with_resnet18_it_is_the_one_for_cifar():
    """Counted by hand: stem, four stages of two blocks, classifier; 4x4 features of 32x32."""
    def block(narrow: int, wide: int) -> int:
        convolutions = 9 * narrow * wide + 9 * wide * wide + 2 * 2 * wide
        return convolutions + (narrow * wide + 2 * wide if narrow != wide else 0)

    with torch.device("meta"):
        model = network("resnet18", 10)
        feature, = model.encode(torch.empty(2, 3, 32, 32))
    widths = (64, 64, 128, 256, 512)
    stages = sum(block(*pair) + block(pair[1], pair[1])
                 for pair in pairwise(widths))
    expected = 3 * 64 * 9 + 2 * 64 + stages + 513 * 10
    assert sum(p.numel() for p in model.parameters()) == expected == 11_173_962
    assert feature.shape == (2, 512, 4, 4)


def test_the_stem_sees_every_pixel_at_full_resolution():
    model, shapes = network("resnet18"), []
    model.network.layer1.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape))
    with torch.inference_mode():
        model.eval()(noise(1, 3, 32, 32))
    assert shapes == [(1, 64, 32, 32)]
    assert (model.network.conv1.kernel_size, model.network.conv1.stride) == ((3, 3), (1, 1))


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (32, 32), (28, 20)])
def test_there_is_one_answer_an_image_whatever_its_size(size):
    model = network()
    with torch.inference_mode():
        assert model.train()(noise(3, 3, *size)).shape == (3, CLASSES, 1, 1)
        assert model.eval()(noise(1, 3, *size)).shape == (1, CLASSES, 1, 1)
    assert model.stride is None


def test_a_methods_logits_are_the_same_in_every_pixel():
    deployed, images = method().eval(), noise(2, 3, 8, 8)
    with torch.inference_mode():
        maps, answers = deployed(images), deployed.head_logits(images)
    assert maps.shape == (2, CLASSES, 8, 8) and answers.std() > 0
    torch.testing.assert_close(maps, answers.expand_as(maps), rtol=1e-6, atol=1e-7)
    assert (maps.argmax(1) == answers.argmax(1)).all()


def test_the_memory_estimate_knows_the_size_of_its_logits():
    batch = example_batch(method(), CLASSES, labelled=2, unlabelled=3, size=(16, 16))
    assert batch.unlabelled.logits_ancillary.shape == (3, CLASSES, 1, 1)


def four_colours(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy 8x8 images of four colours, and the colour's number in every pixel."""
    generator = torch.Generator().manual_seed(3)
    colours = torch.tensor([[0.8, 0.2, 0.2], [0.2, 0.8, 0.2], [0.2, 0.2, 0.8], [0.5, 0.5, 0.5]])
    numbers = torch.arange(count) % CLASSES
    noise = 0.1 * torch.randn(count, 3, 8, 8, generator=generator)
    masks = numbers[:, None, None].expand(count, 8, 8).contiguous()
    return (colours[numbers][:, :, None, None] + noise).clamp(0, 1), masks


def test_it_learns_to_tell_colours_apart_through_the_librarys_losses():
    """Pixel accuracy is the share of images that are right: a multiple of 1/40 here."""
    learner = method()
    images, masks = four_colours(40)
    part = Part(names=("",) * 40, images=images, masks=masks, box_maps=None)
    optimizer = torch.optim.SGD(learner.network.parameters(), 0.05, momentum=0.9)
    labels = masks[:, 0, 0].byte().numpy()
    stored = Images(
        tuple(map(str, range(40))), (255 * images).byte().numpy(), labels, np.zeros(40, bool)
    )
    reader = SingleClassDataset(stored, np.arange(40), labels, tuple("abcd"))
    pool = ImageSet(reader, tuple(range(40)), np.zeros(CLASSES, bool))
    for step in range(20):
        optimizer.zero_grad()
        sum(learner.losses(Batch(part), 0.0).values()).backward()
        optimizer.step()
        learner.after_step(step)
    learner.average.module.load_state_dict(learner.network.state_dict())
    found = evaluate(learner, pool, tuple("abcd"))
    assert found.pixel_accuracy > 0.95 and (40 * found.pixel_accuracy) % 1 == 0


def test_every_parameter_learns():
    model = network().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    model(noise(4, 3, 16, 16)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_one_small_image_cannot_train_and_a_larger_one_can():
    model = network().train()
    with pytest.raises(ValueError, match=r"one image of 8x8 per batch .* at least 2 images"):
        model(noise(1, 3, 8, 8))
    assert model(noise(1, 3, 9, 8)).isfinite().all()
    assert model.eval()(noise(1, 3, 8, 8)).isfinite().all()


def test_the_callers_images_are_not_changed():
    images = noise(2, 3, 8, 8)
    before = images.clone()
    network().train()(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(("options", "message"), [
    ({"encoder": "tf_efficientnet_lite0"}, "needs a ResNet of timm, such as resnet18, not"),
    ({"encoder": "resnet81"}, "no encoder named 'resnet81'"),
    ({"weights": "hub"}, "starts at random.*not 'hub'"),
    ({"norm": "group"}, '"unet" only'),
])
def test_what_it_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_boxes_are_refused_by_the_builder_and_by_the_network():
    config = ModelConfig(architecture="classifier", encoder="test_resnet")
    with pytest.raises(ValueError, match=r'"classifier" reads images only.*"deeplab"'):
        build(config, CLASSES, box_channels=3)
    with pytest.raises(ValueError, match="leave the box maps out"):
        network()(noise(2, 3, 8, 8), torch.ones(2, 3, 8, 8))


def test_small_images_are_predicted_as_they_are_without_padding():
    """Padding would be part of what the one answer for the whole image is about."""
    deployed = method().eval()
    part = Part(("a", "b"), noise(2, 3, 8, 8))
    expected = deployed(part.images).softmax(dim=1)
    torch.testing.assert_close(predict_part(deployed, part), expected)
