from .metrics import confusion_matrix as confusion_matrix
from .options import Protocol as Protocol
