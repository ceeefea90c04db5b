from . import paths as paths
from .fingerprint import Configuration as Configuration
