"""Every user's mistake is one line: the field, its value, and what is allowed."""

import pytest

from problems import ProblemError, load, loads

PLAIN = '[space]\nmanifold = "circle"\n[attention]\nbeta = 1.0\n[initial]\nlaw = "uniform"\n'
MANIFOLDS = "circle, sphere, interval, rectangle, box, euclidean, file"
WEIGHTS = "beta, query, key, value, normalization, score, heads, layers, accuracy, support"
OUTPUTS = "must be a number of outputs from 2 to 1000000, or an increasing list of times from 0 to time.end = 8"
SQUARE = "must be a matrix of 2 x 2 numbers, a list of rows"

OVERRIDES = {
    # attention
    ("attention.beta", "-1.0"): 'attention.beta = -1.0; must be a number at least 0, or "inf"',
    ("attention.beta", "nan"): 'attention.beta = nan; must be a number at least 0, or "inf"',
    ("attention.beta", "cold"): 'attention.beta = "cold"; must be a number at least 0, or "inf"',
    ("attention.beta", "true"): 'attention.beta = true; must be a number at least 0, or "inf"',
    ("attention.beta", "1" + "0" * 400): f'attention.beta = 1{"0" * 95} ...; must be a number at least 0, or "inf"',
    ("attention.value", "[[1,2],[3,4],[5,6]]"): f"attention.value = [[1, 2], [3, 4], [5, 6]]; {SQUARE}, not 3 x 2",
    ("attention.value", "[[1.0,2.0],[3.0]]"): f"attention.value = [[1.0, 2.0], [3.0]]; {SQUARE}, not rows of unequal length",
    ("attention.value", "[1.0,2.0]"): f"attention.value = [1.0, 2.0]; {SQUARE}",
    ("attention.value", "2.0"): f"attention.value = 2.0; {SQUARE}",
    ("attention.value", "[[]]"): f"attention.value = [[]]; {SQUARE}, not 1 x 0",
    ("attention.value", "[[1.0,'a'],[0,1]]"): f"attention.value = [[1.0, 'a'], [0, 1]]; {SQUARE}",
    ("attention.value", "[[1.0,nan],[0,1]]"): "attention.value = [[1.0, nan], [0, 1]]; must have finite entries only",
    ("attention.query", "[[1.0,2.0]]"): "attention.query = [[1.0, 2.0]]; must have as many rows as attention.key, 2, not 1",
    ("attention.key", "[[1,2,3]]"): "attention.key = [[1, 2, 3]]; must be a matrix of k x 2 numbers, a list of rows, not 1 x 3",
    ("attention.normalization", "softmx"): 'attention.normalization = "softmx"; did you mean "softmax"? allowed: softmax, none',
    ("attention.valu", "1"): f'attention.valu = 1; unknown key, did you mean "value"? allowed: {WEIGHTS}',
    ("attention.heads", "[]"): "attention.heads = []; must be one or more tables, [[attention.heads]]",
    ("attention.heads", "[{valu=1}]"): (
        'attention.heads[0].valu = 1; unknown key, did you mean "value"? allowed: query, key, value'
    ),
    ("attention.layers", "[{until=2.0},{until=1.0}]"): (
        "attention.layers[1].until = 1.0; must increase from layer to layer, here beyond 2"
    ),
    ("attention.layers", "[{until=2.0}]"): (
        "attention.layers[0].until = 2.0; the last layer must reach time.end = 8.0, or go without until"
    ),
    ("attention.layers", "[{},{until=9.0}]"): "attention.layers[0].until: missing; only the last layer may go without",
    ("attention.layers", "[{beta=-3}]"): 'attention.layers[0].beta = -3; must be a number at least 0, or "inf"',
    ("attention.accuracy", "0"): "attention.accuracy = 0; must be a number at least 1e-16 and at most 0.1",
    # space
    ("space.manifold", "cirle"): f'space.manifold = "cirle"; did you mean "circle"? allowed: {MANIFOLDS}',
    ("space.manifold", "torus"): f'space.manifold = "torus"; allowed: {MANIFOLDS}',
    ("space.manifold", "interval"): "space.bounds: missing; must be 1 pair [a, b]",
    ("space.dimension", "3"): "space.dimension = 3; must be 2",
    ("space.bounds", "[[0,1]]"): 'space.bounds = [[0, 1]]; not for manifold = "circle", which takes dimension, grading',
    ("space.grading", "{half_width=0.1,ratio=0.5}"): "space.grading.ratio = 0.5; must be a number at least 1 and at most 64",
    ("space.grading", "lw"): 'space.grading = "lw"; must be "law" or a table with half_width and ratio',
    ("space.grading", "{half_width=0.1}"): "space.grading.ratio: missing; must be a number at least 1 and at most 64",
    ("space", "circle"): 'space = "circle"; must be a table, [space]',
    # noise, time
    ("noise.diffusivity", "-1"): "noise.diffusivity = -1; must be a number at least 0",
    ("noise.diffusion", "1"): 'noise.diffusion = 1; unknown key, did you mean "diffusivity"? allowed: diffusivity',
    ("time.end", "-1"): "time.end = -1; must be a number at least 0",
    ("time.end", "forever"): 'time.end = "forever"; must be a number at least 0, or "stationary"',
    ("time.outputs", "1"): f"time.outputs = 1; {OUTPUTS}",
    ("time.outputs", "2.5"): f"time.outputs = 2.5; {OUTPUTS}",
    ("time.outputs", "nan"): f"time.outputs = nan; {OUTPUTS}",
    ("time.outputs", "[0,9]"): f"time.outputs = 9.0; {OUTPUTS}",
    ("time.outputs", "[1,0]"): f"time.outputs = [1.0, 0.0]; {OUTPUTS}",
    ("time.outputs", "[]"): f"time.outputs = []; {OUTPUTS}",
    ("time.rescaled", "true"): (
        'time.rescaled = true; only for attention.normalization = "none" with the same beta in every layer'
    ),
    # density
    ("density.degree", "4"): "density.degree = 4; must be a whole number from 0 to 3",
    ("density.degree", "1.5"): "density.degree = 1.5; must be a whole number from 0 to 3",
    ("density.cells", "0"): "density.cells = 0; must be a whole number from 1 to 1000000000",
    ("density.geometry", "0"): "density.geometry = 0; must be a whole number from 1 to 3",
    ("density.cfl", "1.5"): (
        "density.cfl = 1.5; a CFL number that breaks the positivity bound; must be greater than 0 and at most 1"
    ),
    ("density.cfl", "0"): "density.cfl = 0; must be a number greater than 0 and at most 1",
    ("density.integrator", "ssprk3"): (
        'density.integrator = "ssprk3"; did you mean "ssprk33"? '
        "allowed: euler, ssprk22, ssprk33, ssprk104, rk45, arkimex, bdf, theta"
    ),
    ("density.limiter", "1"): "density.limiter = 1; must be true or false",
    ("density", "3"): "density = 3; must be a table, [density]",
    # particles, compare, title
    ("particles.count", "0"): "particles.count = 0; must be a whole number from 1 to 1000000000",
    ("particles.sampling", "grid"): 'particles.sampling = "grid"; allowed: quadrature, random, sobol, adaptive',
    ("particles.integrator", "dopri"): (
        'particles.integrator = "dopri"; did you mean "dopri5"? allowed: dopri5, rk4, euler'
    ),
    ("compare.tolerance", "0"): "compare.tolerance = 0; must be a number greater than 0",
    ("compare.metric", "geodesc"): 'compare.metric = "geodesc"; did you mean "geodesic"? allowed: geodesic, chordal',
    ("titel", "x"): (
        'titel = "x"; unknown key, did you mean "title"? '
        "allowed: title, space, attention, drift, noise, initial, time, density, particles, compare, diagnostics"
    ),
    ("title", "3"): "title = 3; must be text",
    # laws
    ("initial.law", "normal"): (
        'initial.law = "normal"; lives on flat spaces and meshes; space.manifold = "circle" takes uniform, harmonics, '
        "von-mises-fisher, wrapped-normal, angular-central-gaussian, poisson-kernel, table"
    ),
    ("initial.law", "von-mises-fisher"): (
        "initial.components: missing; must be one or more tables, [[initial.components]]"
    ),
    ("initial.cos", "[1]"): "initial.cos = [1]; unknown key, allowed: law",
    # the keys of overrides themselves
    ("attention.heads[3].value", "1"): 'attention.heads[3].value = "1"; there is no entry 3; the problem has 0',
    ("attention.beta.x", "1"): 'attention.beta.x = "1"; attention.beta is not a table and has no keys',
    ("a..b", "1"): '--set = "a..b=1"; must be KEY=VALUE with a dotted key such as attention.beta=10',
}


