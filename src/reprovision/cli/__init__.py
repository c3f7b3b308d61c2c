"""The command line: `reprovision COMMAND`."""

import os

import click

from reprovision.cli import data, experiments, models, registry
from reprovision.core.stage import handle_errors


class _Group(click.Group):
    """Commands that return their exit status; a user's mistake is one sentence on stderr."""

    def invoke(self, ctx: click.Context) -> None:
        invoke = super().invoke
        ctx.exit(handle_errors(lambda: invoke(ctx)))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reprovision")
def main() -> None:
    """Tools around the pipeline: data, recipes, comparisons, reproduction, the model registry."""
    # a notebook's may not be installed here
    os.environ["MPLBACKEND"] = "agg"


for command in (
    *(data.check, data.suspects),
    *(experiments.recipe, experiments.diff, experiments.leaderboard, experiments.verify),
    *(models.predict, models.serve, models.evaluate),
    *(registry.promote, registry.rollback, registry.sync),
):
    main.add_command(command)
