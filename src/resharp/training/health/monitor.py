"""From the numbers of a training to warnings: medians over windows against limits, each warning once until it clears.

A window counts the values of its measure, so that a measure may be taken at each step or at each tenth.  The limits
were tried on small trainings of each kind of critic, with learning rates from 1e-4 to 5e-3.
"""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

SETTLING = 200  # values of a measure before it can warn: networks start by unlearning their random weights
WINDOW = 64
SLOW_WINDOW = 256  # for what moves slowly, or from batch to batch by a large factor
IMPROVING = 0.1  # of the way back to the limit, from one half of the window to the other: then it is on its mend
CLEARED = 0.7  # of the limit, for a whole window: then a warning is over, and may come again


class WarningKind(NamedTuple):
    """What a kind of warning means, and the way out;  causes: kinds that explain it, and silence it while they last."""

    meaning: str
    remedy: str
    causes: tuple[str, ...] = ()


WARNINGS: dict[str, WarningKind] = {
    "non-finite": WarningKind(
        "a measure is not a number or infinite",
        "go back to the last checkpoint with a lower learning rate",
    ),
    "collapse": WarningKind(
        "the outputs no longer follow their inputs: they are all alike, or flat",
        "lower the generator's learning rate or the adversarial weight and start from an earlier checkpoint",
    ),
    "exploding-critic": WarningKind(
        "the critic grows without end, and its gradients with it",
        "lower the critic's learning rate, or hold it with a gradient penalty",
    ),
    "vanishing-generator": WarningKind(
        "the critic no longer teaches the generator anything",
        "lower the critic's learning rate, take fewer critic steps, raise the adversarial weight, or choose a loss "
        "that does not saturate",
        ("collapse",),
    ),
    "critic-too-strong": WarningKind(
        "the critic tells outputs from photos without a mistake; its gradients may vanish next",
        "lower the critic's learning rate, take fewer critic steps, or add a gradient penalty",
        ("exploding-critic", "vanishing-generator"),
    ),
    "gradient-penalty": WarningKind(
        "the gradient penalty does not hold the critic's slope at 1: about 1 is a flat critic, more a steep one",
        "lower the critic's learning rate or raise the penalty's weight; no batch norm, sigmoid or bfloat16 in the "
        "critic",
        ("exploding-critic",),
    ),
    "colour-cast": WarningKind(
        "the outputs have another colour or brightness than the photos",
        "check the value range and the channel order, or raise the weight of the pixel loss",
        ("collapse", "exploding-critic"),
    ),
    "checkerboard": WarningKind(
        "a pattern repeats over the outputs at the pitch of the network's strides",
        "set the stage's jitter if critics or features teach it, resize and convolve where the network has transposed "
        "convolutions, or lower the adversarial weight",
        ("collapse", "exploding-critic"),
    ),
    "loss-trend": WarningKind(
        "the loss has risen far above the best that it had reached",
        "lower the learning rate or the adversarial weight, or go back to an earlier checkpoint",
        ("collapse", "exploding-critic"),
    ),
}
"""Every kind of warning."""


class Limit(NamedTuple):
    """Where a warning begins: the median of a window of `measure`, or its ratio to the most or least that it has been.

    words: what was measured, as the subject of a sentence;  unless: a measure whose presence lifts the limit.
    """

    kind: str
    measure: str
    side: Literal["above", "below"]
    bound: float
    words: str
    window: int = WINDOW
    relative_to: Literal["largest", "smallest"] | None = None
    unless: str | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.measure}"

    def excess(self, value: float, tolerance: float = 1.0) -> float:
        """How far a value (its size, where the limit lies above) is beyond the limit moved back by `tolerance`."""
        return abs(value) - self.bound * tolerance if self.side == "above" else self.bound / tolerance - value


LIMITS: tuple[Limit, ...] = (
    # Healthy outputs keep 0.9 of the spread, slow beginners 0.4 after 200 steps; a collapse leaves 0.01.
    Limit("collapse", "spread", "below", 0.2, "the outputs' spread relative to the photos'"),
    Limit("collapse", "response", "below", 0.2, "the outputs' response to their inputs"),
    # Wasserstein critics over [0, 1] are bound to 2; logits that saturate reached 4, critics without hold 1e2 to 1e5.
    Limit("exploding-critic", "critic_slope", "above", 30, "the critic's slope"),
    # Published weights (1e-3 on a cross entropy) leave the critic some hundredths.
    Limit("vanishing-generator", "adversarial_share", "below", 1e-3, "the critic's share of the generator's gradient"),
    # Learning takes a gradient down to 1/30 of its beginnings.
    Limit(
        "vanishing-generator",
        "generator_gradient",
        "below",
        1e-3,
        "the generator's gradient relative to its largest",
        relative_to="largest",
    ),
    # A critic under a gradient penalty may be as good as it gets: its gradients stay (Gulrajani et al. 2017).
    Limit(
        "critic-too-strong",
        "separation",
        "above",
        5,
        "the distance between the scores of photos and outputs in standard deviations",
        unless="gradient_penalty",
    ),
    # Norms off by 0.7; healthy critics stay below 0.1 once they have found their slope.
    Limit("gradient-penalty", "gradient_penalty", "above", 0.5, "the unweighted gradient penalty"),
    # 5 grey levels: a colour difference of 2 to 3 in CIELAB on grey, which an observer notices.
    *(
        Limit("colour-cast", f"drift_{channel}", "above", 5 / 255, f"the outputs' mean {channel} minus the photos'")
        for channel in ("red", "green", "blue")
    ),
    # Rounding to 8 bits hides about a third of a grey level; a pattern of one level shows in skies.
    Limit(
        "checkerboard", "checkerboard", "above", 0.75 / 255, "the amplitude of the strides' pattern", window=SLOW_WINDOW
    ),
    # 3 dB for squares; adversarial fine-tuning costs 2 dB at most.
    Limit(
        "loss-trend",
        "loss",
        "above",
        2,
        "the loss relative to its best",
        window=SLOW_WINDOW,
        relative_to="smallest",
    ),
)
"""Every limit; a kind with several warns when the first is passed and clears with the last."""


