"""Formulas → code: derivatives against finite differences, the twins against each other, and what is refused."""

import ctypes

import pytest
import torch

from mmppl.kernels import counts, likelihood, mmd
from mmppl.kernels.codegen import cache, generate
from mmppl.kernels.codegen.c_backend import available, compiled_kernels, library
from mmppl.kernels.codegen.formula import FormulaError
from mmppl.kernels.codegen.generate import FORMULAS, Formula

ALL = Formula(
    "everything",
    "u = exp(-abs(x - m)); softplus(x)*u**3 + log1p(u) + tanh(s)*sqrt(x + 3) + clip(s, 0.5, 1.5)**2"
    " - sigmoid(m)/log(s + 2) + sign(x)*x**1.5 + pi",
    ("x", "m", "s"),
    ("x", "m", "s"),
)
GAMMA = Formula(
    "of_gamma", "lgamma(x) + stirling(4*x + y) - stirling(x) + lgamma(9*y)", ("x", "y"), ("x", "y")
)  # below and beyond the step at 8
mmd.rbf(1.0, 2.0, 4.0), mmd.imq(1.0), mmd.laplacian(1.0)
KERNELS = (likelihood.bernoulli, likelihood.normal, likelihood.normal_predicted, likelihood.laplace, counts.zinb)
NAMES = ["everything", "of_gamma", *(k.name for k in KERNELS), "rbf_doubling_3", "imq_1", "laplacian_1"]


@pytest.fixture(autouse=True)
def only_for_now(monkeypatch):
    """Formulas that a test makes, refused ones among them, are forgotten after it."""
    monkeypatch.setattr("mmppl.kernels.codegen.generate.FORMULAS", dict(FORMULAS))


def points(formula, count=40):
    rng = torch.Generator().manual_seed(0)
    return list(2 * torch.rand(len(formula.arguments), count, generator=rng, dtype=torch.float64) + 0.1)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_autograds(name):
    formula = FORMULAS[name]
    leaves = [p.requires_grad_() for p in points(formula)]
    value = formula.value(*leaves)
    by_name = dict(zip(formula.arguments, leaves))
    want = torch.autograd.grad(value.sum(), [by_name[n] for n in formula.wrt])
    got = formula.value_and_grad(*leaves)
    torch.testing.assert_close(got[0], value)
    torch.testing.assert_close([torch.as_tensor(g).expand(40).detach() for g in got[1:]], list(want))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_c_agrees_with_the_reference(name, dtype):
    if not available():
        pytest.skip("no C compiler")
    formula = FORMULAS[name]
    inputs = ", ".join(f"a[{i} * n + k]" for i in range(len(formula.arguments)))
    outputs = ", ".join(f"&out[{i} * n + k]" for i in range(1 + len(formula.wrt)))
    call = f"{formula.name}({inputs}, {outputs});"
    loop = f"void run(int64_t n, real *a, real *out) {{ for (int64_t k = 0; k < n; k++) {call} }}"
    arguments = torch.stack(points(formula)).to(dtype)
    out = torch.empty(1 + len(formula.wrt), 40, dtype=dtype)
    run = library(formula.c_source + loop, dtype).run
    run(ctypes.c_int64(40), ctypes.c_void_p(arguments.data_ptr()), ctypes.c_void_p(out.data_ptr()))
    want = torch.stack([torch.as_tensor(v, dtype=dtype).expand(40) for v in formula.value_and_grad(*arguments)])
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(out, want, rtol=20 * tolerance, atol=4 * tolerance)


KERNEL = """
@triton.jit
def kernel(a, out):
    i = tl.arange(0, 64)
    ok = i < 40
    result = value_and_grad({arguments})
{stores}
"""


