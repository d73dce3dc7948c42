"""The table of paths: space x law x attention x noise x scheme x sampling, every pair of values at least once.

A path is one value of each factor. `path_table()` covers all pairs that can occur together; `random_paths` draws
further ones. `problem_of` writes a path as a problem file in tiny sizes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from pathlib import Path

import meshio
import numpy as np
import tomli_w

from problems import register_diagnostic, register_score, register_velocity

# Name -> (coordinates of a token, whether it has a mesh, kind of space for the laws).
SPACES = {
    "circle": (2, True, "circle"), "sphere-3": (3, True, "sphere"), "sphere-5": (5, False, "high sphere"),
    "interval": (1, True, "flat"), "rectangle": (2, True, "flat"), "box": (3, True, "flat"),
    "euclidean-1": (1, False, "open"), "euclidean-2": (2, False, "open"), "euclidean-3": (3, False, "open"),
    "ellipse": (2, True, "file"), "torus": (3, True, "file"), "cube": (3, True, "file"), "l-shape": (2, True, "file"),
}
LAWS = {
    "circle": ("uniform", "harmonics", "von-mises-fisher", "wrapped-normal", "angular-central-gaussian",
               "poisson-kernel", "table"),
    "sphere": ("uniform", "harmonics", "von-mises-fisher", "angular-central-gaussian", "poisson-kernel", "table"),
    "high sphere": ("uniform", "von-mises-fisher", "angular-central-gaussian", "poisson-kernel", "table"),
    "flat": ("uniform", "normal", "correlated", "table"),
    "open": ("normal", "correlated", "table"),
    "file": ("uniform", "normal", "correlated", "table"),
}
FACTORS: dict[str, tuple[str, ...]] = {
    "space": tuple(SPACES),
    "law": tuple(sorted({law for laws in LAWS.values() for law in laws})),
    "attention": ("warm", "hot", "cold", "unnormalised", "rescaled", "heads", "layers"),
    "noise": ("none", "some"),
    "scheme": ("ssprk33", "ssprk22", "ssprk104", "euler", "rk45", "arkimex", "bdf", "theta"),
    "sampling": ("quadrature", "random", "sobol", "adaptive"),
    "tokens": ("dopri5", "rk4", "euler"),
    "format": ("msh", "vtu", "xdmf"),
    "own": ("nothing", "score", "velocity", "columns"),
}
EXPLICIT = {"ssprk33": 1, "ssprk22": 0, "ssprk104": 3, "euler": 0, "rk45": 2}
IMPLICIT = {"arkimex": 1, "bdf": 1, "theta": 2}


def possible(path: Mapping[str, str]) -> bool:
    """Whether the values known so far can stand together in one problem file."""
    space, law = path.get("space"), path.get("law")
    if space and law and law not in LAWS[SPACES[space][2]]:
        return False
    if law == "correlated" and space and (SPACES[space][0] == 1 or space == "box"):  # in a box they must be diagonal
        return False
    if path.get("noise") == "some" and path.get("scheme") in EXPLICIT:
        return False
    if law == "table" and path.get("scheme") in ("bdf", "theta"):  # they would make a law of points negative
        return False
    if path.get("sampling") == "sobol" and law in ("normal", "correlated") and space and SPACES[space][2] == "file":
        return False  # no map from the cube to such a law
    if path.get("own") == "score" and (path.get("sampling") == "adaptive" or path.get("attention") == "cold"):
        return False  # a kernel of unknown width has no chain; at zero temperature ties jump
    if path.get("sampling") == "adaptive":  # a chain or triangles that the flow carries
        if path.get("noise") == "some" or law == "table":
            return False
        if space and space not in ("circle", "interval", "ellipse", "sphere-3", "euclidean-2"):
            return False  # surfaces from files have rows of their own, in `further_paths`
        if space == "euclidean-2" and path.get("attention") in ("unnormalised", "rescaled"):
            return False  # what is far out leaves all numbers
    # With noise tokens follow Euler-Maruyama, whatever is asked for.
    return not (path.get("noise") == "some" and path.get("tokens") in ("dopri5", "rk4"))


def has_density(path: Mapping[str, str]) -> bool:
    """Whether the density of this path can be solved for: whether its space has a mesh."""
    return SPACES[path["space"]][1]


def draw(generator: random.Random, fixed: Mapping[str, str]) -> dict[str, str] | None:
    """A possible path with some values fixed, the others at random; None if they exclude each other."""
    path = dict(fixed)
    if not possible(path):
        return None
    for factor in generator.sample(sorted(FACTORS), len(FACTORS)):
        if factor not in path:
            values = [v for v in FACTORS[factor] if possible({**path, factor: v})]
            if not values:
                return None
            path[factor] = generator.choice(values)
    return path


def pairs(path: Mapping[str, str]) -> set[tuple[tuple[str, str], ...]]:
    """All pairs of values of a path; the format of a mesh counts where there is a mesh file."""
    items = sorted((k, v) for k, v in path.items() if k != "format" or SPACES[path["space"]][2] == "file")
    return set(itertools.combinations(items, 2))


def path_table(seed: int = 1) -> list[dict[str, str]]:
    """Paths that cover every pair of values which can occur together (greedy, the same on every machine)."""
    generator = random.Random(seed)
    wanted = set()
    for (a, left), (b, right) in itertools.combinations(FACTORS.items(), 2):
        for v, w in itertools.product(left, right):
            trial = draw(generator, {a: v, b: w})
            if trial is not None and ("format" not in (a, b) or SPACES[trial["space"]][2] == "file"):
                wanted.add(tuple(sorted(((a, v), (b, w)))))
    table = []
    while wanted:
        seeds = generator.sample(sorted(wanted), min(12, len(wanted)))
        trials = [trial for pair in seeds for _ in range(6) if (trial := draw(generator, dict(pair))) is not None]
        best = max(trials, key=lambda trial: len(pairs(trial) & wanted), default=None)
        if best is None or not pairs(best) & wanted:  # a format without its file: ask for a file space
            wanted -= {pair for pair in seeds if any(k == "format" for k, _ in pair)}
            continue
        wanted -= pairs(best)
        table.append(best)
    return table


def tokens_of(path: Mapping[str, str]) -> int:
    """A small number of tokens with which the quadrature of the initial law is one."""
    if path["space"] == "box":
        return 130 if path["law"] == "normal" else 32
    if path["space"] != "sphere-5":
        return 32
    return 1500 if path["law"] == "poisson-kernel" else 400


def random_paths(count: int, seed: int) -> list[dict[str, str]]:
    """Further paths, drawn at random."""
    generator = random.Random(seed)
    return [path for _ in range(count) if (path := draw(generator, {})) is not None]


def further_paths() -> list[dict[str, str]]:
    """Paths with what no factor has: further token systems ("also"), `compare --accuracy` ("accuracy"), methods of attention
    that many points would need to be chosen ("method"), and cells that follow the law ("grading")."""
    rows = """
        circle     harmonics         warm   none ssprk33 quadrature dopri5 nothing  also
        sphere-3   von-mises-fisher  heads  none ssprk33 adaptive   dopri5 columns  also
        torus      uniform           cold   none euler   sobol      rk4    nothing  also
        interval   normal            warm   some arkimex random     euler  nothing  also
        rectangle  correlated        layers none ssprk22 quadrature dopri5 score    also
        circle     von-mises-fisher  warm   none ssprk33 adaptive   dopri5 nothing  accuracy=0.05
        circle     wrapped-normal    hot    some arkimex random     euler  nothing  accuracy=0.3
        interval   normal            hot    none ssprk22 quadrature rk4    columns  accuracy=0.1
        sphere-3   harmonics         warm   none ssprk33 quadrature dopri5 nothing  accuracy=0.5
        rectangle  normal            hot    none ssprk22 sobol      dopri5 velocity accuracy=0.5 also
        sphere-3   uniform           cold   none ssprk33 adaptive   dopri5 nothing  also
        sphere-3   harmonics         layers none ssprk33 adaptive   rk4    velocity also
        euclidean-2 correlated       layers none ssprk33 adaptive   dopri5 columns  also
        euclidean-2 normal           heads  none ssprk33 adaptive   euler  velocity also
        torus      uniform           heads  none ssprk33 adaptive   dopri5 nothing  also
        cube       normal            warm   none ssprk22 adaptive   rk4    columns  also
        sphere-3   von-mises-fisher  warm   none ssprk33 quadrature dopri5 nothing  method=nufft
        sphere-3   harmonics         layers none ssprk33 adaptive   dopri5 nothing  method=nufft
        sphere-3   von-mises-fisher  hot    none ssprk33 quadrature dopri5 nothing  method=gathered
        rectangle  normal            heads  none ssprk22 quadrature dopri5 nothing  method=pruned
        circle     uniform           warm   none ssprk33 quadrature dopri5 nothing  grading=law
        circle     harmonics         cold   none rk45    adaptive   rk4    columns  grading=law
        circle     von-mises-fisher  layers none ssprk22 random     dopri5 nothing  grading=law also
        sphere-3   harmonics         warm   none ssprk33 adaptive   dopri5 columns  grading=law
        sphere-3   uniform           cold   none euler   sobol      dopri5 nothing  grading=law also
        sphere-3   von-mises-fisher  heads  none ssprk22 quadrature rk4    nothing  grading=law"""
    paths = []
    for row in rows.strip().splitlines():
        values = row.split()
        path = dict(zip([factor for factor in FACTORS if factor != "format"], values[:8], strict=True), format="msh")
        more = dict(word.split("=") if "=" in word else (word, "2") for word in values[8:])
        paths.append(path | more)
    return paths


def name_of(path: Mapping[str, str]) -> str:
    """A name for folders and messages."""
    shape = f"{path['space']}.{path['format']}" if SPACES[path["space"]][2] == "file" else path["space"]
    more = [f"{key}-{path[key]}" for key in ("also", "accuracy", "method", "grading") if key in path]
    return "_".join([shape, *(path[k] for k in ("law", "attention", "noise", "scheme", "sampling", "tokens", "own")), *more])


# ---------------------------------------------------------------- functions that paths register


@register_score("table-score")
def score(queries: np.ndarray, keys: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Less for what is further away."""
    return -np.log1p(np.square(queries[:, None] - keys).sum(axis=2) / width**2)