class HealthWarning(NamedTuple):
    """kind: a key of WARNINGS;  message: one line, what was measured against which limit, since when, the way out."""

    kind: str
    message: str


class HealthMonitor:
    """Turns the measures of a training, step by step, into warnings; a function of the measures alone."""

    def __init__(self) -> None:
        self._history: dict[str, deque[float]] = {}
        self._counts: dict[str, int] = {}
        self._extremes: dict[str, float] = {}  # by limit: the largest or smallest median so far
        self._since: dict[str, int] = {}  # by limit: images seen when it was passed
        self._raised: set[str] = set()  # limits
        self._calm_for: dict[str, int] = {}  # by raised limit: judgements since it was last near
        self._finite_for: int | None = None  # updates since a measure was not finite

    def update(self, images_seen: int, measures: Mapping[str, float]) -> list[HealthWarning]:
        """The warnings that begin with these measures; names that no limit knows are only checked to be finite."""
        warnings = self._non_finite(images_seen, measures)
        for limit in LIMITS:
            value = measures.get(limit.measure, math.nan)
            if not math.isfinite(value) or limit.unless in measures:
                continue
            self._remember(limit, value)
            if message := self._judge(limit, images_seen):
                warnings.append(HealthWarning(limit.kind, message))
        return warnings

    def state_dict(self) -> dict[str, Any]:
        """All that the next update needs, in plain values."""
        return {
            "history": {name: list(values) for name, values in self._history.items()},
            "counts": dict(self._counts),
            "extremes": dict(self._extremes),
            "since": dict(self._since),
            "raised": sorted(self._raised),
            "calm_for": dict(self._calm_for),
            "finite_for": self._finite_for,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        windows = {limit.measure: limit.window for limit in LIMITS}
        self._history = {name: deque(values, windows[name]) for name, values in state["history"].items()}
        self._counts, self._extremes = dict(state["counts"]), dict(state["extremes"])
        self._since, self._raised = dict(state["since"]), set(state["raised"])
        self._calm_for = dict(state["calm_for"])
        self._finite_for = state["finite_for"]

    def _is_raised(self, kind: str) -> bool:
        return any(limit.kind == kind and limit.name in self._raised for limit in LIMITS)

    def _remember(self, limit: Limit, value: float) -> None:
        self._history.setdefault(limit.measure, deque(maxlen=limit.window)).append(value)
        self._counts[limit.measure] = self._counts.get(limit.measure, 0) + 1

    def _judge(self, limit: Limit, images_seen: int) -> str | None:
        """Raises or clears a limit; the message where it is the first of its kind to be raised."""
        values = list(self._history[limit.measure])
        if len(values) < limit.window:
            return None
        median = statistics.median(values)
        scale = self._scale(limit, median)
        value = median / scale
        raised = limit.name in self._raised
        if limit.excess(value, CLEARED if raised else 1.0) <= 0:
            self._calm_down(limit)
            return None
        self._calm_for.pop(limit.name, None)
        since = self._since.setdefault(limit.name, images_seen)
        if raised or self._counts[limit.measure] < SETTLING:
            return None
        halves = values[: limit.window // 2], values[limit.window // 2 :]
        earlier, later = (limit.excess(statistics.median(half) / scale) for half in halves)
        if later < (1 - IMPROVING) * earlier:
            return None
        causes = WARNINGS[limit.kind].causes
        if any(self._is_raised(cause) for cause in causes) or (causes and earlier <= 0):  # a cause may be on its way
            return None
        is_first = not self._is_raised(limit.kind)
        self._raised.add(limit.name)
        told = f"{limit.kind}: {limit.words} is {value:.3g} (median of {limit.window}), {limit.side} {limit.bound:.3g} "
        return f"{told}since {since:,} images; {WARNINGS[limit.kind].remedy}" if is_first else None

    def _calm_down(self, limit: Limit) -> None:
        """One more judgement within the limit; a raised one is over after a window of them."""
        if limit.name in self._raised:
            self._calm_for[limit.name] = self._calm_for.get(limit.name, 0) + 1
            if self._calm_for[limit.name] < limit.window:
                return
        self._raised.discard(limit.name)
        self._since.pop(limit.name, None)
        self._calm_for.pop(limit.name, None)

    def _scale(self, limit: Limit, median: float) -> float:
        """What the median is compared with: 1, or the most or least that it has been."""
        if limit.relative_to is None:
            return 1.0
        keep = max if limit.relative_to == "largest" else min
        self._extremes[limit.name] = extreme = keep(self._extremes.get(limit.name, median), median)
        return extreme if extreme > 0 else math.inf  # nothing ever is 0 of it, and no loss above twice a negative one

    def _non_finite(self, images_seen: int, measures: Mapping[str, float]) -> list[HealthWarning]:
        bad = [name for name, value in measures.items() if not math.isfinite(value)]
        silent = self._finite_for is not None and self._finite_for < WINDOW
        if bad:
            self._finite_for = 0
        elif self._finite_for is not None:
            self._finite_for += 1
        if not bad or silent:
            return []
        message = (
            f"non-finite: {', '.join(bad)} not finite since {images_seen:,} images; {WARNINGS['non-finite'].remedy}"
        )
        return [HealthWarning("non-finite", message)]
