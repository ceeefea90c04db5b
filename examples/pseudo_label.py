"""Train a U-Net on the labels that another one gives to unlabelled images.

A teacher learns a few masks and labels the other images. A fresh student
learns its confident pixels, and is then fine-tuned on the masks.

    python examples/pseudo_label.py

It prints the mIoU of teacher and student on the test images, in about
5 seconds on one CPU core. So short a training shows that the method runs,
not how good it is.
"""

import torch

from semiseg_lib import (
    Data,
    DataConfig,
    ImageSet,
    Loader,
    Method,
    Sizes,
    UNet,
    ViewConfig,
    evaluate,
    methods,
    predict_probabilities,
)
from semiseg_lib.methods.pseudo_label import method as pseudo_label

SEED = 11
STEPS, FINE_TUNING_STEPS = 60, 20
LABELLED = 8  # images with masks
BATCH = 4
THRESHOLD = 0.7  # least confidence of a pixel that the student learns
SIZES = Sizes(labelled=24, unlabelled=16, val=16, test=16)


def train(method: Method, images: ImageSet, steps: int) -> None:
    """Train on the masks of some images."""
    loader = Loader(images, None, BATCH, 0, ViewConfig(), SEED)
    optimizer = torch.optim.AdamW(method.parameter_groups(), lr=0.01)
    method.train()
    for step in range(steps):
        losses = method.losses(loader.batch(step), step / steps)
        torch.stack([*losses.values()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(step)


config = DataConfig("minivoc", labelled=LABELLED).with_options(sizes=SIZES)
data = Data(config, SEED)  # drawn the first time, then read from disk
labelled = data.labelled.without_boxes()
unlabelled = data.unlabelled.without_boxes()
num_classes = len(data.classes)

# The averages of the weights are evaluated; 0.9 suits so short a training.
torch.manual_seed(SEED)
network = UNet(num_classes, width=8)
teacher = methods.Supervised(methods.SupervisedConfig(ema_decay=0.9), network)
train(teacher, labelled, STEPS)

# Pixels of which the teacher is less sure become void.
probabilities = list(predict_probabilities(teacher, unlabelled))
thresholds = torch.full((num_classes,), THRESHOLD)
labels = [pseudo_label.select(one, thresholds) for one in probabilities]

network = UNet(num_classes, width=8)
options = methods.PseudoLabelConfig(ema_decay=0.9)
student = methods.PseudoLabel(options, network)
train(student, unlabelled.with_masks(labels), STEPS)
train(student, labelled, FINE_TUNING_STEPS)

for name, method in (("teacher", teacher), ("student", student)):
    scores = evaluate(method, data.test, data.classes)
    print(f"{name} mIoU: {scores.mean_iou:.3f}")
