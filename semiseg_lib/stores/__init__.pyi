from .logits import LogitsStore as LogitsStore
from .logits import StaleLogits as StaleLogits
from .store import Stale as Stale
from .store import Store as Store
