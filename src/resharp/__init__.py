"""Make degraded photographs sharp again; train, measure and trust the models that do it.

The public names, each loaded on first use: `import resharp` costs no torch.
"""

import logging
from typing import TYPE_CHECKING

from .lazy import homes, on_first_use

if TYPE_CHECKING:
    from .allocation import keep_freed_memory as keep_freed_memory
    from .data.doctor import Finding as Finding
    from .data.doctor import examine as examine
    from .data.layouts import open_listing as open_listing
    from .data.listing import Item as Item
    from .data.listing import Listing as Listing
    from .data.loading import batches as batches
    from .data.packing import Pack as Pack
    from .data.packing import pack as pack
    from .data.plan import load_plan as load_plan
    from .data.plan import plan_from as plan_from
    from .data.preparation import prepare as prepare
    from .data.synthesis import open_synthesis as open_synthesis
    from .data.writing import write_samples as write_samples
    from .degradations import Blur as Blur
    from .degradations import Defocus as Defocus
    from .degradations import DegradationStep as DegradationStep
    from .degradations import Downscale as Downscale
    from .degradations import GaussianBlur as GaussianBlur
    from .degradations import Jpeg as Jpeg
    from .degradations import KernelBlur as KernelBlur
    from .degradations import LinearDegradation as LinearDegradation
    from .degradations import Mask as Mask
    from .degradations import Mosaic as Mosaic
    from .degradations import Mosaicked as Mosaicked
    from .degradations import Noise as Noise
    from .degradations import Resize as Resize
    from .degradations import Shake as Shake
    from .degradations import TrajectoryBlur as TrajectoryBlur
    from .degradations import apply_steps as apply_steps
    from .degradations import demosaic_bilinear as demosaic_bilinear
    from .degradations import demosaic_malvar as demosaic_malvar
    from .degradations import disk_kernel as disk_kernel
    from .degradations import gaussian_kernel as gaussian_kernel
    from .degradations import load_kernel as load_kernel
    from .degradations import motion_kernel as motion_kernel
    from .degradations import parse_kernel as parse_kernel
    from .degradations import resize_as_matlab as resize_as_matlab
    from .demo import run_demo as run_demo
    from .errors import ArgumentError as ArgumentError
    from .errors import DatasetError as DatasetError
    from .errors import KernelError as KernelError
    from .errors import OutputError as OutputError
    from .errors import PhotoError as PhotoError
    from .errors import RecipeError as RecipeError
    from .errors import ResharpError as ResharpError
    from .errors import ResourceError as ResourceError
    from .errors import WeightsError as WeightsError
    from .evaluation import Comparison as Comparison
    from .evaluation import Protocol as Protocol
    from .evaluation import Result as Result
    from .evaluation import compare as compare
    from .evaluation import evaluate as evaluate
    from .evaluation import make_protocol as make_protocol
    from .evaluation import read_result as read_result
    from .evaluation import write_report as write_report
    from .evaluation import write_result as write_result
    from .metrics import multi_scale_ssim as multi_scale_ssim
    from .metrics import niqe as niqe
    from .metrics import psnr as psnr
    from .metrics import ssim as ssim
    from .models import Card as Card
    from .models import Contract as Contract
    from .models import import_model as import_model
    from .models import load_model as load_model
    from .models import mix_models as mix_models
    from .models import read_card as read_card
    from .models import save_model as save_model
    from .networks import DAE as DAE
    from .photo import Photo as Photo
    from .photo import decode_photo as decode_photo
    from .photo import encode_photo as encode_photo
    from .photo import output_format as output_format
    from .photo import photo_size as photo_size
    from .photo import read_photo as read_photo
    from .photo import write_photo as write_photo
    from .priors import Denoiser as Denoiser
    from .priors import MeanShift as MeanShift
    from .priors import fixed_level as fixed_level
    from .restorers import BayesRestorer as BayesRestorer
    from .restorers import NetworkRestorer as NetworkRestorer
    from .restorers import Restored as Restored
    from .restorers import Restorer as Restorer
    from .restorers import StoppedError as StoppedError
    from .restorers import blur as blur
    from .restorers import deblur as deblur
    from .restorers import deconvolve as deconvolve
    from .restorers import degrade as degrade
    from .restorers import demosaic as demosaic
    from .restorers import denoise as denoise
    from .restorers import inpaint as inpaint
    from .restorers import open_denoiser as open_denoiser
    from .restorers import open_restorer as open_restorer
    from .restorers import restore as restore
    from .restorers import restore_photo as restore_photo
    from .restorers import upscale as upscale
    from .showing import dataset_sheet as dataset_sheet
    from .solvers import Step as Step
    from .solvers import estimated as estimated
    from .solvers import known as known
    from .solvers import mean_shift as mean_shift
    from .solvers import until_settled as until_settled
    from .training import Recipe as Recipe
    from .training import load_recipe as load_recipe
    from .training import train_weights as train_weights

__version__ = "0.1.0"

logging.getLogger("resharp").addHandler(logging.NullHandler())  # who listens hears it, and nobody else
_HOME = homes(__name__)

__all__ = sorted(_HOME)


if not TYPE_CHECKING:  # a type checker must not take any name for one of ours
    __getattr__ = on_first_use(__name__)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
