"""Predict images at their own sizes and measure what was predicted."""
