"""particles.xdmf: what it tells a viewer is what particles.h5 holds. ParaView itself reads it in tests/paraview."""

import xml.etree.ElementTree as ElementTree

import h5py
import numpy as np
import pytest

from solver import simulate
from solver.runs.recorders import SHOWN_AT_ONCE
from solver.runs.token_file import read_tokens
from solver.runs.token_xdmf import write_token_xdmf

COMMON = {"attention": {"beta": 5.0}, "time": {"end": 0.5, "outputs": 3}}
NORMAL = {"law": "normal", "components": [{"mean": [0.2], "covariance": 0.3}]}
CASES = {
    "fixed": {"space": {"manifold": "sphere"}, "initial": {"law": "uniform"}, "particles": {"count": 60}},
    "adaptive": {"space": {"manifold": "circle"}, "initial": {"law": "harmonics", "cos": [0.4]},
                 "particles": {"sampling": "adaptive", "count": 20}},
    "line": {"space": {"manifold": "interval", "bounds": [[-2.0, 2.0]]}, "initial": NORMAL, "particles": {"count": 16}},
    "many": {"space": {"manifold": "sphere", "dimension": 6}, "initial": {"law": "uniform"},
             "particles": {"count": 16, "sampling": "random"}},
}


def shown(path):
    """[(time, points, {field: values})] of an XDMF file, read as a viewer does."""
    found = []
    for grid in ElementTree.parse(path).getroot().findall("./Domain/Grid/Grid"):
        def array(place, grid=grid):
            item = grid.find(f"{place}/DataItem")
            name, _, table = item.text.partition(":")
            with h5py.File(path.parent / name) as file:
                values = file[table][()]
            assert values.shape == tuple(map(int, item.get("Dimensions").split()))
            return values

        points = array("Geometry")
        assert grid.find("Geometry").get("GeometryType") == "XYZ"[:points.shape[1]]
        assert int(grid.find("Topology").get("NumberOfElements")) == len(points)
        assert np.array_equal(array("Topology"), np.arange(len(points)))
        fields = {field.get("Name"): array(f"Attribute[@Name='{field.get('Name')}']") for field in grid.findall("Attribute")}
        found.append((float(grid.find("Time").get("Value")), points, fields))
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_viewer_is_shown_the_tokens(case, tmp_path):
    simulate({**COMMON, **CASES[case]}, out=tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    seen, held = shown(tmp_path / "moved/particles.xdmf"), read_tokens(tmp_path / "moved/particles.h5")
    assert [time for time, _, _ in seen] == [tokens.time for tokens in held] == [0.0, 0.25, 0.5]
    for (_, points, fields), tokens in zip(seen, held, strict=True):
        d = min(tokens.points.shape[1], 3)
        assert np.array_equal(points[:, :d], tokens.points[:, :d])
        assert not points[:, d:].any()
        assert np.array_equal(fields["mass"], tokens.masses)
        assert ("log_density" in fields) == (tokens.log_density is not None)
        if tokens.log_density is not None:
            assert np.array_equal(fields["log_density"], tokens.log_density, equal_nan=True)


def test_nothing_is_stored_twice(tmp_path):
    simulate({**COMMON, **CASES["fixed"], "time": {"end": 0.5, "outputs": 2}, "particles": {"count": 2000}}, out=tmp_path / "run")
    with h5py.File(tmp_path / "run/particles.h5") as file:
        assert all(table.is_virtual for group in file["outputs"].values() for table in group.values())


def test_a_run_of_many_outputs_lists_them_all_at_the_end(tmp_path):
    count = SHOWN_AT_ONCE + 5
    simulate({**COMMON, **CASES["many"], "time": {"end": 0.1, "outputs": count}}, out=tmp_path / "run")
    assert len(shown(tmp_path / "run/particles.xdmf")) == count


def test_a_file_of_an_earlier_version_shows_nothing(tmp_path):
    with h5py.File(tmp_path / "particles.h5", "w") as file:
        file["time"], file["points"], file["masses"] = [0.0], np.zeros((1, 3, 2)), np.ones(3) / 3
    write_token_xdmf(tmp_path / "particles.h5")
    assert shown(tmp_path / "particles.xdmf") == []