@pytest.mark.parametrize(("setting", "line"), OVERRIDES.items(), ids=["=".join(k)[:40] for k in OVERRIDES])
def test_setting(setting, line):
    with pytest.raises(ProblemError) as caught:
        loads(PLAIN, dict([setting]))
    assert str(caught.value) == line
    assert "\n" not in line


def component(law, entry):
    return f'law = "{law}"\n[[initial.components]]\n{entry}'


CIRCLE, SPHERE = 'manifold = "circle"', 'manifold = "sphere"'
LINE = 'manifold = "interval"\nbounds = [[0.0, 1.0]]'
VON_MISES = "von-mises-fisher"
LAWS = [
    (CIRCLE, 'law = "harmonics"\ncos = [0.8]\nsin = [0.8]',
     "initial.cos = [0.8]; the density must not be negative; its minimum is -0.131371 times the uniform one"),
    (CIRCLE, 'law = "harmonics"\ncos = ["a"]', "initial.cos = ['a']; must be a list of numbers"),
    (CIRCLE, 'law = "harmonics"\nlegendre = [1]', "initial.legendre = [1]; unknown key, allowed: cos, sin"),
    (SPHERE, 'law = "harmonics"\nlegendre = [0.0, 3.0]',
     "initial.legendre = [0.0, 3.0]; the density must not be negative; its minimum is -0.5 times the uniform one"),
    (SPHERE, 'law = "harmonics"\nlegendre = [0.2]\naxis = [0, 0, 0]',
     "initial.axis = [0, 0, 0]; must be a vector other than zero"),
    (SPHERE, 'law = "harmonics"\nlegendre = [0.2]\naxis = [0, 1]',
     "initial.axis = [0, 1]; must be a list of 3 numbers, not 2"),
    (CIRCLE, component(VON_MISES, "mean = [0, 0]\nconcentration = 1"),
     "initial.components[0].mean = [0, 0]; must be a vector other than zero"),
    (CIRCLE, component(VON_MISES, "mean = [1, 0]\nconcentration = 0"),
     "initial.components[0].concentration = 0; must be a number greater than 0 and at most 1e+12"),
    (CIRCLE, component(VON_MISES, "mean = [1, 0]\nconcentration = 1\nweight = -1"),
     "initial.components[0].weight = -1; must be a number greater than 0"),
    (CIRCLE, component(VON_MISES, "mean = [1, 0]\nconcentraton = 1"),
     'initial.components[0].concentraton = 1; unknown key, did you mean "concentration"? allowed: weight, mean, concentration'),
    (CIRCLE, component("wrapped-normal", "mean = [1, 0]"),
     "initial.components[0].deviation: missing; must be a number at least 1e-08 and at most 1e+08"),
    (CIRCLE, component("angular-central-gaussian", "matrix = [[1, 2], [2, 1]]"),
     "initial.components[0].matrix = [[1, 2], [2, 1]]; must be symmetric positive definite, its smallest eigenvalue is -1"),
    (CIRCLE, component("angular-central-gaussian", "matrix = [[1, 2], [0, 1]]"),
     "initial.components[0].matrix = [[1, 2], [0, 1]]; must be symmetric positive definite, it is not symmetric"),
    (CIRCLE, component("poisson-kernel", "mean = [1, 0]"),
     "initial.components[0].mean = [1, 0]; must be a vector shorter than 1"),
    (LINE, component("normal", "mean = [50]\ncovariance = 1"),
     "initial.components[0].mean = [50.0]; must be a point near the box: only 0 of the law lies inside space.bounds"),
    ('manifold = "box"\nbounds = [[0, 1], [0, 1], [0, 1]]',
     component("normal", "mean = [0, 0, 0]\ncovariance = [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]"),
     "initial.components[0].covariance = [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]; must be diagonal in a box of more than two "
     "dimensions"),
    (LINE.replace("0.0, 1.0", "1.0, 0.0"), 'law = "uniform"', "space.bounds = [1.0, 0.0]; must be pairs [a, b] with a < b"),
    ('manifold = "euclidean"\ndimension = 2', 'law = "uniform"',
     'initial.law = "uniform"; lives on circle, sphere, boxes and meshes; space.manifold = "euclidean" takes normal, table'),
    (CIRCLE, 'law = "table"', "initial.path: missing; must be text"),
]


