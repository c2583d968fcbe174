"""The blur of a whole photo: kernels of windows all over it, or the reason why there is none to undo.

Windows share their evidence with near ones (`pyramid`), which is how one camera's motion shows in all of them; those
that a kernel of their own explains much better, as it does moving objects, keep it.  (Poses of the camera, Whyte et al.
2010, Hirsch et al. 2011, tell more where it turns fast; in a hand's shake neighbours hardly differ, and evidence added
up needs no focal length.)
"""

import contextlib
import dataclasses
import functools

from torch import Tensor

from resharp.degradations.blur_field import BlurField
from resharp.degradations.noise_level import estimated_noise_sigma

from .explaining import doubt, missing, power_in_nulls, roundness
from .pyramid import evidence_of
from .shapes import enlarged, odd
from .sharpness import SHARP, sharpness_through
from .threads import one_thread, side_by_side
from .view import IS_SHARP, NoBlurError, Overview, View, check_reach, largest_in, overview, viewed
from .windows import WindowKernels, kernels_of_windows

_NEAR, _LEAST_NEAR = 0.1, 128  # of the photo's longer side, and pixels: as far windows share their evidence
_LIGHT = 2.2  # a camera's usual gamma
_ASKED, _ASKED_AT = 4, 2**-0.5  # windows by which the gamma is chosen, and up to which resolution
_IN_LIGHT, _IN_PIXELS = 0.9, 1.2  # doubt in light as a share of that in pixel values: below the one, above the other
_BETWEEN = 1.3  # gamma where neither is clear: next to the best of 1 and 2.2 for a blur in either
_DOUBT_BETWEEN = 0.25  # that there is then, at least: such photos are undone weakly as well (`blind.IN_DOUBT`)
_NOISY = 0.007  # standard deviation of a camera's noise, which blurs light: where frames were averaged, so was noise
_HIDDEN_IN_LIGHT = 1.3  # the same share where noise, or kernels that are round, hide the difference: light below it
_PRINT_IN_LIGHT = 2.0  # the same share of print whose kernels there are a motion: six pages of six gained more in light
_IN_DOUBT, _HOPELESS = 0.33, 0.7  # of the smaller of both doubts: between these wider kernels are tried as well
_SMALL = 2**18  # pixels of a photo that may wait
_BEYOND_DOUBT = 0.05  # the same in a small photo
_WIDER, _LESS_DOUBT = 1.28, 0.9  # times; and what they are taken for, as a share
_NARROWER, _NARROWEST = (0.8, 0.64, 0.51), 9  # times, of print, whose strokes side by side widen kernels; pixels
_PRINT_BEYOND_DOUBT = 0.08  # below, none are tried
_FITS = 0.87  # of `missing`; blurred photos had up to .82, sharp ones whose kernel was not round .87 and more
_MOST_IN_NULLS = 0.16  # of `power_in_nulls`: blurred photos had up to .15, most sharp ones that passed all else more
_MOST_IN_NULLS_IF_BLURRED = 0.4  # as it looks: kernels that a fence made up had .52, right ones .22 and .32
_EMPTY_IF_BLURRED = 0.1  # below, `missing` is not asked: sky, snow and a street with .88 to .96 gained .9 to 6.6 dB
_EMPTY, _FITS_THEN = 0.05, 0.95  # the same: nulls of a blur beyond doubt, and `missing` of all windows, sky among them
_MOST_DOUBT = 0.85  # blurred photos that gained had up to .78
_STEEP = 0.25  # edges through the kernels of a blur; blurred photos' kernels left up to .243
_FAR_TOO_STEEP = 0.275  # through those of the windows asked: then the others are not looked at; blurred ones left .245
_ROUND = 0.82  # kernels of sharp photos had .83 and more, and so have those of defocus
_SOFT = 0.2  # edges of a photo that may be out of focus
_ROUNDISH = 0.65  # kernels that are told from round ones by `missing`, if the photo is soft as well
_MOTION = 0.5  # roundness of kernels that are a motion beyond doubt; 1 of 59 photos as steep as lettering had it
_LACKS_ALL_OVER = 0.8  # of `missing` of all windows, of photos that steep: that one .99
_LACKS_NOTHING = 1.0  # of `missing` of the windows asked, of photos that steep: shaken lettering had .64 to .87
_PRINT_IS_SOFT = 0.29  # edges of print: shaken pages had up to .275, soft ones that would have been spoiled .3
_MOST_OF_PRINT = (
    0.38  # doubt: of shaken pages those with up to .37 gained .2 to 9.4 dB, five with .39 to .5 lost .2 to 1.5
)
_BEST_AS_IT_IS = "no blur explains the photo better than none"


