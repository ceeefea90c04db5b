from .annotation import read_annotation as read_annotation
from .layout import voc_layout as voc_layout
