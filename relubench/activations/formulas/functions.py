"""Every function that a formula may call, as a row: arguments, meaning, other names. A literal table, torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MANY = 100
"""Most arguments of min and max."""


@dataclass(frozen=True, slots=True)
class FunctionRow:
    """What is known of one function before anything is computed."""

    signature: str
    """name(arguments), with the defaults of those that may be left out."""
    formula: str
    also: str = ""
    """Other names, separated by spaces. Case and underscores never count."""
    definition: str = ""
    """A formula in the arguments that is put in its place; empty where the evaluator computes it."""
    most: int = 0
    """Most arguments, where the signature does not say it."""

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments' names, in order."""
        return tuple(argument.partition("=")[0].strip() for argument in self._inside())

    @property
    def defaults(self) -> Mapping[str, str]:
        """Argument -> the text of its default, for those that may be left out."""
        pairs = (argument.partition("=") for argument in self._inside())
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}

    @property
    def counts(self) -> tuple[int, int]:
        """Least and most arguments."""
        return len(self.arguments) - len(self.defaults), self.most or len(self.arguments)

    def _inside(self) -> list[str]:
        return self.signature.partition("(")[2].removesuffix(")").split(",")


_ROWS = (
    FunctionRow("exp(x)", "e^x"),
    FunctionRow("exp2(x)", "2^x"),
    FunctionRow("expm1(x)", "e^x - 1"),
    FunctionRow("log(x)", "natural logarithm", "ln loge"),
    FunctionRow("log1p(x)", "log(1+x)"),
    FunctionRow("log2(x)", "logarithm to base 2"),
    FunctionRow("log10(x)", "logarithm to base 10", "lg"),
    FunctionRow("sqrt(x)", "square root"),
    FunctionRow("cbrt(x)", "cube root, with x's sign"),
    FunctionRow("rsqrt(x)", "1/sqrt(x)", definition="1/sqrt(x)"),
    FunctionRow("square(x)", "x**2", "sqr", definition="x**2"),
    FunctionRow("cube(x)", "x**3", definition="x**3"),
    FunctionRow("reciprocal(x)", "1/x", definition="1/x"),
    FunctionRow("pow(x, exponent)", "x**exponent", "power float_power"),
    FunctionRow("abs(x)", "x without its sign; |x| is the same", "absolute fabs"),
    FunctionRow("sign(x)", "-1, 0 or 1", "sgn signum"),
    FunctionRow("heaviside(x, at_zero=0.5)", "0 below 0, 1 above, at_zero at 0", "step unit_step"),
    FunctionRow("floor(x)", "the whole number below"),
    FunctionRow("ceil(x)", "the whole number above", "ceiling"),
    FunctionRow("round(x)", "the nearest whole number, of two the even one", "rint"),
    FunctionRow("trunc(x)", "x without its decimals", "fix"),
    FunctionRow("min(x, y)", "the least of two or more", "minimum fmin amin reduce_min", most=MANY),
    FunctionRow("max(x, y)", "the greatest of two or more", "maximum fmax amax reduce_max", most=MANY),
    FunctionRow("clip(x, min, max)", "min(max(x, min), max); min= or max= alone will do", "clamp clip_by_value"),
    FunctionRow("where(condition, x, y)", "x where the condition holds, y elsewhere", "piecewise ifelse iif"),
    FunctionRow("sin(x)", "sine"),
    FunctionRow("cos(x)", "cosine"),
    FunctionRow("tan(x)", "tangent"),
    FunctionRow("sec(x)", "1/cos(x)", definition="1/cos(x)"),
    FunctionRow("csc(x)", "1/sin(x)", "cosec", definition="1/sin(x)"),
    FunctionRow("cot(x)", "cos(x)/sin(x)", "cotan ctg", definition="1/tan(x)"),
    FunctionRow("asin(x)", "the inverse of sin", "arcsin"),
    FunctionRow("acos(x)", "the inverse of cos", "arccos"),
    FunctionRow("atan(x)", "the inverse of tan", "arctan arctg"),
    FunctionRow("atan2(y, x)", "the angle of the point (x, y)", "arctan2"),
    FunctionRow("sinh(x)", "(e^x - e^-x)/2", "sh"),
    FunctionRow("cosh(x)", "(e^x + e^-x)/2", "ch"),
    FunctionRow("tanh(x)", "sinh(x)/cosh(x)", "th"),
    FunctionRow("sech(x)", "1/cosh(x)"),
    FunctionRow("csch(x)", "1/sinh(x)", "cosech"),
    FunctionRow("coth(x)", "1/tanh(x)", definition="1/tanh(x)"),
    FunctionRow("asinh(x)", "the inverse of sinh", "arcsinh arsinh"),
    FunctionRow("acosh(x)", "the inverse of cosh", "arccosh arcosh"),
    FunctionRow("atanh(x)", "the inverse of tanh", "arctanh artanh"),
    FunctionRow("sinc(x)", "sin(pi*x)/(pi*x), as NumPy's and PyTorch's; sinc(x/pi) is sin(x)/x"),
    FunctionRow("hypot(x, y)", "sqrt(x**2 + y**2)"),
    FunctionRow("logaddexp(x, y)", "log(exp(x) + exp(y))"),
    FunctionRow("xlogy(x, y)", "x*log(y), 0 where x is 0"),
    FunctionRow("erf(x)", "the error function"),
    FunctionRow("erfc(x)", "1 - erf(x)"),
    FunctionRow("erfinv(x)", "the inverse of erf"),
    FunctionRow("ndtr(x)", "the normal distribution's P(z <= x)", "Phi normcdf normal_cdf norm_cdf std_normal_cdf"),
    FunctionRow("log_ndtr(x)", "log(ndtr(x))", "normlogcdf"),
    FunctionRow(
        "normpdf(x)", "the normal distribution's density", "normal_pdf norm_pdf", definition="exp(-x**2/2)/sqrt(2*pi)"
    ),
    FunctionRow("lgamma(x)", "log|Gamma(x)|", "gammaln loggamma"),
    FunctionRow("digamma(x)", "the slope of lgamma", "psi"),
    FunctionRow("lambertw(x)", "the w >= -1 with w*exp(w) = x, for x >= -1/e", "lambert_w productlog"),
    FunctionRow("logit(x)", "log(x/(1-x))", definition="log(x) - log(1 - x)"),
    FunctionRow("sigmoid(x)", "1/(1+exp(-x))", "sigma expit logistic sigm"),
    FunctionRow("logsigmoid(x)", "log(sigmoid(x))", "log_sigmoid log_expit"),
    FunctionRow("hardsigmoid(x)", "min(max(x + 3, 0), 6)/6", "hsigmoid"),
    FunctionRow("softplus(x, beta=1, threshold=20)", "log(1+exp(beta*x))/beta, and x where beta*x > threshold"),
    FunctionRow("softsign(x)", "x/(1+abs(x))"),
    FunctionRow("relu(x)", "max(0, x)"),
    FunctionRow("relu6(x)", "min(max(0, x), 6)"),
    FunctionRow("leaky_relu(x, negative_slope=0.01)", "x where x > 0, negative_slope*x elsewhere", "lrelu"),
    FunctionRow("prelu(x, weight)", "x where x > 0, weight*x elsewhere", definition="leaky_relu(x, weight)"),
    FunctionRow("squared_relu(x)", "max(0, x)**2", "relu2 relu_squared", definition="relu(x)**2"),
    FunctionRow("threshold(x, threshold, value)", "x where x > threshold, value elsewhere"),
    FunctionRow("elu(x, alpha=1)", "x where x > 0, alpha*(exp(x)-1) elsewhere"),
    FunctionRow("celu(x, alpha=1)", "x where x > 0, alpha*(exp(x/alpha)-1) elsewhere"),
    FunctionRow("selu(x)", "1.0507*elu(x, 1.67326)"),
    FunctionRow("gelu(x)", "x*ndtr(x)"),
    FunctionRow("gelu_tanh(x)", "x/2*(1+tanh(sqrt(2/pi)*(x+0.044715*x**3)))", "gelu_new gelu_fast"),
    FunctionRow("quick_gelu(x)", "x*sigmoid(1.702*x)", definition="x*sigmoid(1.702*x)"),
    FunctionRow("silu(x)", "x*sigmoid(x)"),
    FunctionRow("swish(x, beta=1)", "x*sigmoid(beta*x)", definition="x*sigmoid(beta*x)"),
    FunctionRow("mish(x)", "x*tanh(softplus(x))"),
    FunctionRow("hardswish(x)", "x*min(max(x + 3, 0), 6)/6", "hswish hard_silu"),
    FunctionRow("hardtanh(x, min_val=-1, max_val=1)", "min(max(x, min_val), max_val)", "htanh"),
    FunctionRow("lecun_tanh(x)", "1.7159*tanh(2*x/3)", "scaled_tanh", definition="1.7159*tanh(2*x/3)"),
    FunctionRow("tanhshrink(x)", "x - tanh(x)"),
    FunctionRow("hardshrink(x, lambd=0.5)", "x where abs(x) > lambd, 0 elsewhere"),
    FunctionRow("softshrink(x, lambd=0.5)", "sign(x)*max(abs(x) - lambd, 0)"),
    FunctionRow("identity(x)", "x", "linear", definition="x"),
    *(
        FunctionRow(signature, definition, also, definition)
        for signature, definition, also in (
            ("isru(x, alpha=1)", "x/sqrt(1+alpha*x**2)", ""),
            ("isrlu(x, alpha=1)", "where(x>=0, x, x/sqrt(1+alpha*x**2))", ""),
            ("squareplus(x, b=4)", "(x+sqrt(x**2+b))/2", ""),
            ("bent_identity(x)", "(sqrt(x**2+1)-1)/2+x", ""),
            ("lisht(x)", "x*tanh(x)", ""),
            ("tanhexp(x)", "x*tanh(exp(x))", "telu"),
            ("snake(x, a=1)", "x+sin(a*x)**2/a", ""),
            ("logish(x)", "x*log(1+sigmoid(x))", ""),
            ("smish(x)", "x*tanh(log(1+sigmoid(x)))", ""),
            ("serf(x)", "x*erf(softplus(x))", ""),
            ("elish(x)", "where(x>=0, x, exp(x)-1)*sigmoid(x)", ""),
            ("gcu(x)", "x*cos(x)", ""),
            ("logcosh(x)", "abs(x)+softplus(-2*abs(x))-log(2)", ""),
        )
    ),
)


