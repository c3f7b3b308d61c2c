"""Training curves of two runs as one SVG drawing."""

import io

from matplotlib import rc_context, style
from matplotlib.figure import Figure

from reprovision.results.run import Run

COLOURS = ("#8a8a8a", "#2563a8")
"""Of base and head."""

STYLES = {"train": ":", "val": "-"}


@style.context("default")
def draw_curves(base: Run, head: Run) -> str:
    """Loss and accuracy by epoch, of training and validation, as SVG to embed in a page.

    A run without a history is left out.
    """
    figure = Figure((9, 3.3), layout="constrained")
    for index, name in enumerate(("loss", "accuracy")):
        axes = figure.add_subplot(1, 2, index + 1)
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
        for run, colour in zip((base, head), COLOURS, strict=True):
            for split, line in STYLES.items():
                history = run.history or []
                values = [getattr(epoch, f"{split}_{name}") for epoch in history]
                if values and None not in values:
                    epochs = [epoch.epoch for epoch in history]
                    # matplotlib reads text between dollars as a formula
                    label = f"{split}, {run.name}".replace("$", r"\$")
                    axes.plot(epochs, values, line, color=colour, label=label)
        axes.legend(fontsize=9)
    drawing = io.StringIO()
    # text stays text: smaller, and it can be searched
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "reprovision"}):
        figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
    # without the XML prologue, which has no place within a page
    return drawing.getvalue()[drawing.getvalue().index("<svg") :]
