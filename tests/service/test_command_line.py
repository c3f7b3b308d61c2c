"""Numbers that `reprovision serve` refuses."""

import pytest
from click.testing import CliRunner

from reprovision.cli import main


@pytest.mark.parametrize("option", ["--max-body", "--timeout", "--follow-seconds"])
@pytest.mark.parametrize("number", ["nan", "inf", "0", "-1"])
def test_a_limit_is_a_finite_number_above_zero(option: str, number: str) -> None:
    # there is no such model, so that a number which is accepted ends it, too
    done = CliRunner().invoke(main, ["serve", "--model", "missing", option, number])
    assert done.exit_code == 2 and f"Invalid value for '{option}'" in done.output
