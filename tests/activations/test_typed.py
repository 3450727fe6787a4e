"""Formulas as people type them, in the words of several libraries and of paper, and parameters with their values."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relubench.activations import build, select
from relubench.activations.formulas.canonical_form import MAX_NODES
from relubench.activations.formulas.evaluator import evaluator
from relubench.activations.formulas.formula import parse_formula
from relubench.activations.formulas.functions import FUNCTIONS, NAMES
from relubench.activations.formulas.tokens import MAX_CHARACTERS
from relubench.errors import UsageError

X = torch.linspace(-4, 4, 33, dtype=torch.float64)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # What was taken before keeps its text, of which the run's id is made.
        ("x * sigmoid( 1.7*x )", "x*sigmoid(1.7*x)"),
        ("0.5*x*(1 + erf(x/sqrt(2)))", "0.5*x*(1+erf(x/sqrt(2)))"),
        ("where(x > 0, x, 0.1*(exp(x) - 1))", "where(x>0,x,0.1*(exp(x)-1))"),
        ("e**-x**2", "e**(-x**2)"),
        ("pow(x, 3)/3", "x**3/3"),
        ("sqrt(x**2+1)**-1", "sqrt(x**2+1)**(-1)"),
        ("x*(-1 < x < 1)", "x*(-1<x<1)"),
        ("-x--1", "-x--1"),
        ("0x1F*x + 1_000 + 1e-3", "31*x+1000+0.001"),
        ("1000000*x", "1000000.0*x"),
        ("x-(1-x)", "x-(1-x)"),
        ("exp(-(x**2))", "exp(-x**2)"),
        ("hardtanh(x)*2", "hardtanh(x)*2"),
        # Packages, methods, layers.
        ("torch.nn.functional.silu(x)", "silu(x)"),
        ("jnp.tanh(x) + jax.nn.softplus(x)", "tanh(x)+softplus(x)"),
        ("tf.nn.elu(x) + tf.math.erf(x)", "elu(x)+erf(x)"),
        ("K.abs(x) + keras.activations.selu(x)", "abs(x)+selu(x)"),
        ("scipy.special.expit(x)", "sigmoid(x)"),
        ("x.pow(2).neg().exp()", "exp(-x**2)"),
        ("(x+1).sigmoid()", "sigmoid(x+1)"),
        ("x.clamp(max=6)", "min(x,6)"),
        ("x.clip(-1, 1)", "clip(x,-1,1)"),
        ("np.clip(x, a_min=0, a_max=None)", "max(x,0)"),
        ("torch.clamp_min(x, 0)", "max(x,0)"),
        ("nn.ELU(alpha=0.5)(x)", "elu(x,0.5)"),
        ("nn.ReLU(inplace=True)(x)", "relu(x)"),
        ("nn.GELU('tanh')(x)", "gelu_tanh(x)"),
        ("LeakyReLU(x)", "leaky_relu(x)"),
        ("tf.nn.leaky_relu(x)", "leaky_relu(x,0.2)"),
        ("F.leaky_relu(x, 0.01)", "leaky_relu(x)"),
        ("F.softplus(x, beta=1, threshold=20)", "softplus(x)"),
        ("F.softplus(x, threshold=10)", "softplus(x,1,10)"),
        ("torch.where(x > 0, x, torch.zeros_like(x))", "where(x>0,x,0)"),
        ("torch.max(x, torch.tensor(0.0))", "max(x,0)"),
        ("torch.mul(x, torch.gt(x, 0).float())", "x*(x>0)"),
        ("torch.add(x, 1).div(2)", "(x+1)/2"),
        ("gelu(x, approximate='none') + jax.nn.gelu(x)", "gelu(x)+gelu_tanh(x)"),
        ("F.relu(input=x)", "relu(x)"),
        ("math.pi*x + np.e", "pi*x+e"),
        # Paper.
        ("1.702x", "1.702*x"),
        ("2(x+1)(x-1)", "2*(x+1)*(x-1)"),
        ("x(1+x)", "x*(1+x)"),
        ("||x|-1| + 2|x|", "abs(abs(x)-1)+2*abs(x)"),
        ("|x - |x||", "abs(x-abs(x))"),
        ("x² − x³ – x⁻¹", "x**2-x**3-x**(-1)"),
        ("√(x²+1)", "sqrt(x**2+1)"),
        ("2·x × x ÷ 3", "2*x*x/3"),
        ("¼x + ½", "1/4*x+1/2"),
        ("e⁻ˣ", "e**(-x)"),
        ("max(x, 0)²", "max(x,0)**2"),
        ("x ≥ 0 ? x : −1", "where(x>=0,x,-1)"),
        ("\\frac{x}{1+e^{-x}}", "x/(1+e**(-x))"),
        ("$\\max\\left(0, x\\right)$", "max(0,x)"),
        ("\\operatorname{erf}(x) + \\ln(1+x^{2})", "erf(x)+log(1+x**2)"),
        ("\\sqrt{x^2+1}\\cdot\\lvert x\\rvert", "sqrt(x**2+1)*abs(x)"),
        ("ｘ＊２", "x*2"),
        # What stands in front.
        ("lambda z: z*torch.sigmoid(z)", "x*sigmoid(x)"),
        ("def f(t): return t.tanh()", "tanh(x)"),
        ("y = f(x) = x*tanh(x)", "x*tanh(x)"),
        ("act = lambda x: F.relu(x)", "relu(x)"),
        ("return x*2", "x*2"),
        ("z -> z**2", "x**2"),
        # Choices and conditions.
        ("0 if x < 0 else 1 if x > 1 else x", "where(x<0,0,where(x>1,1,x))"),
        ("x*(x > 0 and x < 1)", "x*((x>0)*(x<1))"),
        ("x if not (x > 1 or x < -1) else 0", "where(1-max(x>1,x<-1),x,0)"),
        ("np.where(np.logical_and(x > 0, x < 1), x, 0)", "where((x>0)*(x<1),x,0)"),
        # Parameters.
        ("x*sigmoid(b*x), b=1.702", "x*sigmoid(b*x):b=1.702"),
        ("x*sigmoid(b*x):b = 1.7020", "x*sigmoid(b*x):b=1.702"),
        ("a*x + sin(b*x)**2/b,b=1,a=1.0", "a*x+sin(b*x)**2/b:a=1:b=1"),
        ("x*sigmoid(βx), β~1", "x*sigmoid(beta*x):beta~1"),
        ("max(x,0)+a*min(x,0) , a ~ 1/4", "max(x,0)+a*min(x,0):a~0.25"),
        ("a(x - b) + x, a=-1, b=pi", "a*(x-b)+x:a=-1:b=3.141592653589793"),
        ("abs(x)**p, p~1.5", "abs(x)**p:p~1.5"),
        ("x*sigma, sigma=2", "x*sigma:sigma=2"),
        ("F.elu(x, alpha=a), a~1", "elu(x,a):a~1"),
        ("x + (1-cos(2ax))/(2a), a~1", "x+(1-cos(2*a*x))/(2*a):a~1"),
        ("ax² + x; a = 2", "a*x**2+x:a=2"),
        ("ax + b, b=1, a=2", "a*x+b:a=2:b=1"),
        ("max(0, 2ax), a~0.5", "max(0,2*a*x):a~0.5"),
        ("x*sigmoid(b*x) with b=1.5", "x*sigmoid(b*x):b=1.5"),
        ("x*sigmoid(b₁x), where b₁~1", "x*sigmoid(b1*x):b1~1"),
        ("sin²(x) + tanh^2(x)", "sin(x)**2+tanh(x)**2"),
        ("x => Math.max(0, x)", "max(0,x)"),
        ("f(z) := z*cosh(z)", "x*cosh(x)"),
        ("snake(x, a), a~2", "x+sin(a*x)**2/a:a~2"),
    ],
)
def test_what_is_typed_has_one_canonical_text(text: str, canonical: str):
    formula = parse_formula(text)
    assert formula.text == canonical
    assert parse_formula(canonical) == formula
    (choice,) = select([text])
    assert choice.label == choice.name == canonical
    assert select([f"relu, {text}, tanh"])[1] == choice


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("1/2x", "ambiguous after a division", r"1/\(2\*x\)"),
        ("1/x(1+x)", "ambiguous after a division", r"1/\(2\*x\)"),
        ("x^2(x+1)", "ambiguous after a division or a power", r"x\*\*2\*\(x\+1\)"),
        ("e^2x", "ambiguous", "write the sign"),
        ("√x²", "under the root is ambiguous", r"√\(2\*x\)"),
        ("e(-x) + x", "'e' is not a function", r"exp\(...\)"),
        ("tanh x", "'tanh' is a function", r"write tanh\(...\)"),
        ("tan^-1(x)", "'tan' is a function", r"1/tan\(x\), or the inverse's name"),
        ("x*lambda, lambda=1", "'lambda' does not belong here", "lam"),
        ("x*1/ax, a=1", "ambiguous after a division", "write the sign"),
        ("F.relu + x", "'relu' is a function", "write relu"),
        ("torch.foobar(x)", "'foobar' is not known", "list functions"),
        ("torch.sigmiod(x)", "'sigmiod' is not known", "did you mean sigmoid"),
        ("x.tahn()", "'tahn' is not known", "did you mean tan or tanh"),
        ("os.system(x)", "'system' is not known", "list functions"),
        ("x.__class__()", "'__class__' is not known", "list functions"),
        ("x.relu_()", "works in place", r"write relu\(...\)"),
        ("F.softmax(x)", "neighbours", "list activations"),
        ("x.mean() + x", "neighbours", "list activations"),
        ("F.dropout(x)", "random", "nrelu"),
        ("keras.activations.hard_sigmoid(x)", "Keras 2", r"relu6\(x \+ 3\)/6"),
        ("F.elu(x, beta=2)", r"elu\(\) has no argument 'beta' left", r"it is elu\(x, alpha=1\)"),
        ("clip(x)", "takes 3 arguments, not 1", r"clip\(x, min, max\)"),
        ("gelu(x, approximate='fast')", "'tanh' or 'none'", "gelu_tanh"),
        ("x % 1", "an operation is one of", r"x - floor\(x\)"),
        ("x and 1", "joins conditions only", "where"),
        ("|x", "brackets or bars do not pair", "two bars"),
        ("(|x)|", "brackets or bars do not pair", "two bars"),
        ("z*tanh(z) + x", "'z' is not known", "lambda z"),
        ("x*np.inf", "'inf' after a dot", "x.tanh"),
        ("b*x", "'b' is not known", r"b=0.25 \(fixed\) or b~0.25 \(learned\)"),
        ("x*tanh(x), b=1", "no parameter 'b'", "leave its value out"),
        ("x*tanh(x), x=1", "cannot be called 'x'", "a, b or beta"),
        ("tanh*x, tanh=1", "cannot be called 'tanh'", "a, b or beta"),
        ("pi*x, pi=3", "cannot be called 'pi'", "a, b or beta"),
        ("b*x, b=1, b=2", "b is given twice", "once"),
        ("b*x, b=tanh(1)", "value of 'b' is not a number", "a=0.25"),
        ("b*x, b=c", "'c' is not known", "fixed"),
        ("b*x, b~1e999", "too large", "made of"),
        ("x/b, b=0", "division by zero", "made of"),
        ("x**p, p=11", "at most 10 in size", "smaller"),
        ("x*b, b", "'b' after the formula is not of the form name=value", "follows the formula"),
        ("x*b:b~", "is not a formula", "made of"),
        ("+".join(f"p{i}*x" for i in range(11)) + "".join(f", p{i}=1" for i in range(11)), "at most 10", "shorter"),
        ("square(square(x))", "a power of a power", "multiply"),
        ("x" + "".join(f"^{i}" for i in range(9) for _ in range(20)), "a power of a power|nests at most", "."),
        ("quick_gelu(" * 12 + "x" + ")" * 12, "at most 100 numbers|nests at most", "shorter|flatter"),
    ],
)
def test_what_is_refused_says_what_to_type_instead(text: str, message: str, hint: str):
    with pytest.raises(UsageError, match=message) as refusal:
        parse_formula(text)
    with pytest.raises(AssertionError, match=hint):
        raise AssertionError(refusal.value.hint)
    assert len(refusal.value.message) < 250
    assert "product is written 2*(x+1)" not in refusal.value.hint


def test_every_function_is_taken_by_each_of_its_names():
    for other, name in NAMES.items():
        row = FUNCTIONS[name]
        numbers = ["x > 0" if argument == "condition" else "0.5" for argument in row.arguments]
        arguments = ", ".join(["x", *numbers[1:]] if numbers[0] == "0.5" else [*numbers[:1], "x", *numbers[2:]])
        texts = {parse_formula(f"{written}({arguments})").text for written in (other, name, f"torch.{other.upper()}")}
        assert len(texts) == 1
        evaluator(parse_formula(texts.pop()))(X)


def test_what_stands_for_a_function_means_the_same():
    for row in FUNCTIONS.values():
        if row.definition and row.counts == (1, 1):
            short, long = (evaluator(parse_formula(text)) for text in (f"{row.name}(x)", row.definition))
            assert torch.equal(short(X).nan_to_num(), long(X).nan_to_num())


def test_a_formula_s_parameters_belong_to_it():
    choices = select(["relu, x*sigmoid(b*x), b~1, tanh, elu:alpha=2, 0.5*x*sigmoid(b*x):b=1.7, a*x+b, a=1, b=2"])
    assert [(choice.label, choice.learned) for choice in choices] == [
        ("relu", 0),
        ("x*sigmoid(b*x):b~1", 1),
        ("tanh", 0),
        ("elu:alpha=2", 0),
        ("0.5*x*sigmoid(b*x):b=1.7", 0),
        ("a*x+b:a=1:b=2", 0),
    ]
    assert build(choices[1]).learned == (1.0,)
    assert build(choices[5]).learned == ()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("x**p, p~2", "the slope in p of .* is not finite", r"abs\(x\)\*\*p"),
        ("x + (x > b), b~1", "b of .* has the slope 0 at its start, 1", "b=1"),
        ("(x > b*x), b~2", "b of .* has the slope 0 at its start, 2", "b=2"),
        ("x*floor(b), b~1.5", "b of .* has the slope 0 at its start, 1.5", "b=1.5"),
        ("x + b*c*x, b~0, c~0", "b of .* has the slope 0 at its start, 0", "start it elsewhere"),
        ("x*sqrt(b) + log(b)*x, b~0", "is not finite|infinite", "."),
    ],
)
def test_a_parameter_that_cannot_learn_is_refused(text: str, message: str, hint: str):
    (choice,) = select([text])
    with pytest.raises(UsageError, match=message) as refusal:
        build(choice)
    with pytest.raises(AssertionError, match=hint):
        raise AssertionError(refusal.value.hint)


@pytest.mark.parametrize(
    ("formula", "name"), [("x*sigmoid(b*x), b~1", "swish"), ("where(x>0, x, a*x), a~0.25", "prelu")]
)
def test_a_learned_formula_is_the_table_s(formula: str, name: str):
    mine, theirs = (build(select([text])[0]) for text in (formula, name))
    assert mine.learned == theirs.learned
    z = torch.linspace(-3, 3, 50)
    for learned in ((), (torch.tensor([0.4]),)):
        torch.testing.assert_close(mine.function(z, learned=learned), theirs.function(z, learned=learned))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("elu, alpha=2", "'alpha=2' gives a parameter its value", "write elu:alpha=2"),
        ("b=1", "there is no formula before it", r"x\*sigmoid\(b\*x\), b=1.7"),
        ("relu, b~1, x*b", "there is no formula before it", "write relu:b~1"),
        ("0,5*x", "no activation called '0'", "a number is written 0.5"),
        ("sinc", "no activation called 'sinc'", r"as a formula it is sinc\(x\)"),
        ("torch.relu", "no activation called 'torch.relu'", r"as a formula it is relu\(x\)"),
        ("x," * 50_000 + "x", "at most 100,000 characters, not 100,001", "fewer"),
        ("x," * 1_000 + "x", "at most 1,000 activations", "fewer"),
        ("b" * 30_000, "at most 20,000 characters, not 30,000", "shorter"),
        ("[" * 30_000, "at most 20,000 characters, not 30,000", "shorter"),
        ("(" * 15_000 + "x", "at most 500 characters, not 15001", "shorter"),
        ("x*b" + ", b=1" * 900, "at most 500 characters", "shorter"),
        ("./" + "y" * 5000 + ":Name", "there is no file|cannot be read", "."),
        ("./mine.py:" + "y " * 5000, "does not say which", "file.py:Name"),
    ],
)
def test_what_act_refuses(text: str, message: str, hint: str):
    with pytest.raises(UsageError, match=message) as refusal:
        select([text])
    with pytest.raises(AssertionError, match=hint):
        raise AssertionError(refusal.value.hint)
    assert len(refusal.value.message) < 300
    assert len(refusal.value.hint) < 300


MARKS = "xx+-*/^()<>=!,.|~:?²√πσ·−\\{}&½ 2e"
WORDS = ["b", "b~1", ", b=2", "torch.", "np.", ".clamp(", "min=", "lambda z:", "y =", "max(", "where(", "swish("]
MORE_WORDS = ["quick_gelu(", "\\frac{", " if ", " else ", " and ", "not ", "9**", "'tanh'", "x.tanh()", ", "]
PIECES = st.sampled_from([*MARKS, *WORDS, *MORE_WORDS])


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60))
@settings(max_examples=400, deadline=10_000)
def test_any_text_is_a_formula_or_refused(text: str):
    try:
        formula = parse_formula(text)
    except UsageError as problem:
        assert len(problem.message) < 300
        return
    assert len(formula.text) <= MAX_CHARACTERS
    assert parse_formula(formula.text) == formula
    try:
        evaluator(formula)(X)
    except UsageError:
        return


NESTED = st.lists(
    st.sampled_from(["swish({},2)", "sqr({})", "normpdf({})", "{}.logit()", "quick_gelu({})"]), max_size=30
)


@given(NESTED)
@settings(max_examples=100, deadline=10_000)
def test_what_is_put_in_a_function_s_place_stays_bounded(forms: list[str]):
    text = functools.reduce(lambda inner, form: form.format(inner), forms, "x")
    try:
        formula = parse_formula(text)
    except UsageError:
        return
    assert formula.text.count("x") <= MAX_NODES


@pytest.mark.parametrize("text", ["leaky_relu(0.2)(x)", "sin(2)(x)", "elu(1)(x+1)"])
def test_a_call_with_a_bracket_behind_it_is_refused(text: str):
    with pytest.raises(UsageError, match="a call with a bracket behind it"):
        select([text])


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("w*sigmoid(w)", "x*sigmoid(x)"),
        ("X*torch.tanh(X)", "x*tanh(x)"),
        ("np.sin(u) + u", "sin(x)+x"),
        ("F.softplus(v)/2", "softplus(x)/2"),
        ("maximum(0, h)", "max(0,x)"),
        ("g.tanh()*g", "tanh(x)*x"),
        ("|y|", "abs(x)"),
        ("e**u + 1", "e**x+1"),
        ("c*u*sigmoid(u), c=1.5", "c*x*sigmoid(x):c=1.5"),
        ("r if r > 0 else 0.3*r", "where(x>0,x,0.3*x)"),
    ],
)
def test_a_single_free_letter_stands_for_x(text: str, canonical: str):
    assert [one.label for one in select([text])] == [canonical]


@pytest.mark.parametrize("text", ["u*v", "e*pi", "w", "./u/v.py:w", "u/relu.py:w", "q*zeta(q)"])
def test_two_letters_constants_and_paths_are_no_formulas(text: str):
    with pytest.raises(UsageError, match=r"there is no|no activation's name"):
        select([text])


def test_a_pattern_of_names_stays_one():
    assert {one.label for one in select(["s*"])} >= {"sigmoid", "softplus"}
