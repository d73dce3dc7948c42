"""Run by ParaView's own Python, `pvbatch tests/paraview/check_files.py RUN_DIR`: it reads of a run what was computed.

Both of ParaView's XDMF readers are asked for every output: depths as in the tables, the means of the tokens to rounding, and the
mass of the density to the error of its picture, which interpolates it on cells of degree 2.
"""

import csv
import os
import sys

from paraview import servermanager, simple

ROUNDING, INTERPOLATION = 1e-9, 2e-2


def rows(path):
    with open(path, newline="") as file:
        return [{key: float(value) if value else None for key, value in row.items()} for row in csv.DictReader(file)]


def readers(path):
    return [simple.XDMFReader(FileNames=[path]), simple.Xdmf3ReaderS(FileName=[path])]


def fetched(source, time):
    source.UpdatePipeline(time)
    data = servermanager.Fetch(source)
    return data.GetBlock(0) if data.IsA("vtkMultiBlockDataSet") else data


def near(found, expected, tolerance, what):
    if not abs(found - expected) <= tolerance:
        raise SystemExit(f"{what}: {found!r}, not {expected!r}")


def check_tokens(folder):
    table = rows(os.path.join(folder, "particles.csv"))
    for source in readers(os.path.join(folder, "particles.xdmf")):
        source.UpdatePipelineInformation()
        times = list(source.TimestepValues)
        near(len(times), len(table), 0, "outputs of the tokens")
        for time, row in zip(times, table, strict=True):
            near(time, row["time"], ROUNDING, "depth")
            data = fetched(source, time)
            near(data.GetNumberOfPoints(), row["tokens"], 0, "tokens")
            near(data.GetNumberOfCells(), row["tokens"], 0, "vertices")
            masses = data.GetPointData().GetArray("mass")
            for axis, name in enumerate("xyz"):
                mean = sum(masses.GetValue(i) * data.GetPoint(i)[axis] for i in range(data.GetNumberOfPoints()))
                near(mean, row.get(f"mean_{name}", 0.0), ROUNDING, f"mean_{name} at t = {time}")
        print(f"tokens: {len(times)} outputs, the last with {data.GetNumberOfPoints()} points")


def check_density(folder):
    table = rows(os.path.join(folder, "diagnostics.csv"))
    source = simple.Xdmf3ReaderS(FileName=[os.path.join(folder, "density.xdmf")])
    source.UpdatePipelineInformation()
    times = list(source.TimestepValues)
    near(len(times), len(table), 0, "outputs of the density")
    for time, row in zip(times, table, strict=True):
        near(time, row["time"], ROUNDING, "depth")
        source.UpdatePipeline(time)
        simple.UpdatePipeline(time, source)
        total = simple.IntegrateVariables(Input=source)
        total.UpdatePipeline(time)
        near(total.PointData["density"].GetRange()[0], row["mass"], INTERPOLATION, f"mass at t = {time}")
    print(f"density: {len(times)} outputs")


check_tokens(os.path.abspath(sys.argv[1]))
if os.path.exists(os.path.join(sys.argv[1], "density.xdmf")):
    check_density(os.path.abspath(sys.argv[1]))
