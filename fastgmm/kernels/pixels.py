"""One small mixture per pixel of a video: a frame's foreground, and a step of stepwise EM.

Each pixel's mixture has spherical components over the channels. A step with rate g mixes the
sufficient statistics of the frames so far with those of the new one, (1 - g) old + g new, for every
pixel at once (Cappe and Moulines 2009, eq. 9), written about the old means so that nothing cancels.
A colour that no component explains takes the place of the component of the least weight (Stauffer
and Grimson 1999). Lanes are pixels; everything is a few planes of numbers, read and written once.
"""

from typing import Any, NamedTuple

from fastgmm._jit import kernel, part
from fastgmm._typing import FloatArray
from fastgmm.kernels.columns import chunk_rows, load_about
from fastgmm.kernels.memory import aligned, cleared, flattened
from fastgmm.simd import (
    broadcast,
    exp_nonpositive,
    fma,
    lanes_of,
    load,
    log,
    maximum,
    minimum,
    select,
    store,
)

LEAST_WEIGHT = 1e-30
"""Less is zero: after 44,000 frames at a rate of 0.002 it would be a subnormal number and stay one,
and frames took twice as long."""

NO_DENSITY = -1e30
"""The logarithm, of a component that nobody has begun."""


class PixelMixtures(NamedTuple):
    """The mixtures of n pixels, in planes: of all pixels, up to whole vectors, one number each."""

    weights: FloatArray
    """Flat (k, plane)."""
    means: FloatArray
    """Flat (k, channels, plane)."""
    variances: FloatArray
    """Flat (k, plane)."""


class FrameStep(NamedTuple):
    """How a frame is looked at and learnt from, in numbers of its dtype."""

    rate: Any
    """Share of the new frame in what is known afterwards."""
    limit: Any
    """Squared standard deviations within which a component explains a colour."""
    background_share: Any
    """The heaviest components that have this share of the frames are the background."""
    first_variance: Any
    """Of a new component."""
    least_variance: Any
    learns: bool


class Looked(NamedTuple):
    """What a vector of pixels is compared by, in memory of a thread's own."""

    colours: FloatArray
    """(channels, pixels) of a chunk."""
    squares: FloatArray
    """(k,) vectors of squared distances to the means."""
    shares: FloatArray
    """(k,) vectors of log densities, then of responsibilities before they are divided."""


@kernel
def look_at_pixels(
    frame: Any, first: int, last: int, mixtures: Any, step: Any, foreground: Any
) -> None:
    """Write 1 to ``foreground`` (plane,) where no background explains the colour, else 0; learn.

    ``frame`` is (n, channels); of it the pixels from ``first`` to ``last`` are looked at, of which
    the first begins a vector.
    """
    n_channels = frame.shape[1]
    flat = flattened(frame)
    width, run = lanes_of(flat), chunk_rows(flat)
    n_components = mixtures.weights.size // foreground.size
    whole = (n_channels + width - 1) // width * width
    looked = Looked(
        aligned(whole * run, flat),
        aligned(n_components * width, flat),
        aligned(n_components * width, flat),
    )
    nothing = cleared(n_channels, flat)
    for start in range(first, last, run):
        size = min(run, last - start)
        load_about(flat, n_channels, start, size, run, nothing, looked.colours, 0, run)
        look_at_chunk(n_channels, n_components, start, size, looked, mixtures, step, foreground)


@part
def look_at_chunk(
    n_channels: int, n_components: int, start: int, size: int, looked: Any, mixtures: Any,
    step: Any, foreground: Any,
) -> None:  # fmt: skip
    """Look at a chunk of pixels."""
    zero = broadcast(foreground.dtype.type(0))
    one = broadcast(foreground.dtype.type(1))
    weights, plane = mixtures.weights, foreground.size
    for t in range(0, size, lanes_of(foreground)):
        pixel = start + t
        explained = zero > zero
        known = explained
        for k in range(n_components):
            weight = load(weights, k * plane + pixel)
            variance = load(mixtures.variances, k * plane + pixel)
            square = squared_distance(n_channels, k, t, pixel, plane, looked, mixtures)
            store(looked.squares, k * lanes_of(foreground), square)
            close = (square <= variance * step.limit) & (weight > zero)
            explained = explained | close
            heavier = zero  # of equal weights the first
            for other in range(k):
                theirs = load(weights, other * plane + pixel)
                heavier = heavier + select(theirs >= weight, theirs, zero)
            for other in range(k + 1, n_components):
                theirs = load(weights, other * plane + pixel)
                heavier = heavier + select(theirs > weight, theirs, zero)
            known = known | (close & (heavier < broadcast(step.background_share)))
        store(foreground, pixel, select(known, zero, one))
        if step.learns:
            learn(n_channels, n_components, t, pixel, plane, explained, looked, mixtures, step)