@pytest.mark.parametrize("name", NAMES)
def test_triton_agrees_with_the_reference(name, triton_float64, tmp_path):
    formula = FORMULAS[name]
    loads = [f"tl.load(a + {k} * 40 + i, mask=ok, other=1.0)" for k in range(len(formula.arguments))]
    stores = [f"    tl.store(out + {k} * 40 + i, result[{k}], mask=ok)" for k in range(1 + len(formula.wrt))]
    file = tmp_path / "kernel.py"  # need not exist
    source = formula.triton_source + KERNEL.format(arguments=", ".join(loads), stores="\n".join(stores))
    arguments, out = torch.stack(points(formula)), torch.zeros(1 + len(formula.wrt), 40, dtype=torch.float64)
    generate._imported(file, source).kernel[(1,)](arguments, out)
    want = torch.stack([torch.as_tensor(v, dtype=torch.float64).expand(40) for v in formula.value_and_grad(*arguments)])
    torch.testing.assert_close(out, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x*q", "unknown symbol 'q'.*position 2"),
        ("x + floor(a)", "floor has no derivative by a, at position 4"),
        ("erf(a)", "unknown function 'erf'"),
        ("exp(a, x)", "takes 1 argument"),
        ("x[0]", "not arithmetic"),
        ("import os", "must end with an expression"),
        ("__import__('os').system('true')", "not arithmetic"),
        ("a**x", "an exponent must be a number"),
        ("x/0", "division by zero"),
        ("1 +", "not an expression"),
        ("log(-1)*a", "not defined there"),
        ("x = 3; x*a", "only 'new name = expression;'"),
    ],
)
def test_formulas_that_are_refused(text, words):
    with pytest.raises(FormulaError, match=words):
        _ = Formula("refused", text, ("x", "a"), ("a",)).reference


def test_a_wrong_derivative_is_noticed(monkeypatch):
    from mmppl.kernels.codegen import formula

    monkeypatch.setattr(generate, "FORMULAS", {})
    monkeypatch.setattr(formula.tanh, "fdiff", lambda self, argindex=1: 1 - self)
    with pytest.raises(ValueError, match="disagrees with finite differences"):
        _ = Formula("noticed", "tanh(a)*0.731", ("a",), ("a",)).reference


@pytest.mark.parametrize("word", ["pi", "torch", "_t0", "lambda", "exp", "real", "a b"])
def test_names_that_would_collide_are_refused(word):
    with pytest.raises(ValueError, match="cannot be a name"):
        Formula("fine", "x + 1", ("x", word), ("x",))


def test_a_cut_off_module_is_generated_again(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    first = Formula("cut_off", "2*x", ("x",), ("x",))
    assert first.value(torch.tensor(3.0)) == 6
    text = first.path().read_text()
    first.path().write_text(text[: len(text) // 2])
    assert Formula("cut_off", "2*x", ("x",), ("x",)).value(torch.tensor(3.0)) == 6


def test_a_damaged_library_is_compiled_again(monkeypatch, tmp_path):
    from mmppl.kernels.codegen import c_backend

    if not available():
        pytest.skip("no C compiler")
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    source = "#define real float" + c_backend.PREAMBLE + "int seven(void) { return 7; }"
    assert c_backend._load(source).seven() == 7
    (library_file,) = tmp_path.glob("*.so")
    library_file.unlink()
    library_file.write_bytes(b"no library")
    assert c_backend._load(source).seven() == 7


def test_a_formula_of_ones_own():
    """Student's t with 3 degrees of freedom, against torch's, on both paths."""
    student = likelihood.LikelihoodKernel("student_3", "-2*log1p((x - m)**2/3) - 1.0008888496235097")
    x, m = torch.randn(2, 6, 9, dtype=torch.float64)
    m.requires_grad_()
    want = torch.distributions.StudentT(torch.tensor(3.0, dtype=torch.float64), m).log_prob(x).sum(-1)
    for wanted in (True, False):
        with compiled_kernels(wanted):
            got = student(x, m)
            torch.testing.assert_close(got, want)
            torch.testing.assert_close(
                torch.autograd.grad(got.sum(), m), torch.autograd.grad(want.sum(), m, retain_graph=True)
            )