@register_velocity("table-velocity")
def velocity(points: np.ndarray, size: float = 0.3) -> np.ndarray:
    """Towards the middle, and along the first axis on the sphere."""
    return -size * points + size * np.eye(points.shape[1])[0]


@register_diagnostic("table-radius")
def radius(points: np.ndarray, masses: np.ndarray) -> float:
    """The mean distance from the origin."""
    return float(masses @ np.linalg.norm(points, axis=1))


# ---------------------------------------------------------------- as a problem file


def problem_of(path: Mapping[str, str], folder: Path, name: str) -> Path:
    """Write the problem file NAME.toml of a path into `folder`, with the mesh and the table it names."""
    d, _, kind = SPACES[path["space"]]
    values = {"title": f"Path {name}", "space": space_of(path, folder), "attention": attention_of(path, d),
              "noise": {"diffusivity": 0.02 if path["noise"] == "some" else 0.0},
              "initial": law_of(path["law"], d, kind, path, folder),
              "time": {"end": 0.3, "outputs": 4}, "density": density_of(path),
              "particles": {"count": tokens_of(path), "sampling": path["sampling"],
                            "integrator": path["tokens"], "seed": 3}}
    if path["attention"] == "rescaled":
        values["time"]["rescaled"] = True
    if path["own"] == "score":
        values["attention"]["score"] = {"name": "table-score", "width": 0.8}
    if path["own"] == "velocity":
        values["drift"] = {"velocity": {"name": "table-velocity", "size": 0.2}}
    if path["own"] == "columns":
        values["diagnostics"] = {"columns": ["table-radius"]}
    if path["tokens"] != "dopri5":
        values["particles"]["step"] = 0.02
    if "also" in path:
        values["compare"] = {"also": [{"count": 40}, {"count": 12, "sampling": "random", "seed": 8, "label": "a few"}]}
    target = folder / f"{name}.toml"
    target.write_text(tomli_w.dumps(values))
    return target


