"""Train a small U-Net on a few masks and nothing else.

This is the baseline: the cross-entropy of every labelled pixel. The other
examples keep the network and the labelled images and add unlabelled ones.

    python examples/supervised.py

It prints the loss now and then and the mIoU on the test images, in about
5 seconds on one CPU core. So short a training shows that the method runs,
not how good it is.
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
BATCH = 4
SIZES = Sizes(labelled=24, unlabelled=16, val=16, test=16)

config = DataConfig("minivoc", labelled=LABELLED).with_options(sizes=SIZES)
data = Data(config, SEED)  # drawn the first time, then read from disk
loader = Loader(
    data.labelled.without_boxes(), None, BATCH, 0, ViewConfig(), SEED
)

torch.manual_seed(SEED)
network = UNet(len(data.classes), width=8)
# The average of the weights is evaluated; 0.9 suits so short a training.
method = methods.Supervised(methods.SupervisedConfig(ema_decay=0.9), network)
optimizer = torch.optim.AdamW(method.parameter_groups(), lr=0.01)

method.train()
for step in range(STEPS):
    losses = method.losses(loader.batch(step), step / STEPS)
    loss = torch.stack([*losses.values()]).sum()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    method.after_step(step)
    if step % 20 == 0:
        print(f"step {step}: loss {loss.item():.2f}")

scores = evaluate(method, data.test, data.classes)
print(f"mIoU: {scores.mean_iou:.3f}")
