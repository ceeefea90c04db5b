"""Training: the loop, the optimizer, checkpoints, the folder of a run, memory estimates."""