def fold(name: str) -> str:
    """The name as it is looked up: case and underscores do not count."""
    return name.lower().replace("_", "")


FUNCTIONS: dict[str, FunctionRow] = {row.name: row for row in _ROWS}

NAMES: dict[str, str] = {fold(name): row.name for row in _ROWS for name in (row.name, *row.also.split())}
"""Folded name -> the row's name, for every name that calls a function."""

OPERATIONS: dict[str, str] = {
    "add": "+",
    "subtract": "-",
    "sub": "-",
    "multiply": "*",
    "mul": "*",
    "divide": "/",
    "div": "/",
    "truedivide": "/",
    "gt": ">",
    "greater": ">",
    "ge": ">=",
    "greaterequal": ">=",
    "lt": "<",
    "less": "<",
    "le": "<=",
    "lessequal": "<=",
    "eq": "==",
    "equal": "==",
    "ne": "!=",
    "notequal": "!=",
    "logicaland": "and",
    "logicalor": "or",
}
"""Folded name -> the operator that a function of two arguments stands for."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SAME = _words("float double float32 float64 tensor astensor asarray array constant clone contiguous cast")
"""Folded names of functions and methods that change neither value nor slope."""

SAME_METHODS = SAME | _words("to type typeas astype half bfloat16")
"""The same among methods, whose arguments are types."""

FILLED = {"zeroslike": "0", "oneslike": "1", "zeros": "0", "ones": "1"}
"""Folded name -> the number that such a tensor is filled with."""

NEIGHBOURS = _words(
    "softmax softmin logsoftmax sparsemax glu maxout layernorm batchnorm normalize mean sum std var cumsum norm "
    "polynorm"
)
"""Folded names of what reads an entry's neighbours."""

