"""Every operation of fastgmm.simd in a kernel of its own, for the tests to call."""

from fastgmm._jit import kernel
from fastgmm.simd import (
    broadcast,
    exp,
    exp2_nonpositive,
    exp_nonpositive,
    first_lanes,
    first_on,
    fma,
    fnma,
    highest,
    lanes_of,
    lanes_on,
    load,
    load_broadcast,
    load_part,
    log,
    maximum,
    minimum,
    narrow,
    reciprocal,
    select,
    store,
    store_part,
    total,
    totals,
    transpose,
    transpose_block,
    widen_high,
    widen_low,
)


@kernel
def functions(x, by_exp, by_exp_nonpositive, by_log, by_reciprocal):
    for i in range(0, x.size, lanes_of(x)):
        count = x.size - i
        v = load_part(x, i, count)
        store_part(by_exp, i, exp(v), count)
        store_part(by_exp_nonpositive, i, exp_nonpositive(v), count)
        store_part(by_log, i, log(v), count)
        store_part(by_reciprocal, i, reciprocal(v), count)


@kernel
def powers(x, out):
    """Of three vectors at a time, the last of them twice."""
    w = lanes_of(x)
    for i in range(0, x.size, 2 * w):
        count = x.size - i
        a, b = load_part(x, i, count), load_part(x, i + w, count - w)
        a, b, c = exp2_nonpositive((a, b, b))
        store_part(out, i, a, count)
        store_part(out, i + w, minimum(b, c), count - w)


@kernel
def count_lanes(x):
    return lanes_of(x), lanes_of(load(x, 0)), lanes_of(x[0])


@kernel
def copy_vector(source, i, target, j):
    store(target, j, load(source, i))


@kernel
def copy_part(source, i, count, target, j):
    store_part(target, j, load(source, i), count)


@kernel
def load_some(source, i, count, target):
    store(target, 0, load_part(source, i, count))


@kernel
def fill(x, value, out):
    store(out, 0, broadcast(x.dtype.type(value)))
    store(out, lanes_of(x), load_broadcast(x, 1))


@kernel
def arithmetic(x, y, z, out):
    """One vector a row of ``out``: fused, plain, with numbers, extremes."""
    w = lanes_of(x)
    a, b, c = load(x, 0), load(y, 0), load(z, 0)
    results = (
        fma(a, b, c),
        fnma(a, b, c),
        a + b,
        a - b,
        a * b,
        a / b,
        -a,
        2 * a,
        a + 0.1,
        1.0 / a,
        minimum(a, b),
        maximum(a, b),
    )
    for i in range(len(results)):
        store(out, i * w, results[i])


@kernel
def comparisons(x, y, out):
    w = lanes_of(x)
    a, b = load(x, 0), load(y, 0)
    masks = (
        a < b,
        a <= b,
        a > b,
        a >= b,
        a == b,
        a != b,
        (a < b) | (a > b),
        (a <= b) & (a >= b),
        ~(a < b),
        a < 0.5,
    )
    one, zero = broadcast(x.dtype.type(1.0)), broadcast(x.dtype.type(0.0))
    for i in range(len(masks)):
        store(out, i * w, select(masks[i], one, zero))


@kernel
def mask_first(x, count, out):
    a = load(x, 0)
    mask = first_lanes(a, count)
    store(out, 0, select(mask, a, -a))
    return lanes_on(mask)


@kernel
def lanes_above(x, bound, out):
    n = 0
    on = lanes_on(load(x, 0) > bound)
    while on != 0:
        out[n] = first_on(on)
        n += 1
        on &= on - 1
    return n


@kernel
def reduced(x):
    return total(load(x, 0)), highest(load(x, 0))


@kernel
def transposed_block(source, i, stride, target, j, other):
    transpose_block(source, i, stride, target, j, other)


@kernel
def widened(x, low, high, back):
    a, b = widen_low(load(x, 0)), widen_high(load(x, 0))
    store(low, 0, a)
    store(high, 0, b)
    store(back, 0, narrow(a, b))


def of_tuples(count):
    """Return kernels for totals and transpose, whose tuples have as many vectors as lanes."""
    vectors = "".join(f"load(x, {row} * w), " for row in range(count))
    source = f"""
def summed(x, out):
    w = lanes_of(x)
    store(out, 0, totals(({vectors})))

def turned(x, out):
    w = lanes_of(x)
    rows = transpose(({vectors}))
    for row in range(w):
        store(out, row * w, rows[row])
"""
    names = {"lanes_of": lanes_of, "load": load, "store": store}
    names |= {"totals": totals, "transpose": transpose, "__name__": __name__}
    exec(source, names)
    return kernel(names["summed"]), kernel(names["turned"])
