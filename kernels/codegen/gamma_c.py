"""ln Γ and what belongs to it in C, without branches, so that loops over them are vectorised.

Below NEAR the recurrence moves the argument up by 8: with t = z (z + 7), z (z + 1) ⋯ (z + 7) is t (t + 6) (t + 10)
(t + 12), which takes one logarithm, and its logarithmic derivative one division.
"""

from .gamma import NEAR, SERIES, SLOPES


def _horner(coefficients: tuple[float, ...]) -> str:
    text = f"(real){coefficients[-1]!r}"
    for coefficient in reversed(coefficients[:-1]):
        text = f"((real){coefficient!r} + v * {text})"
    return text


SOURCE = f"""
#define BELOW(z) (z < (real){NEAR!r})
static inline real SERIES(real w) {{ real v = 1 / (w * w); return {_horner(SERIES)} / w; }}
static inline real SLOPES(real w) {{ real v = 1 / (w * w); return v * {_horner(SLOPES)}; }}
static inline real RAISED(real z) {{ return BELOW(z) ? z + 8 : z; }}
static inline real STEPS(real z, real w) {{  /* ln of what the recurrence divides by, over w to the eighth: 0 beyond */
    real v = 1 / (w * w), t = z * (z + 7), p = t * v * ((t + 6) * v) * ((t + 10) * v) * ((t + 12) * v);
    return LOG(BELOW(z) ? p : (real)1);
}}
static inline real STEPS_SLOPE(real z) {{
    real u = BELOW(z) ? z : (real)1, t = u * (u + 7), a = t * (t + 12), b = (t + 6) * (t + 10);
    real s = (2 * u + 7) * ((2 * t + 12) * b + a * (2 * t + 16)) / (a * b);
    return BELOW(z) ? s : (real)0;
}}
static inline real LGAMMA(real z) {{
    real w = RAISED(z);
    return (z - (real)0.5) * LOG(w) - w + (real)0.9189385332046727 + SERIES(w) - STEPS(z, w);
}}
static inline real DIGAMMA(real z) {{
    real w = RAISED(z);
    return LOG(w) - (real)0.5 / w + SLOPES(w) - STEPS_SLOPE(z);
}}
static inline real STIRLING(real z) {{
    real w = RAISED(z), up = (z - (real)0.5) * LOG(w / z) - 8 - STEPS(z, w);
    return SERIES(w) + (BELOW(z) ? up : (real)0);
}}
static inline real STIRLING_SLOPE(real z) {{
    real w = RAISED(z), up = LOG(w / z) - (real)0.5 / w + (real)0.5 / z - STEPS_SLOPE(z);
    return SLOPES(w) + (BELOW(z) ? up : (real)0);
}}
"""
