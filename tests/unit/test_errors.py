"""What follows from the culprit of an error: another try, and how the log shows it."""

import pytest

from sluice.api.heybox import errors as heybox
from sluice.api.volcengine import errors as volcengine
from sluice.callbacks.forms.form import NobodyRegistered
from sluice.core.errors import (
    BadInput,
    Culprit,
    DestinationError,
    Draining,
    LimitReached,
    NotFound,
    Overloaded,
    RoomError,
    SluiceError,
    SourceError,
    TaskNotFound,
)
from sluice.core.lifecycle import Reason
from sluice.net.post import PostFailed
from sluice.store.errors import StoreError, StoreTrouble

LOST = Reason.SOURCE_INTERRUPTED


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (BadInput("field", "why"), False),
        (NotFound("it"), False),
        (NobodyRegistered("nobody"), False),
        (SourceError(LOST, "lost", transient=True), True),
        (SourceError(LOST, "lost", transient=False), False),
        (DestinationError(LOST, "lost", transient=True), True),
        (DestinationError(LOST, "lost", transient=False), False),
        (PostFailed("the answer is 500"), True),
        (Overloaded("full"), True),
        (RoomError("gone"), True),
        (StoreError("closed"), True),
        (StoreTrouble("locked"), True),
        (Draining(), True),
    ],
)
def test_which_errors_are_tried_again(error: SluiceError, transient: bool) -> None:
    assert error.transient is transient


def test_only_what_is_our_fault_is_a_defect() -> None:
    assert [culprit for culprit in Culprit if culprit.is_defect] == [Culprit.US]
    assert StoreError("closed").culprit is Culprit.US


@pytest.mark.parametrize(
    ("error", "is_defect"),
    [
        (BadInput("field", "why"), False),
        (TaskNotFound("it"), False),
        (Overloaded("full"), False),
        (LimitReached("full"), False),
        (StoreError("closed"), True),
        (StoreTrouble("locked"), False),
        (Draining(), False),
        (NotFound("no row of either table"), True),
    ],
)
def test_a_refusal_says_whether_it_hides_a_defect(error: SluiceError, is_defect: bool) -> None:
    assert volcengine.to_refusal(error).culprit.is_defect is is_defect
    if not isinstance(error, BadInput):  # bots have forms of their own
        assert heybox.to_refusal(error).culprit.is_defect is is_defect