def space_of(path: Mapping[str, str], folder: Path) -> dict[str, object]:
    """[space]; mesh files are written beside the problem."""
    name = path["space"]
    if SPACES[name][2] == "file":
        file = folder / f"{name}.{path['format']}"
        if not file.exists():
            points, kind, cells = SHAPES[name]()
            options = {"file_format": "gmsh"} if path["format"] == "msh" else {}
            meshio.write(file, meshio.Mesh(points, [(kind, cells)]), **options)
        return {"manifold": "file", "path": file.name}
    if name in ("interval", "rectangle", "box"):
        return {"manifold": name, "bounds": [[-1.0, 1.0]] * {"interval": 1, "rectangle": 2, "box": 3}[name]}
    kind, _, dimension = name.partition("-")
    grading = {"grading": path["grading"]} if "grading" in path else {}
    return {"manifold": kind, **({"dimension": int(dimension)} if dimension else {}), **grading}


def attention_of(path: Mapping[str, str], d: int) -> dict[str, object]:
    """[attention], with matrices that are no multiples of the identity and do not commute.

    Without partition function and without layer normalisation tokens blow up in finite depth where V B^T has positive
    eigenvalues: there V is negative.
    """
    mixed = (np.eye(d) + 0.3 * np.tri(d, k=-1)).tolist()
    value = np.diag(np.linspace(1.0, 0.4, d)).tolist()
    if path["attention"] in ("unnormalised", "rescaled") and SPACES[path["space"]][2] not in ("circle", "sphere", "high sphere"):
        value = np.diag(np.linspace(-1.0, -0.4, d)).tolist()
    head, other = {"key": mixed, "value": value}, {"value": (-0.3 * np.eye(d)).tolist()}
    return {
        "warm": {"beta": 4.0, **head}, "hot": {"beta": 0.0, **head}, "cold": {"beta": "inf", **head},
        "unnormalised": {"beta": 1.5, "normalization": "none", **head},
        "rescaled": {"beta": 1.5, "normalization": "none", **head},
        "heads": {"beta": 3.0, "heads": [head, other]},
        "layers": {"layers": [{"until": 0.12, "beta": "inf", **head}, {"beta": 5.0, **other}]},
    }[path["attention"]]