@dataclasses.dataclass(frozen=True)
class FoundBlur:
    """The blur, or None where nothing should be undone, and why, in one line.

    missing: (R, C), how little each window has of what its kernel would have taken away (`missing`): .2 to .85 where a
    kernel is right, 1 where it has nothing to do with the window; None where no kernels were found.
    """

    field: BlurField | None
    reason: str = ""
    missing: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A photo in pixel values ** gamma, the windows of it that show most, and their kernels up to some resolution."""

    gamma: float
    view: View
    asked: View
    sought: WindowKernels

    @property
    def kernels(self) -> Tensor:
        return self.sought.kernels

    @functools.cached_property
    def doubt(self) -> float:
        return doubt(self.sought.seen, self.kernels)

    @property
    def shows_a_motion(self) -> bool:
        return not _are_round(self.kernels)

    @functools.cached_property
    def whole(self) -> "_Seen":
        """The same up to all of the resolution."""
        return dataclasses.replace(self, sought=self.sought.at(1.0))

    def as_candidate(self) -> "_Candidate":
        shows_all = len(self.asked.windows) == len(self.view.windows)
        return _Candidate(self.gamma, self.view, self.whole.sought if shows_all else None)

    def check_that_it_is_worth_while(self) -> None:
        """Raises NoBlurError where these windows rule a blur out, which saves most of the time."""
        if self.view.looks_blurred and self.view.shows_print:
            return
        is_steep = self.view.overview.steepest > SHARP
        if not is_steep and float(sharpness_through(self.kernels).median()) <= _FAR_TOO_STEEP:
            return  # finer kernels leave no steeper edges
        kernels = self.whole.kernels
        if is_steep and float(roundness(kernels).median()) > _MOTION:
            raise NoBlurError(IS_SHARP)
        lacks_nothing = is_steep and float(missing(self.asked.windows, kernels).median()) > _LACKS_NOTHING
        if lacks_nothing or float(sharpness_through(kernels).median()) > _FAR_TOO_STEEP:
            raise NoBlurError(_BEST_AS_IT_IS)


@one_thread()
def find_blur(photo: Tensor, *, gamma: float | None = None, largest: int | None = None) -> FoundBlur:
    """The blur of a photo (3 or 1, H, W) in [0, 1], looked for in pixel values ** gamma.

    gamma: None: 2.2 (light) or 1, whichever kernels fit better in, light where noise or round kernels hide that, and
    1.3, between both, where it is not clear;  largest: side of the largest kernel in pixels; None: found, in the values
    that are given, else in light, in small photos in both.
    Deterministic, on any number of threads.
    """
    try:
        if gamma is None:
            candidates = _candidates(photo, largest)
        else:
            candidates = [_Candidate(gamma, viewed(photo, gamma, overview(photo, [gamma], largest)))]
    except NoBlurError as reason:
        return FoundBlur(None, str(reason))
    size = (photo.shape[-2], photo.shape[-1])
    for candidate in candidates:  # one at least
        found = _blur_of(candidate, size)
        if found.field is not None:
            break
    return found


def _blur_of(candidate: "_Candidate", size: tuple[int, int]) -> FoundBlur:
    view = candidate.view
    kernels = (candidate.sought or _sought(view)).at(1.0).kernels
    try:
        check_reach(kernels)
    except NoBlurError as reason:
        return FoundBlur(None, str(reason))

    lacking = missing(view.windows, kernels)
    grid = lacking.view(len(view.layout.tops), len(view.layout.lefts))
    most_doubt = min(candidate.most_doubt, _MOST_OF_PRINT if view.shows_print else _MOST_DOUBT)
    if not _is_blur(view, kernels, lacking) or (its_doubt := _doubt(view, kernels)) > most_doubt:
        return FoundBlur(None, _BEST_AS_IT_IS, grid)
    its_doubt = max(its_doubt, candidate.least_doubt)
    field = dataclasses.replace(_as_field(kernels, view), size=size, gamma=candidate.gamma, doubt=its_doubt)
    return FoundBlur(field, missing=grid)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A gamma to look for the blur at;  sought: what is known of the kernels of all windows;  most_doubt: with more of
    it the kernels are not taken;  least_doubt: that there is whatever they leave."""

    gamma: float
    view: View
    sought: WindowKernels | None = None
    most_doubt: float = _MOST_DOUBT
    least_doubt: float = 0.0


