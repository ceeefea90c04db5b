"""Train two U-Nets with cross pseudo supervision on few masks.

Both learn the masks, and each learns the labels that the other one gives to
mixed unlabelled images (CutMix-CPS). The first one is evaluated.

    python examples/cps.py

It prints the terms of the loss now and then and the mIoU on the test images,
in about 7 seconds on one CPU core. So short a training shows that the
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
    batches,
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
# The average of the first network is evaluated; 0.9 suits so short a
# training.
options = methods.CPSConfig(
    weight=1.0, cutmix=batches.THREE_BOXES, ema_decay=0.9
)
networks = [UNet(num_classes, width=8) for _ in range(2)]
method = methods.CPS(options, *networks)
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
