"""Foundations: paths, durable files, configurations and their fingerprints."""