def _candidates(photo: Tensor, largest: int | None) -> list[_Candidate]:
    """What is to be tried in turn: the gamma in which kernels of the windows that show most fit better, or the one
    between; of print two widths of kernels."""
    whole = _overview(photo, largest)
    with side_by_side(lambda: _seen(photo, 1.0, whole), lambda: _seen(photo, _LIGHT, whole)) as (pixels, light):
        try:
            in_pixels = pixels()
        except NoBlurError:  # print may show less in pixel values
            in_light = light()
            if not in_light.view.shows_print:
                raise
            return _of_print(in_light.whole, photo) if largest is None else [in_light.as_candidate()]
        is_print = in_pixels.asked.shows_print  # its kernels are often made up in pixel values, and right in light
        if not is_print:
            in_pixels.check_that_it_is_worth_while()
        in_doubt = in_pixels.doubt  # while light is still looked at
        try:
            in_light = light()
        except NoBlurError:
            return [in_pixels.as_candidate()]
    if is_print:
        with side_by_side(lambda: in_pixels.whole, lambda: in_light.whole) as (pixels, light):
            in_pixels, in_light = pixels(), light()
        is_for_light = not in_light.shows_a_motion or in_light.doubt < _PRINT_IN_LIGHT * in_pixels.doubt
        seen = in_light if is_for_light else in_pixels
        seen.check_that_it_is_worth_while()
        return _of_print(seen, photo) if largest is None else [seen.as_candidate()]
    least = min(in_doubt, in_light.doubt)
    if largest is None and (_BEYOND_DOUBT if _is_small(photo) else _IN_DOUBT) < least <= _HOPELESS:
        with side_by_side(lambda: _wider(in_pixels, photo), lambda: _wider(in_light, photo)) as (pixels, light):
            in_pixels, in_light = pixels(), light()
    return [_by_doubt(photo, in_pixels, in_light)]


def _by_doubt(photo: Tensor, in_pixels: _Seen, in_light: _Seen) -> _Candidate:
    share = in_light.doubt / max(in_pixels.doubt, 1e-9)
    if share < _IN_LIGHT or (share < _HIDDEN_IN_LIGHT and _hides_its_gamma(photo, in_pixels)):
        return in_light.as_candidate()
    if share > _IN_PIXELS:
        return in_pixels.as_candidate()
    likely = in_light if share < 1 else in_pixels  # they differ where wider kernels were tried
    return _Candidate(_BETWEEN, viewed(photo, _BETWEEN, likely.view.overview), least_doubt=_DOUBT_BETWEEN)


def _hides_its_gamma(photo: Tensor, seen: _Seen) -> bool:
    return not seen.shows_a_motion or float(estimated_noise_sigma(photo)) > _NOISY


def _overview(photo: Tensor, largest: int | None) -> Overview:
    """In light, where that is not too wide; of a small photo, where that errs by half for a blur in pixel values, the
    wider one of both."""
    return overview(photo, (_LIGHT, 1.0), largest, widest=_is_small(photo))


def _is_small(photo: Tensor) -> bool:
    return photo.shape[-2] * photo.shape[-1] <= _SMALL


def _seen(photo: Tensor, gamma: float, whole: Overview) -> _Seen:
    """Raises NoBlurError."""
    view = viewed(photo, gamma, whole)
    asked = view.windows_that_show_most(_ASKED)
    return _Seen(gamma, view, asked, _sought(asked).at(_ASKED_AT))