def law_of(law: str, d: int, kind: str, path: Mapping[str, str], folder: Path) -> dict[str, object]:
    """[initial], smooth enough for the small meshes."""
    first, second = np.eye(d)[0], np.eye(d)[-1]
    if law == "harmonics":
        return {"law": law, "cos": [0.3, 0.1], "sin": [0.0, 0.2]} if kind == "circle" else {"law": law, "legendre": [0.3, 0.2]}
    if law == "table":
        generator = np.random.default_rng(5)
        points = generator.uniform(-0.8, 0.8, (7, d))
        if "sphere" in kind or kind == "circle":
            points /= np.linalg.norm(points, axis=1, keepdims=True)
        if kind == "file":
            points = SHAPES[path["space"]]()[0][:7, :d]
        file = folder / f"table-{path['space']}.csv"
        np.savetxt(file, np.column_stack((points, np.arange(1.0, 8.0))), delimiter=",")
        return {"law": law, "path": file.name}
    components = {
        "uniform": None,
        "von-mises-fisher": [{"weight": 0.7, "mean": first.tolist(), "concentration": 2.0},
                             {"weight": 0.3, "mean": (-second).tolist(), "concentration": 1.5}],
        "wrapped-normal": [{"mean": 0.4, "deviation": 0.9}, {"mean": [0.0, -1.0], "deviation": 1.1}],
        "angular-central-gaussian": [{"matrix": (np.eye(d) + 0.4 * np.outer(first + second, first + second)).tolist()}],
        "poisson-kernel": [{"mean": (0.4 * first).tolist()}],
        "normal": [{"mean": (0.2 * first).tolist(), "covariance": 0.3}],
        "correlated": [{"mean": (0.1 * second).tolist(),
                        "covariance": (0.3 * np.eye(d) + 0.1 * np.ones((d, d))).tolist()}],
    }[law]
    name = "normal" if law == "correlated" else law
    return {"law": name} if components is None else {"law": name, "components": components}


