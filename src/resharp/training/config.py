"""What a training recipe holds; lengths are counted in images seen."""

import math
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from resharp.data.plan import Plan
from resharp.errors import did_you_mean
from resharp.losses import FEATURE_LOSSES

Positive = Annotated[int, Field(gt=0, le=2**53, strict=True)]
NotNegative = Annotated[int, Field(ge=0, le=2**53, strict=True)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
Arguments = dict[str, int | float | bool | str | list[int]]
_NAME = r"^[a-z][a-z0-9_]*$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Level = Annotated[float, Field(ge=0, le=1)]  # of noise, on the [0, 1] scale


class DataRecipe(_Strict):
    """What is trained on: clean photos that a plan spoils, real pairs, packs, mixed by weights.

    Of the first source whole groups, evenly spread, leave the training, `n_holdout_groups` at least and as many as hold
    `n_holdout` items, which are kept for validation; groups of those names leave the other sources, too.
    degraded: real degraded photos that belong to none of the clean ones, in a place of their own or in that of the
    clean ones (its degraded half, of any length); of them photos are held out then.  beside: second inputs by name,
    each a folder that holds for every clean photo one of its name and size, a picture, .npy or .npz (channels,
    height, width), which is cut, turned and flipped as the photo is.
    noise_sigma: white noise on the [0, 1] scale that is added in floating point, unclipped, as denoisers are trained;
    [low, high] draws each photo's level between them, and batches hold it as "sigma".
    degrade: where the plan's steps and that noise are done: by the loader, or, drawn by it, as a "step" on the
    training's device, where a GPU would starve else; both make the same photos, to rounding.
    """

    photos: Annotated[tuple[Path, ...], Field(min_length=1)]
    degraded: Path | None = None
    beside: dict[Annotated[str, Field(pattern=_NAME)], Path] = {}
    split: str = ""  # of the first one, and of those others that have several
    mix: tuple[Positive, ...] = ()
    plan: Plan
    noise_sigma: Level | tuple[Level, Level] = 0.0
    degrade: Literal["loader", "step"] = "loader"
    n_holdout: Positive = 10
    n_holdout_groups: Positive = 1  # many where a group is large, such as all pairs that were made of one photo
    n_workers: Annotated[int, Field(ge=0, le=256)] = 0
    kept_megabytes: Positive = 256  # of decoded photos, in each process that reads

    @model_validator(mode="after")
    def _sound_levels(self) -> "DataRecipe":
        if isinstance(self.noise_sigma, tuple) and not self.noise_sigma[0] < self.noise_sigma[1]:
            raise ValueError(f"noise_sigma runs from {self.noise_sigma[0]} to {self.noise_sigma[1]}; write [low, high]")
        return self

    @model_validator(mode="after")
    def _one_of_each_group(self) -> "DataRecipe":
        if self.n_holdout < self.n_holdout_groups:
            raise ValueError(f"n_holdout is less than the {self.n_holdout_groups} of n_holdout_groups; raise it")
        return self

    @model_validator(mode="before")
    @classmethod
    def _one_folder_or_several(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "photos" not in values:
            return values
        photos = values["photos"]
        names = photos if isinstance(photos, list | tuple) else [photos]
        if any(not isinstance(name, str | Path) for name in names):
            raise ValueError(f'photos is no name; write it in quotes, such as "{names[0]}"')
        if "" in map(str, names):
            raise ValueError("photos is an empty name; name a folder")
        return values | {"photos": names}


class NetworkRecipe(_Strict):
    """A row of a table of networks, or "package.module:Name", and its keyword arguments.

    init: weights to begin from, by name or file, which also say the arguments of a frozen network that leaves them
    out;  frozen: no stage trains it, and it stays in eval mode;  ema: decay of
    its averaged weights per image seen, such as 0.9999 (0 = none), which are judged and kept then;  compile: by
    `torch.compile`; "graphs" has it replay CUDA graphs (mode "reduce-overhead"), for a network that supervised steps
    alone train, on crops, in one piece.
    """

    kind: str
    arguments: Arguments = {}
    init: str = ""
    frozen: StrictBool = False
    ema: Fraction = 0.0
    compile: Literal[False, True, "graphs"] = False

    @model_validator(mode="after")
    def _nothing_is_averaged_that_stands_still(self) -> "NetworkRecipe":
        if self.frozen and self.ema:
            raise ValueError("a frozen network has nothing to average; leave ema or frozen out")
        return self


class FeaturesRecipe(_Strict):
    """The network whose features the perceptual loss compares; `weights` names its file if it lies elsewhere.

    normalisation: what it sees of a photo; left out, what weights of the file's layout were trained with: "imagenet"
    for torchvision's, "caffe" for Keras's;  distance: of the features.
    """

    kind: Literal["vgg19", "vgg16", "squeezenet1.1"] = "vgg19"
    layer: str = "conv3_3"
    after_relu: StrictBool = False
    normalisation: Literal["imagenet", "caffe", "raw"] | None = None
    distance: Literal["l1", "l2"] = "l2"
    weights: Path | None = None


class ScheduleRecipe(_Strict):
    """The learning rate over a stage, as a factor of its base: a linear rise over `warmup_images`, then

    "constant"; "linear": 1 for `constant_images`, then down a line to `end`; "cosine": half a cosine down to `end`;
    "steps": multiplied by `factor` at each of `milestones` (images seen in the stage).
    """

    kind: Literal["constant", "linear", "cosine", "steps"] = "cosine"
    warmup_images: NotNegative = 0
    constant_images: NotNegative = 0
    milestones: tuple[Positive, ...] = ()
    factor: Rate = 0.5
    end: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "ScheduleRecipe":
        kinds = {
            "constant_images": ["linear"],
            "milestones": ["steps"],
            "factor": ["steps"],
            "end": ["linear", "cosine"],
        }
        for name, ones in kinds.items():
            if self.kind not in ones and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is for kind = {' or '.join(ones)}, and this schedule is {self.kind}")
        if self.kind == "steps" and not self.milestones:
            raise ValueError("steps need milestones")
        return self


class GroupRecipe(_Strict):
    """Parameters by name, such as "encoder.*", that learn at `rate` times the others' rate, after `frozen_images` of
    the stage; a parameter belongs to the first group that names it."""

    parameters: Annotated[tuple[str, ...], Field(min_length=1)]
    rate: Rate = 1.0
    frozen_images: NotNegative = 0


class _OptimizerRecipe(_Strict):
    """frozen_images: so many of the stage's go by before the network learns at all."""

    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: ScheduleRecipe = ScheduleRecipe()
    groups: tuple[GroupRecipe, ...] = ()
    frozen_images: NotNegative = 0


class MuonRecipe(_OptimizerRecipe):
    """Muon (Jordan et al. 2024) on convolutions from and to 16 channels or more, Adam on all else."""

    kind: Literal["muon"]
    momentum: Fraction = 0.95
    adam_learning_rate: Rate = 1e-3


class AdamRecipe(_OptimizerRecipe):
    """Adam on all parameters, with decoupled weight decay (AdamW) if that is not 0."""

    kind: Literal["adam"]
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)


OPTIMIZER_KINDS = tuple(get_args(one.model_fields["kind"].annotation)[0] for one in (MuonRecipe, AdamRecipe))
OptimizerRecipe = Annotated[MuonRecipe | AdamRecipe, Field(discriminator="kind")]


class AdversarialRecipe(_Strict):
    """How critics are asked and trained: which loss, and its weight in the sum of who is judged.

    critic_steps: its updates for each of the generator's, on the same batch or on fresh ones;  penalty_precision: of
    the convolutions in the gradient penalty, where bfloat16 is faster and off by about 5 % of the penalty's gradient.
    """

    kind: str = "wgan"
    weight: Rate = 1.0
    gradient_penalty: Annotated[float, Field(ge=0)] = 0.0
    penalty_norm: Literal["sample", "channel"] = "sample"
    penalty_precision: Literal["float32", "bfloat16"] = "float32"
    critic_steps: Positive = 1
    fresh_batches: StrictBool = False


class UnrolledRecipe(_Strict):
    """What an unrolled step has the solver undo, in how many steps of half-quadratic splitting.

    n_iterations: at the least noise, see `solvers.steps_for`;  extent: of the kernels' longer side, in pixels,
    smallest and largest, three of four in the lower half;  noise_sigma: lowest and highest, on the [0, 1] scale, evenly
    in its logarithm;  periodic: share of the batches whose blur goes on round the frame, which shows as much as larger
    crops would and is undone in closed form.
    """

    n_iterations: Annotated[int, Field(ge=1, le=32, strict=True)] = 8
    extent: tuple[Annotated[float, Field(ge=3, le=255)], Annotated[float, Field(ge=3, le=255)]] = (3.0, 37.0)
    noise_sigma: tuple[Level, Level] = (0.0015, 0.05)
    periodic: Annotated[float, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _rising(self) -> "UnrolledRecipe":
        for name, (low, high) in (("extent", self.extent), ("noise_sigma", self.noise_sigma)):
            if not low <= high:
                raise ValueError(f"{name} runs from {low} to {high}; write [low, high]")
        return self


class StageRecipe(_Strict):
    """A stretch of the run: a step, the networks that it trains, each with an optimiser of its own, and its losses.

    step: a row of the table of steps, or "package.module:function", which finds what `settings` holds in its context;
    losses: weights by name of the table of losses, "perceptual" among them, or by "package.module:function";
    identity: of a cycle, the weight of "what is clean already stays as it is" relative to the cycle's;
    realistic: of a dbgan step, the share of the photos that the cast's degrader blurs, the others being as the data
    have them;  unrolled: of a denoiser that is learned within the solver, what it undoes;
    batch_size counts all processes together;  read_every: steps after which losses, gradients and health are read from
    the device and told; between them nothing waits for a GPU, but for the solver of an unrolled step;  accumulate:
    pieces that a batch goes through in, each of which batch norm and relativistic losses, that compare with means, see
    alone;  jitter: critic and feature losses see windows that are so many pixels smaller, each at a random offset,
    against the chequered pattern that their strides leave; the product of the strides less 1 is enough, 7 for
    "patchgan", 3 for conv3_3 and fire3.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = "train"
    step: str = "supervised"
    n_images: Positive
    batch_size: Positive
    accumulate: Positive = 1
    read_every: Positive = 1
    trains: Annotated[dict[str, OptimizerRecipe], Field(min_length=1)]
    losses: dict[str, Rate] = {}
    jitter: Annotated[int, Field(ge=0, le=64, strict=True)] = 0
    adversarial: AdversarialRecipe | None = None
    identity: Annotated[float, Field(ge=0, le=100)] = 0.0
    realistic: Annotated[float, Field(ge=0, le=1)] = 0.0
    unrolled: UnrolledRecipe | None = None
    settings: Arguments = {}
    clip_gradient: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["bfloat16", "float16", "float32"] = "bfloat16"

    @property
    def batches_per_step(self) -> int:
        """How many batches a step draws: one, or one for each update of either side."""
        game = self.adversarial
        return 1 + game.critic_steps if game is not None and game.fresh_batches else 1

    @model_validator(mode="after")
    def _whole_batches(self) -> "StageRecipe":
        if self.n_images % self.batch_size:
            nearest = max(1, round(self.n_images / self.batch_size)) * self.batch_size
            raise ValueError(f"n_images is no multiple of batch_size; take {nearest}")
        if self.precision == "float16" and any(one.kind == "muon" for one in self.trains.values()):
            raise ValueError("muon and float16 do not go together; take bfloat16")
        if self.jitter and self.adversarial is None and not self.losses.keys() & set(FEATURE_LOSSES):
            raise ValueError("jitter is for stages with an adversarial or a feature loss; leave it out")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate is more than the {self.batch_size} images of a batch")
        return self


class JudgeRecipe(_Strict):
    """What held-out photos say, every so many images, with pictures and curves.

    figures: rows of the table of metrics;  headline: the one whose best moment is kept beside the last, in its own
    direction; left out, the first figure, or none for a recipe with critics, whose PSNR falls as they succeed;
    protocol: of `resharp evaluate`: its colours, rounding and border; left out, "sr-y" where the plan makes photos
    smaller, else RGB, unrounded, whole;
    crop: largest side, in pixels.
    """

    every: Positive = 16_000
    crop: Annotated[int, Field(ge=16)] = 192
    figures: Annotated[tuple[str, ...], Field(min_length=1)] = ("psnr", "ssim")
    headline: str = ""
    protocol: str = ""


class CheckpointsRecipe(_Strict):
    """How often in images seen, and how many of them stay."""

    every: Positive = 16_000
    keep: Positive = 2


class DivergenceRecipe(_Strict):
    """What a loss that is no number leads to: the end, or up to so many returns to the last checkpoint, each with the
    learning rates times `factor`."""

    roll_backs: NotNegative = 0
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5


class WeightsRecipe(_Strict):
    """What the finished weights say of themselves; of which networks they are, the first of which is judged."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    licence: str
    training_data: str
    keep: Annotated[tuple[str, ...], Field(min_length=1)] = ("generator",)


class Recipe(_Strict):
    """One training run, whole.

    deterministic: on a GPU, by algorithms that give the same bits again; others are faster.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = 0
    deterministic: StrictBool = False
    data: DataRecipe
    networks: Annotated[dict[Annotated[str, Field(pattern=_NAME)], NetworkRecipe], Field(min_length=1)]
    features: FeaturesRecipe = FeaturesRecipe()
    stages: Annotated[tuple[StageRecipe, ...], Field(min_length=1)]
    judge: JudgeRecipe = JudgeRecipe()
    checkpoints: CheckpointsRecipe = CheckpointsRecipe()
    tracking: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)
    divergence: DivergenceRecipe = DivergenceRecipe()
    weights: WeightsRecipe

    @model_validator(mode="after")
    def _windows_within_crops(self) -> "Recipe":
        for index, stage in enumerate(self.stages):
            if stage.jitter and not self.data.plan.crop:
                raise ValueError(f"stages.{index}.jitter needs crops; set data.plan.crop, or leave it out")
            if stage.jitter > self.data.plan.crop // 2:
                raise ValueError(f"stages.{index}.jitter is more than half of data.plan.crop; lower it")
        return self

    @model_validator(mode="after")
    def _kernels_within_crops(self) -> "Recipe":
        crop = self.data.plan.crop
        for index, stage in enumerate(self.stages):
            if stage.unrolled and crop < (least := 2 * math.ceil(stage.unrolled.extent[1])):
                raise ValueError(f"stages.{index}.unrolled: such kernels need crops from {least} on, not {crop}")
        return self

    @model_validator(mode="after")
    def _a_cast_that_fits(self) -> "Recipe":
        """Who is trained, judged and kept is there; who is there is trained, or frozen."""
        for name in self.weights.keep:
            _check_there(name, self.networks, "weights.keep")
        trained = {name for stage in self.stages for name in stage.trains}
        for index, stage in enumerate(self.stages):
            for name in stage.trains:
                _check_there(name, self.networks, f"stages.{index}.trains")
                if self.networks[name].frozen:
                    raise ValueError(f"stages.{index}.trains.{name} is an optimiser of a frozen network; leave one out")
        idle = [name for name, one in self.networks.items() if name not in trained and not one.frozen]
        if idle:
            raise ValueError(f"networks.{idle[0]} is trained by no stage; set frozen = true, or leave it out")
        return self

    @property
    def judged(self) -> str:
        """The network that restores: it is judged, and gives the weights their name."""
        return self.weights.keep[0]

    @property
    def has_critics(self) -> bool:
        """Whether a stage asks critics."""
        return any(stage.adversarial is not None for stage in self.stages)

    @property
    def uses_features(self) -> bool:
        """Whether a stage compares what a network sees."""
        return any(stage.losses.keys() & set(FEATURE_LOSSES) for stage in self.stages)

    @property
    def n_images(self) -> int:
        """The length of the whole run."""
        return sum(stage.n_images for stage in self.stages)


def _check_there(name: str, networks: Collection[str], place: str) -> None:
    if name not in networks:
        raise ValueError(
            f"{place}: {name!r} is none of the networks; {did_you_mean(name, networks, things='networks')}"
        )