@pytest.mark.parametrize(("space", "initial", "line"), LAWS)
def test_law(space, initial, line):
    with pytest.raises(ProblemError) as caught:
        loads(f"[space]\n{space}\n[attention]\nbeta = 1.0\n[initial]\n{initial}\n")
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ("1,0,1\n1,0\n", "line 2 is not rows of 2 coordinates and a weight, separated by commas"),
        ("1,0,1\n0,b,1\n", "line 2 is not numeric; must be rows of 2 coordinates and a weight, separated by commas"),
        ("1,0,-1\n", "line 1 has weight -1; weights must not be negative"),
        ("x,y,w\n", "holds no mass; must have rows of 2 coordinates and a weight, separated by commas"),
        ("2,0,1\n", "point [2.0, 0.0] is 1 off the circle"),
        ("0,0,1\n", "a point at the origin is not on the sphere"),
    ],
)
def test_table(tmp_path, rows, line):
    path = tmp_path / "points.csv"
    path.write_text(rows)
    with pytest.raises(ProblemError) as caught:
        loads(PLAIN.replace('"uniform"', f'"table"\npath = "{path}"'))
    assert caught.value.field == "initial.path"
    assert caught.value.allowed == line


def test_overflow_without_rescaled_time():
    cold = PLAIN.replace("beta = 1.0", 'beta = 1000.0\nnormalization = "none"')
    line = (
        'time.rescaled = false; must be true where normalization = "none" and beta |B| = 1000 is at least 700: exp would '
        "overflow"
    )
    with pytest.raises(ProblemError) as caught:
        loads(cold)
    assert str(caught.value) == line
    assert loads(cold, {"time.rescaled": "true"}).attention.rescaled_time
    with pytest.raises(ProblemError, match=r'^attention.beta = inf; must be finite where normalization = "none"$'):
        loads(cold, {"attention.beta": "inf"})


