"""What transcodes leave out while the machine has too much to do (core.overload decides)."""


class Relief:
    """One for a media process. Transcodes show one picture of `shown`."""

    def __init__(self) -> None:
        self.shown = 1


#: Nothing is left out.
NO_RELIEF = Relief()
