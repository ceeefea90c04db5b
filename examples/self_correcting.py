"""Train Self-Correcting Networks: few images with masks, more with boxes.

An ancillary network that sees image and boxes labels the images without
masks. The primary one sees images alone, learns from both, and corrects
these labels by its own.

    python examples/self_correcting.py

It prints the terms of both losses now and then and the primary's mIoU on the
test images, in about 6 seconds on one CPU core. So short a training shows
that the method runs, not how good it is.
"""

import torch

from semiseg_lib import (
    AlphaSchedule,
    Data,
    DataConfig,
    Loader,
    Method,
    Sizes,
    UNet,
    ViewConfig,
    evaluate,
    methods,
    predict_logits,
)

SEED = 11
STEPS = 60  # of each training
LABELLED = 8  # images with masks and boxes
BATCH = 4  # images with masks in a step, and of the primary as many without
SIZES = Sizes(labelled=24, unlabelled=16, val=16, test=16)

config = DataConfig("minivoc", labelled=LABELLED).with_options(sizes=SIZES)
data = Data(config, SEED)  # drawn the first time, then read from disk
num_classes = len(data.classes)


def train(method: Method, loader: Loader) -> None:
    """Train a method on the batches of a loader."""
    optimizer = torch.optim.AdamW(method.parameter_groups(), lr=0.01)
    method.train()
    for step in range(STEPS):
        losses = method.losses(loader.batch(step), step / STEPS)
        torch.stack([*losses.values()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(step)
        if step % 20 == 0:
            terms = (f"{key} {loss:.2f}" for key, loss in losses.items())
            print(f"{type(method).__name__}, step {step}:", ", ".join(terms))


# The averages of the weights are evaluated; 0.9 suits so short a training.
torch.manual_seed(SEED)
network = UNet(num_classes, width=8, box_channels=num_classes)
ancillary = methods.Ancillary(methods.AncillaryConfig(ema_decay=0.9), network)
train(ancillary, Loader(data.labelled, None, BATCH, 0, ViewConfig(), SEED))

# Its logits stay in memory: (C, 32, 32) of each image without a mask.
logits = predict_logits(ancillary, data.unlabelled)
labelled = data.labelled.without_boxes()
unlabelled = data.unlabelled.without_boxes().with_logits(list(logits))

# The trust in the ancillary falls from 30 to 0.5.
options = methods.PrimaryConfig(
    alpha=AlphaSchedule(start=30, end=0.5), ema_decay=0.9
)
primary = methods.Primary(options, UNet(num_classes, width=8))
train(primary, Loader(labelled, unlabelled, BATCH, BATCH, ViewConfig(), SEED))

scores = evaluate(primary, data.test, data.classes)
print(f"mIoU: {scores.mean_iou:.3f}")
