"""What may be used up once, and what comes back with media time."""

import pytest

from sluice.core.budget import Allowance, Budget
from sluice.core.errors import SourceError


def test_a_budget_is_spent_once() -> None:
    budget = Budget(2, "too many")
    budget.spend()
    budget.spend()
    with pytest.raises(SourceError, match="too many"):
        budget.spend()


def test_an_allowance_comes_back_with_media_time() -> None:
    allowance = Allowance(2, 1)
    assert [allowance.take(0) for _ in range(3)] == [True, True, False]
    assert not allowance.take(500_000)
    assert allowance.take(1_000_000)
    assert not allowance.take(0)  # time that goes back gives nothing
    assert [allowance.take(9_000_000) for _ in range(3)] == [True, True, False]
    allowance.begin_anew()
    assert [allowance.take(at_us) for at_us in (0, 1_000_000, 1_500_000)] == [False, True, False]
