"""Models: a network with its weights and its contract, by name or file."""

from typing import TYPE_CHECKING

from resharp.lazy import on_first_use

if TYPE_CHECKING:
    from .cards import (
        BEST_DENOISER,
        BLIND,
        DEFAULT_DEBLUR,
        DEFAULT_DENOISER,
        DEFAULT_UPSCALER,
        PUBLISHED_DENOISER,
        SHIPPED,
        UNROLLED_DENOISER,
        Card,
        finds_blur,
        model_path,
        read_card,
    )
    from .contract import INPUTS, TASKS, Contract, contract_of
    from .features import features_file, load_features, weights_folder
    from .files import load_model, read_state, save_model
    from .importers import IMPORTERS, import_model
    from .mixing import mix_models

__all__ = [
    "BEST_DENOISER",
    "BLIND",
    "DEFAULT_DEBLUR",
    "DEFAULT_DENOISER",
    "DEFAULT_UPSCALER",
    "IMPORTERS",
    "INPUTS",
    "PUBLISHED_DENOISER",
    "SHIPPED",
    "TASKS",
    "UNROLLED_DENOISER",
    "Card",
    "Contract",
    "contract_of",
    "features_file",
    "finds_blur",
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

if not TYPE_CHECKING:  # a type checker must not take any name for one of ours
    __getattr__ = on_first_use(__name__)
