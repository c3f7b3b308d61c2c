"""Commands on MLflow's model registry, and on what it lacks."""

import click

# libraries are imported where a command is called: torch and mlflow take seconds


@click.command()
@click.argument("version", required=False)
@click.option("--force", is_flag=True, help="Promote it whatever the test says.")
@click.option("--reason", help="Why, with --force; MLflow keeps it.")
def promote(version: str | None, force: bool, reason: str | None) -> int:
    """Make a model VERSION the champion in MLflow if it is better than the current one.

    Better means significantly more images of the same test set classified correctly (McNemar's
    exact test, level 0.05). VERSION is by default that of the current results.

    Exit status: 0 if it is the champion now, 1 for an error, 3 if there is no evidence that it is
    better.
    """
    from reprovision.core.params import load_params
    from reprovision.tracking import champion

    if reason and not force:
        raise click.UsageError("--reason needs --force")
    forced = reason or "no reason given" if force else None
    outcome = champion.promote(load_params(), version, forced)
    print(outcome.message)
    return 0 if outcome.is_champion else champion.NOT_BETTER


@click.command()
@click.argument("version", required=False)
def rollback(version: str | None) -> None:
    """Make the previous champion the champion again in MLflow.

    VERSION is the one to replace, by default the current champion; where another one is the
    champion, nothing changes.
    """
    from reprovision.core.params import load_params
    from reprovision.tracking import champion

    print(champion.rollback(load_params(), version))


@click.command()
def sync() -> None:
    """Log what is missing of the current results to MLflow."""
    from reprovision.tracking.sync import sync as write

    write()