@part
def squared_distance(
    n_channels: int, k: int, t: int, pixel: int, plane: int, looked: Any, mixtures: Any
) -> Any:
    """Return |colour - mean|^2 of a component of a vector of pixels."""
    run = chunk_rows(looked.colours)
    square = broadcast(looked.colours.dtype.type(0))
    for j in range(n_channels):
        mean = load(mixtures.means, (k * n_channels + j) * plane + pixel)
        away = load(looked.colours, j * run + t) - mean
        square = fma(away, away, square)
    return square


@part
def total_of_shares(
    n_channels: int, n_components: int, pixel: int, plane: int, looked: Any, mixtures: Any
) -> Any:
    """Write the components' shares of a vector of pixels; return what they add up to."""
    shares = looked.shares
    number, width = shares.dtype.type, lanes_of(shares)
    tiny, nothing = broadcast(number(LEAST_WEIGHT)), broadcast(number(NO_DENSITY))
    for k in range(n_components):
        at, own = k * plane + pixel, k * width
        variance = load(mixtures.variances, at)
        spread = log(variance) * number(n_channels) + load(looked.squares, own) / variance
        weight = load(mixtures.weights, at)
        density = log(maximum(weight, tiny)) - spread * number(0.5)
        # a component that nobody has begun is wide, and would take what lies between the others
        store(shares, own, select(weight > broadcast(number(0)), density, nothing))
    best = load(shares, 0)
    for k in range(1, n_components):
        best = maximum(best, load(shares, k * width))
    total = broadcast(number(0))
    for k in range(n_components):
        share = exp_nonpositive(load(shares, k * width) - best)
        store(shares, k * width, share)
        total = total + share
    return total


@part
def learn(
    n_channels: int, n_components: int, t: int, pixel: int, plane: int, explained: Any,
    looked: Any, mixtures: Any, step: Any,
) -> None:  # fmt: skip
    """Make the step of a vector of pixels."""
    weights, means, variances = mixtures.weights, mixtures.means, mixtures.variances
    colours, squares, shares = looked.colours, looked.squares, looked.shares
    number = colours.dtype.type
    width, run = lanes_of(colours), chunk_rows(colours)
    zero, one = broadcast(number(0)), broadcast(number(1))
    tiny = broadcast(number(LEAST_WEIGHT))
    lowest = load(weights, pixel)
    for k in range(1, n_components):
        lowest = minimum(lowest, load(weights, k * plane + pixel))
    rate = broadcast(step.rate)
    portion = rate / total_of_shares(n_channels, n_components, pixel, plane, looked, mixtures)
    weight_of_all = zero
    done = explained  # whoever has a component, or has been given one
    for k in range(n_components):
        at, own = k * plane + pixel, k * width
        old, variance = load(weights, at), load(variances, at)
        new = (old == lowest) & ~done
        done = done | new
        given = load(shares, own) * portion
        given = select(explained & (old > zero) & (given > tiny), given, zero)
        weight = (one - rate) * old + given
        weight = select(weight > tiny, weight, zero)
        # of what the component knows now, the share that is this frame's
        part_of = given / maximum(weight, tiny)
        wider = fma(part_of / number(n_channels), load(squares, own), variance)
        wider = maximum((one - part_of) * wider, broadcast(step.least_variance))
        takes = given > zero  # of a colour infinitely far away zero times that is no number
        variance = select(takes, wider, variance)
        weight = select(new, rate, weight)
        weight_of_all = weight_of_all + weight
        store(weights, at, weight)
        store(variances, at, select(new, broadcast(step.first_variance), variance))
        for j in range(n_channels):
            place = (k * n_channels + j) * plane + pixel
            colour, mean = load(colours, j * run + t), load(means, place)
            moved = select(takes, fma(part_of, colour - mean, mean), mean)
            store(means, place, select(new, colour, moved))
    for k in range(n_components):
        at = k * plane + pixel
        store(weights, at, load(weights, at) / weight_of_all)
