from . import swiftnet as swiftnet
from .factory import build as build
from .factory import decoder_alone as decoder_alone
from .options import ModelConfig as ModelConfig
from .unet import UNet as UNet
