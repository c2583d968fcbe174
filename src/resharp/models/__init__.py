"""Models: a network with its weights and its contract, by name or file."""

from .contract import INPUTS, TASKS, Contract, contract_of
from .features import features_file, load_features, weights_folder
from .files import (
    DEFAULT_DEBLUR,
    DEFAULT_DENOISER,
    DEFAULT_UPSCALER,
    LIGHT_DENOISER,
    SHIPPED,
    Card,
    check_task,
    load_model,
    model_path,
    read_card,
    read_state,
    save_model,
)
from .importers import IMPORTERS, import_model
from .mixing import mix_models

__all__ = [
    "DEFAULT_DEBLUR",
    "DEFAULT_DENOISER",
    "DEFAULT_UPSCALER",
    "IMPORTERS",
    "INPUTS",
    "LIGHT_DENOISER",
    "SHIPPED",
    "TASKS",
    "Card",
    "Contract",
    "check_task",
    "contract_of",
    "features_file",
    "import_model",
    "load_features",
    "load_model",
    "mix_models",
    "model_path",
    "read_card",
    "read_state",
    "save_model",
    "weights_folder",
]