def test_missing_sections():
    with pytest.raises(ProblemError, match=r"^space: missing; must be given as a table, \[space\]\nattention: missing"):
        loads("")
    with pytest.raises(ProblemError, match=r'^attention.beta: missing; must be a number at least 0, or "inf"$'):
        loads(PLAIN.replace("beta = 1.0", ""))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ProblemError, match=r'= "misaligned_circl"; no such file or .*, did you mean "misaligned_circle"\?'):
        load("misaligned_circl")
    with pytest.raises(ProblemError, match=r'nowhere.toml"; no such file or bundled problem, bundled: gaussian_line'):
        load(tmp_path / "nowhere.toml")
    with pytest.raises(ProblemError, match="is a folder; must be a problem file"):
        load(tmp_path)
    with pytest.raises(ProblemError, match="must be a problem file"):
        load("")
    with pytest.raises(ProblemError, match=r"(?i)name too long|no such file"):
        load("a" * 5000)
    broken = tmp_path / "broken.toml"
    broken.write_text('title = "x"\n[space\n')
    with pytest.raises(ProblemError, match=r'broken.toml"; is not valid TOML: line 2, column 7: Expected'):
        load(broken)
    broken.write_bytes(b'title = "\xff"')
    with pytest.raises(ProblemError, match="must be UTF-8 text; byte 9 is not"):
        load(broken)


def test_mesh_file_that_is_missing(tmp_path):
    path = tmp_path / "problem.toml"
    path.write_text(PLAIN.replace('"circle"', '"file"\npath = "nowhere.msh"'))
    with pytest.raises(ProblemError, match=rf'^space.path = "{tmp_path}/nowhere.msh"; no such file$'):
        load(path)