RANDOM = _words("rrelu dropout rand randn randlike randnlike bernoulli normal uniform gumbelsoftmax")
"""Folded names of what draws random numbers."""

MODULES = _words(
    "torch nn functional F special numpy np jnp jax lax scipy math Math cmath tf tensorflow keras K ops backend "
    "activations Tensor xp cp cupy mx stats norm layers experimental"
)
"""What may stand before the dots of a function's name."""

CONTEXT = {("tf", "leakyrelu"): 0.2, ("keras", "leakyrelu"): 0.2}
"""(Package, folded name) -> the second argument that the function has there by default."""

KEYWORDS: dict[str, dict[str, str]] = {
    "": {"input": "x", "x": "x", "a": "x", "self": "x", "features": "x", "z": "x"},
    "clip": {"a_min": "min", "a_max": "max", "min_val": "min", "max_val": "max"}
    | {"min_value": "min", "max_value": "max", "clip_value_min": "min", "clip_value_max": "max"},
    "leaky_relu": {"alpha": "negative_slope", "slope": "negative_slope"},
    "hardshrink": {"threshold": "lambd"},
    "softshrink": {"threshold": "lambd"},
}
"""Function ('' for all) -> what an argument is called elsewhere -> what it is called here."""

IGNORED = frozenset(("inplace", "name", "dtype", "device", "requires_grad", "out_dtype"))
"""Keywords that do not change a value."""
