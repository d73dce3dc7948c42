"""Density and tokens of a run together in ParaView: as a macro, or without a screen as pictures and a state file.

    xvfb-run -a pvbatch docs/tools/show_in_paraview.py results/smooth_sphere --pictures results/smooth_sphere/paraview
    xvfb-run -a pvbatch docs/tools/show_in_paraview.py results/smooth_sphere --state results/smooth_sphere/scene.pvsm

As a macro (Macros, Import new macro): open density.xdmf or particles.xdmf of a run, and press the macro's button.
"""

import argparse
import os
import sys

from paraview import simple

# Diameter of a token, and radius of a curve, as parts of the extent of the picture: tokens stand out of both.
TOKEN, TUBE = 0.018, 0.006
TOKENS_SHOWN = 4000


def reader(path):
    """A reader of an XDMF file, by either of ParaView's readers."""
    make = getattr(simple, "Xdmf3ReaderS", None)
    return make(FileName=[path]) if make is not None else simple.XDMFReader(FileNames=[path])


def extent(source):
    """The longest side of what a source shows."""
    bounds = source.GetDataInformation().GetBounds()
    return max(bounds[1] - bounds[0], bounds[3] - bounds[2], bounds[5] - bounds[4])


def show_density(path, view):
    """The density, coloured; curves as tubes of the same length."""
    density = reader(path)
    density.UpdatePipeline(max(density.TimestepValues))
    size = extent(density)
    curve = density.GetDataInformation().GetNumberOfCells() > 0 and is_curve(density)
    shown = density
    if curve:
        surface = simple.ExtractSurface(Input=density)
        shown = simple.Tube(Input=surface, Radius=TUBE * size, NumberofSides=12)
    display = simple.Show(shown, view)
    simple.ColorBy(display, ("POINTS", "density"))
    colours = simple.GetColorTransferFunction("density")
    colours.ApplyPreset("Viridis (matplotlib)", True)
    display.SetScalarBarVisibility(view, True)
    bar = simple.GetScalarBar(colours, view)
    bar.Title, bar.ComponentTitle = "density", ""
    bar.TitleColor = bar.LabelColor = [0.0, 0.0, 0.0]
    return density, display, size


def is_curve(source):
    """Whether the cells of a source are pieces of a curve."""
    data = simple.servermanager.Fetch(source)
    if data.IsA("vtkMultiBlockDataSet"):
        data = data.GetBlock(0)
    return data.GetCell(0).GetCellDimension() == 1


def show_tokens(path, view, size):
    """The tokens as small balls."""
    tokens = reader(path)
    tokens.UpdatePipeline()
    balls = simple.Glyph(Input=tokens, GlyphType="Sphere")
    balls.ScaleArray = ["POINTS", "No scale array"]
    balls.ScaleFactor = TOKEN * (size or extent(tokens))
    balls.GlyphMode = "Uniform Spatial Distribution (Bounds Based)" if many(tokens) else "All Points"
    if many(tokens):
        balls.MaximumNumberOfSamplePoints = TOKENS_SHOWN
    display = simple.Show(balls, view)
    simple.ColorBy(display, None)
    display.AmbientColor = display.DiffuseColor = [0.95, 0.35, 0.1]
    return tokens, display


def many(source):
    return source.GetDataInformation().GetNumberOfPoints() > TOKENS_SHOWN


def scene(folder):
    """Both on one view; the view, and the depths of the outputs."""
    view = simple.GetActiveViewOrCreate("RenderView")
    view.ViewSize = [900, 750]
    view.UseColorPaletteForBackground = 0
    view.Background = [1.0, 1.0, 1.0]
    view.OrientationAxesVisibility = 1
    times, size = [], 0.0
    density, tokens = (os.path.join(folder, name) for name in ("density.xdmf", "particles.xdmf"))
    colour = None
    if os.path.exists(density):
        source, colour, size = show_density(density, view)
        times = list(source.TimestepValues)
    if os.path.exists(tokens):
        source, _ = show_tokens(tokens, view, size)
        times = times or list(source.TimestepValues)
    if not times:
        raise SystemExit(f"{folder} has neither density.xdmf nor particles.xdmf")
    label = simple.AnnotateTimeFilter(Input=source, Format="t = {time:.3g}")
    simple.Show(label, view).Color = [0.0, 0.0, 0.0]
    simple.GetAnimationScene().UpdateAnimationUsingDataTimeSteps()
    view.ViewTime = times[0]
    source.UpdatePipeline(times[0])
    low, high = source.GetDataInformation().GetBounds()[4:]
    flat = high - low < 1e-9
    view.CameraPosition = [0.0, 0.0, 5.0] if flat else [3.5, 2.2, 1.8]
    view.CameraFocalPoint, view.CameraViewUp = [0.0, 0.0, 0.0], [0.0, 1.0, 0.0] if flat else [0.0, 0.0, 1.0]
    simple.ResetCamera(view)
    return view, times, colour


def pictures(view, times, colour, folder):
    """One PNG for each output."""
    os.makedirs(folder, exist_ok=True)
    for i, time in enumerate(times):
        view.ViewTime = time
        simple.Render(view)  # which brings the pipeline to this depth
        if colour is not None:
            colour.RescaleTransferFunctionToDataRange(False, True)
        simple.Render(view)
        path = os.path.join(folder, f"{i:04d}.png")
        simple.SaveScreenshot(path, view, ImageResolution=view.ViewSize)
        print(path)


def main():
    if len(sys.argv) == 1:  # a macro: the folder of what is open
        opened = [simple.GetActiveSource(), *simple.GetSources().values()]
        names = [getattr(source, name, None) for source in opened for name in ("FileName", "FileNames")]
        path = next((str(name if isinstance(name, str) else name[0]) for name in names if name), None)
        if path is None:
            print("open density.xdmf or particles.xdmf of a run first")
            return
        scene(os.path.dirname(path))
        simple.Render()
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="run folder")
    parser.add_argument("--pictures", help="folder for one PNG for each output")
    parser.add_argument("--state", help="state file, .pvsm, that ParaView opens")
    options = parser.parse_args()
    view, times, colour = scene(os.path.abspath(options.folder))
    if options.pictures:
        pictures(view, times, colour, options.pictures)
    if options.state:
        simple.SaveState(options.state)
        print(options.state)


if __name__ == "__main__":
    main()