def _wider(seen: _Seen, photo: Tensor) -> _Seen:
    """With wider kernels, and larger windows for them, if these are a motion and clearly less in doubt."""
    if not seen.shows_a_motion:
        return seen
    side = min(odd(round(_WIDER * seen.view.overview.side)), largest_in((photo.shape[-2], photo.shape[-1])))
    try:
        wider = _seen(photo, seen.gamma, dataclasses.replace(seen.view.overview, side=side))
    except NoBlurError:
        return seen
    return wider if wider.doubt < _LESS_DOUBT * seen.doubt else seen


def _of_print(seen: _Seen, photo: Tensor) -> list[_Candidate]:
    """What was seen of print, and before it the same with narrower kernels, if these are a motion and there is clearly
    less doubt about them: of the windows that show most, and then of all."""
    if not seen.shows_a_motion or seen.doubt < _PRINT_BEYOND_DOUBT:
        return [seen.as_candidate()]
    narrower, side = seen, seen.view.overview.side
    for width in (odd(round(share * side)) for share in _NARROWER):
        if width < _NARROWEST:
            break
        with contextlib.suppress(NoBlurError):
            tried = _seen(photo, seen.gamma, dataclasses.replace(seen.view.overview, side=width)).whole
            narrower = tried if tried.shows_a_motion and tried.doubt < narrower.doubt else narrower
    if narrower.doubt >= _LESS_DOUBT * seen.doubt:
        return [seen.as_candidate()]
    return [dataclasses.replace(narrower.as_candidate(), most_doubt=seen.doubt), seen.as_candidate()]


def _are_round(kernels: Tensor) -> bool:
    return float(roundness(kernels).median()) > _ROUND


def _doubt(view: View, kernels: Tensor) -> float:
    """Of the windows that show most; 0 of round kernels, which are the same when turned, so that nothing can tell."""
    if _are_round(kernels):
        return 0.0
    asked = view.windows_that_show_most(_ASKED)
    return doubt(asked.windows, kernels if asked.layout.only is None else kernels[asked.layout.only])


def _sought(view: View) -> WindowKernels:
    return kernels_of_windows(view.windows, view.closeness(_NEAR, _LEAST_NEAR), view.side)


def _is_blur(view: View, kernels: Tensor, lacking: Tensor) -> bool:
    """Whether windows have little where their kernels let nothing pass, most lack what these take away, and no steep
    edges are left.

    A round kernel takes away the same when it is turned; then the photo's own edges must be soft enough, and of nearly
    round ones both is asked.  Edges as steep as those of sharp photos are left by lettering, shaken all over.  Of print
    that looks blurred nothing is asked, of other photos that do less.
    """
    if view.looks_blurred and view.shows_print:
        return True
    in_nulls = power_in_nulls(view.windows, kernels)
    most = _MOST_IN_NULLS_IF_BLURRED if view.looks_blurred else _MOST_IN_NULLS
    if in_nulls > most or float(sharpness_through(kernels).median()) > _STEEP:
        return False
    alike, is_soft = float(roundness(kernels).median()), view.overview.steepest < _SOFT
    if view.overview.steepest > SHARP:
        if view.shows_print:  # a page's margins show nothing, so not all windows need to
            return view.overview.steepest < _PRINT_IS_SOFT and alike < _MOTION
        return alike < _MOTION and float(lacking.max()) < _LACKS_ALL_OVER
    if alike > _ROUND:
        return is_soft
    is_motion = alike < _ROUNDISH
    if is_motion and view.looks_blurred and in_nulls < _EMPTY_IF_BLURRED:
        return True
    fits = _FITS_THEN if is_motion and in_nulls < _EMPTY else _FITS
    return float(lacking.median()) < fits and (is_motion or is_soft)


def _as_field(kernels: Tensor, view: View) -> BlurField:
    kernels = enlarged(kernels, view.shrink)
    size = (view.plane.shape[0], view.plane.shape[1])
    rows, columns = view.layout.shares(size)
    grid = (len(rows), len(columns))
    evidence = evidence_of(view.windows)
    trust = (evidence / (evidence + evidence.median())).view(grid)
    return BlurField(kernels.view(*grid, *kernels.shape[1:]), rows, columns, trust, size)
