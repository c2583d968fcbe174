"""What a training recipe holds; lengths are counted in images seen."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from resharp.data.plan import Plan
from resharp.losses import FEATURE_LOSSES

Positive = Annotated[int, Field(gt=0, le=2**53, strict=True)]
NotNegative = Annotated[int, Field(ge=0, le=2**53, strict=True)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
Arguments = dict[str, int | float | bool | str | list[int]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataRecipe(_Strict):
    """What is trained on: clean photos that a plan spoils, real pairs, packs, mixed by weights.

    Of the first source whole groups, evenly spread, leave the training, `n_holdout_groups` at least and as many as hold
    `n_holdout` items, which are kept for validation; groups of those names leave the other sources, too.
    noise_sigma: white noise on the [0, 1] scale that is added in floating point, unclipped, as denoisers are trained.
    """

    photos: Annotated[tuple[Path, ...], Field(min_length=1)]
    split: str = ""  # of the first one, and of those others that have several
    mix: tuple[Positive, ...] = ()
    plan: Plan
    noise_sigma: Annotated[float, Field(ge=0, le=1)] = 0.0
    n_holdout: Positive = 10
    n_holdout_groups: Positive = 1  # many where a group is large, such as all pairs that were made of one photo
    n_workers: Annotated[int, Field(ge=0, le=256)] = 0
    kept_megabytes: Positive = 256  # of decoded photos, in each process that reads

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
    """A row of a table of networks, or "package.module:Name", and its keyword arguments."""

    kind: str
    arguments: Arguments = {}


class FeaturesRecipe(_Strict):
    """The network whose features the perceptual loss compares; `weights` names its file if it lies elsewhere."""

    kind: Literal["vgg19", "vgg16", "squeezenet1.1"] = "vgg19"
    layer: str = "conv3_3"
    after_relu: StrictBool = False
    normalisation: Literal["imagenet", "caffe", "raw"] = "imagenet"
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


class MuonRecipe(_Strict):
    """Muon (Jordan et al. 2024) on convolutions from and to 16 channels or more, Adam on all else."""

    kind: Literal["muon"]
    learning_rate: Rate
    momentum: Fraction = 0.95
    adam_learning_rate: Rate = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: ScheduleRecipe = ScheduleRecipe()


class AdamRecipe(_Strict):
    """Adam on all parameters, with decoupled weight decay (AdamW) if that is not 0."""

    kind: Literal["adam"]
    learning_rate: Rate
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: ScheduleRecipe = ScheduleRecipe()


OPTIMIZER_KINDS = tuple(get_args(one.model_fields["kind"].annotation)[0] for one in (MuonRecipe, AdamRecipe))
OptimizerRecipe = Annotated[MuonRecipe | AdamRecipe, Field(discriminator="kind")]


class AdversarialRecipe(_Strict):
    """The game of a stage: which loss, its weight in the generator's sum, and how the critic is trained.

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
    optimizer: OptimizerRecipe


class StageRecipe(_Strict):
    """A stretch of the run with its own losses and optimisers: supervised, or with `adversarial` a GAN.

    losses: weights by name of the table of losses, "perceptual" among them;  batch_size counts all processes together;
    accumulate: pieces that a batch goes through in;  jitter: critic and feature losses see windows that are so many
    pixels smaller, each at a random offset, against the chequered pattern that their strides leave; the product of the
    strides less 1 is enough, 7 for "patchgan", 3 for conv3_3 and fire3.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = "train"
    n_images: Positive
    batch_size: Positive
    accumulate: Positive = 1
    losses: Annotated[dict[str, Rate], Field(min_length=1)] = {"l2": 1.0}
    jitter: Annotated[int, Field(ge=0, le=64, strict=True)] = 0
    optimizer: OptimizerRecipe
    adversarial: AdversarialRecipe | None = None
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
        sides = [self.optimizer, *([self.adversarial.optimizer] if self.adversarial else [])]
        if self.precision == "float16" and any(side.kind == "muon" for side in sides):
            raise ValueError("muon and float16 do not go together; take bfloat16")
        if self.accumulate > 1 and self.adversarial and self.adversarial.kind == "relativistic":
            raise ValueError("a relativistic loss compares with the mean of the whole batch; set accumulate = 1")
        if self.jitter and self.adversarial is None and not self.losses.keys() & set(FEATURE_LOSSES):
            raise ValueError("jitter is for stages with an adversarial or a feature loss; leave it out")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate is more than the {self.batch_size} images of a batch")
        return self


class RhythmRecipe(_Strict):
    """How often, in images seen: validation (with pictures and curves) and checkpoints, of which `keep` stay."""

    validate_every: Positive = 16_000
    save_every: Positive = 16_000
    keep: Positive = 2
    validation_crop: Annotated[int, Field(ge=16)] = 192
    tracking: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)


class DivergenceRecipe(_Strict):
    """What a loss that is no number leads to: the end, or up to so many returns to the last checkpoint, each with the
    learning rates times `factor`."""

    roll_backs: NotNegative = 0
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5


class WeightsRecipe(_Strict):
    """What the finished weights say of themselves."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    licence: str
    training_data: str


class Recipe(_Strict):
    """One training run, whole.

    ema: decay of the averaged weights per image seen, such as 0.9999 (0 = none); they are what is validated and kept.
    compile: `torch.compile` the generator.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = 0
    data: DataRecipe
    network: NetworkRecipe
    critic: NetworkRecipe = NetworkRecipe(kind="patchgan")
    features: FeaturesRecipe = FeaturesRecipe()
    stages: Annotated[tuple[StageRecipe, ...], Field(min_length=1)]
    ema: Fraction = 0.0
    compile: StrictBool = False
    rhythm: RhythmRecipe = RhythmRecipe()
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

    @property
    def n_images(self) -> int:
        """The length of the whole run."""
        return sum(stage.n_images for stage in self.stages)
