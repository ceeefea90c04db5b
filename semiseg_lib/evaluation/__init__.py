"""Prediction at the images' own sizes, metrics, confidence and statistics."""
