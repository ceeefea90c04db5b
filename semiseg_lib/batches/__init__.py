"""From images to what a training step reads: image sets, views, batches."""
