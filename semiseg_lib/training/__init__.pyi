from . import memory as memory
from .loop import fit as fit
from .loop import make_accelerator as make_accelerator
from .optimizer import make_optimizer as make_optimizer
from .options import TrainConfig as TrainConfig
from .run_folder import RunFolder as RunFolder
