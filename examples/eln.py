"""Train a U-Net with error localisation on few masks.

A second network learns from the masks where a prediction is wrong, and from
two auxiliary decoders, held at a worse loss, what errors look like. On
unlabelled images the student learns only pixels that it trusts.

    python examples/eln.py

It prints the terms of the loss now and then and the mIoU on the test images,
in about 9 seconds on one CPU core. So short a training shows that the
method runs, not how good it is.
"""

import torch

from semiseg_lib import (
    Data,
    DataConfig,
    Loader,
    Sizes,
    UNet,
    ViewConfig,
    evaluate,
    methods,
)

SEED = 11
STEPS = 60
LABELLED = 8  # images with masks
BATCH = 4  # images with masks in a step, and as many without
SIZES = Sizes(labelled=24, unlabelled=16, val=16, test=16)

config = DataConfig("minivoc", labelled=LABELLED).with_options(sizes=SIZES)
data = Data(config, SEED)  # drawn the first time, then read from disk
loader = Loader(
    data.labelled.without_boxes(), data.unlabelled.without_boxes(),
    BATCH, BATCH, ViewConfig(), SEED,
)

torch.manual_seed(SEED)
num_classes = len(data.classes)
def build() -> UNet:
    """Return a fresh network."""
    return UNet(num_classes, width=8)


# The average of the weights teaches and is evaluated; 0.9 suits so short a
# training, and so do auxiliary decoders that are 2 and 5 times worse (paper:
# 20 and 50). ``of`` builds the decoders and the error network as well.
options = methods.ELNConfig(ratios=(2.0, 5.0), ema_decay=0.9)
method = methods.ELN.from_config(options, build, num_classes)
optimizer = torch.optim.AdamW(method.parameter_groups(), lr=0.01)

method.train()
for step in range(STEPS):
    losses = method.losses(loader.batch(step), step / STEPS)
    torch.stack([*losses.values()]).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    method.after_step(step)
    if step % 20 == 0:
        terms = (f"{name} {loss:.2f}" for name, loss in losses.items())
        print(f"step {step}:", ", ".join(terms))

scores = evaluate(method, data.test, data.classes)
print(f"mIoU: {scores.mean_iou:.3f}")
