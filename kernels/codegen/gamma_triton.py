"""ln Γ and what belongs to it on the GPU, as `gamma_c` has it in C."""

import triton
import triton.language as tl


@triton.jit
def _series(w):
    v = 1.0 / (w * w)
    s = 1 / 156 - v * (3617 / 122400)
    s = 1 / 1188 + v * (-691 / 360360 + v * s)
    s = 1 / 1260 + v * (-1 / 1680 + v * s)
    return (1 / 12 + v * (-1 / 360 + v * s)) / w


@triton.jit
def _slopes(w):
    v = 1.0 / (w * w)
    s = -1 / 12 + v * (3617 / 8160)
    s = -1 / 132 + v * (691 / 32760 + v * s)
    s = -1 / 252 + v * (1 / 240 + v * s)
    return v * (-1 / 12 + v * (1 / 120 + v * s))


@triton.jit
def _steps(z, w):
    v, t = 1.0 / (w * w), z * (z + 7.0)
    p = t * v * ((t + 6.0) * v) * ((t + 10.0) * v) * ((t + 12.0) * v)
    return tl.log(tl.where(z < 8.0, p, 1.0))


@triton.jit
def _steps_slope(z):
    u = tl.where(z < 8.0, z, 1.0)
    t = u * (u + 7.0)
    a, b = t * (t + 12.0), (t + 6.0) * (t + 10.0)
    return tl.where(z < 8.0, (2.0 * u + 7.0) * ((2.0 * t + 12.0) * b + a * (2.0 * t + 16.0)) / (a * b), 0.0)


@triton.jit
def lgamma(z):
    w = tl.where(z < 8.0, z + 8.0, z)
    return (z - 0.5) * tl.log(w) - w + 0.9189385332046727 + _series(w) - _steps(z, w)


@triton.jit
def digamma(z):
    w = tl.where(z < 8.0, z + 8.0, z)
    return tl.log(w) - 0.5 / w + _slopes(w) - _steps_slope(z)


@triton.jit
def stirling(z):
    w = tl.where(z < 8.0, z + 8.0, z)
    up = (z - 0.5) * tl.log(w / z) - 8.0 - _steps(z, w)
    return _series(w) + tl.where(z < 8.0, up, 0.0)


@triton.jit
def stirling_slope(z):
    w = tl.where(z < 8.0, z + 8.0, z)
    up = tl.log(w / z) - 0.5 / w + 0.5 / z - _steps_slope(z)
    return _slopes(w) + tl.where(z < 8.0, up, 0.0)
