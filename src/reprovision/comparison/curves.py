"""Training curves of two runs as SVG drawings, in the colours of the page that holds them."""

import io

from matplotlib import rc_context, style
from matplotlib.figure import Figure

from reprovision.results.history import kept_epoch
from reprovision.results.run import Run

COLOURS = {"#8a8a8b": "var(--base)", "#2563a9": "var(--head-curve)", "#222223": "var(--text)"}
"""Of base, head and text: placeholders, and what stands for them in the page's style."""

BASE, HEAD, TEXT = COLOURS

STYLES = {"train": ":", "val": "-"}


@style.context("default")
def draw_curves(base: Run, head: Run) -> list[str]:
    """Loss and accuracy by epoch, of training and validation, as SVG to embed in the page.

    A run without a history is left out. A thin line marks the epoch that a run kept.
    """
    # text stays text: smaller, and it can be searched
    with rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "reprovision",
            "text.color": TEXT,
            "axes.labelcolor": TEXT,
            "axes.edgecolor": TEXT,
            "xtick.color": TEXT,
            "ytick.color": TEXT,
        }
    ):
        return [_draw(name, base, head) for name in ("loss", "accuracy")]


def _draw(name: str, base: Run, head: Run) -> str:
    figure = Figure((4.6, 3.3), layout="constrained", facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    axes.set_title(name, loc="left", fontsize=11)
    axes.set_xlabel("epoch")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    for run, colour in zip((base, head), (BASE, HEAD), strict=True):
        history = run.history or []
        for split, line in STYLES.items():
            values = [getattr(epoch, f"{split}_{name}") for epoch in history]
            if values and None not in values:
                epochs = [epoch.epoch for epoch in history]
                # matplotlib reads text between dollars as a formula
                label = f"{split}, {run.name}".replace("$", r"\$")
                # a single epoch is no line
                marker = "." if len(epochs) == 1 else ""
                axes.plot(epochs, values, line, marker=marker, color=colour, label=label)
        if history:
            kept = kept_epoch(history, str(run.params.get("train.keep")))
            axes.axvline(kept.epoch, color=colour, linewidth=0.8, alpha=0.6)
    axes.legend(fontsize=9, framealpha=0)
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
    # without the XML prologue, which has no place within a page
    svg = drawing.getvalue()[drawing.getvalue().index("<svg") :]
    for placeholder, colour in COLOURS.items():
        svg = svg.replace(placeholder, colour)
    return svg