def density_of(path: Mapping[str, str]) -> dict[str, object]:
    """[density]: a few dozen cells; a mesh from a file has its own."""
    degree = {**EXPLICIT, **IMPLICIT}[path["scheme"]]
    found: dict[str, object] = {"integrator": path["scheme"], "degree": degree}
    if path["scheme"] in IMPLICIT:
        found |= {"rtol": 1e-4, "atol": 1e-6}
    if SPACES[path["space"]][2] != "file":
        found["cells"] = {"circle": 24, "interval": 16, "box": 48}.get(path["space"], 60)
    return found


# ---------------------------------------------------------------- mesh files, as a mesh generator writes them


def ellipse() -> tuple[np.ndarray, str, np.ndarray]:
    """A closed curve in the plane, 24 segments."""
    angle = 2 * np.pi * np.arange(24) / 24
    points = np.column_stack((1.2 * np.cos(angle), 0.8 * np.sin(angle), 0 * angle))
    return points, "line", np.column_stack((np.arange(24), (np.arange(24) + 1) % 24))


def torus() -> tuple[np.ndarray, str, np.ndarray]:
    """The surface of a torus, 10 x 6 quadrangles cut in two."""
    m, n = 10, 6
    u, v = (x.ravel() for x in np.meshgrid(np.arange(m), np.arange(n), indexing="ij"))
    big, small = 2 * np.pi * u / m, 2 * np.pi * v / n
    reach = 1 + 0.4 * np.cos(small)
    points = np.column_stack((reach * np.cos(big), reach * np.sin(big), 0.4 * np.sin(small)))

    def at(i, j):
        return (i % m) * n + j % n

    a, b, c, e = at(u, v), at(u + 1, v), at(u + 1, v + 1), at(u, v + 1)
    return points, "triangle", np.concatenate((np.column_stack((a, b, c)), np.column_stack((a, c, e))))


def cube() -> tuple[np.ndarray, str, np.ndarray]:
    """The surface of a cube, 3 x 3 squares on each face, cut in two."""
    n, index, points, cells = 3, {}, [], []

    def node(p):
        key = tuple(np.round(p * 10**6).astype(int))
        if key not in index:
            index[key] = len(points)
            points.append(p)
        return index[key]

    grid = np.linspace(-0.8, 0.8, n + 1)
    for axis, side in itertools.product(range(3), (-1, 1)):
        for i, j in itertools.product(range(n), range(n)):
            corners = []
            for di, dj in ((0, 0), (1, 0), (1, 1), (0, 1)):
                p = np.insert(np.array([grid[i + di], grid[j + dj]]), axis, 0.8 * side)
                corners.append(node(p))
            outward = side if axis != 1 else -side
            a, b, c, e = corners if outward > 0 else corners[::-1]
            cells += [[a, b, c], [a, c, e]]
    return np.array(points), "triangle", np.array(cells)


def l_shape() -> tuple[np.ndarray, str, np.ndarray]:
    """A plane domain with a re-entrant corner: three unit squares, 2 x 2 cells each, cut in two."""
    index, points, cells = {}, [], []

    def node(x, y):
        if (x, y) not in index:
            index[x, y] = len(points)
            points.append((x / 2 - 1.0, y / 2 - 1.0, 0.0))
        return index[x, y]

    for i, j in itertools.product(range(4), range(4)):
        if i >= 2 and j >= 2:
            continue
        a, b, c, e = node(i, j), node(i + 1, j), node(i + 1, j + 1), node(i, j + 1)
        cells += [[a, b, c], [a, c, e]]
    return np.array(points), "triangle", np.array(cells)


SHAPES = {"ellipse": ellipse, "torus": torus, "cube": cube, "l-shape": l_shape}
