"""When to ask a publisher for a key frame; browsers send none unasked. Pure; times in seconds."""

#: A publisher is never asked more often: a key frame costs it many times the bits of another frame.
PAUSE_S = 1.0


class KeyFrames:
    def __init__(self) -> None:
        self.wanted = False  #: someone cannot begin without one
        self._since: float | None = None  #: when the last key frame came, or the first picture
        self._asked_at = float("-inf")
        self._pictures = False  #: some came since the last request

    def want(self) -> None:
        self.wanted = True

    def on_picture(self, now: float, *, key: bool) -> None:
        self._pictures = True
        if self._since is None or key:
            self._since = now
        if key:
            self.wanted = False

    def ask(self, now: float, every_s: float) -> bool:
        """Whether to ask for one now: it is wanted, or pictures came for `every_s` without one."""
        overdue = (
            self._pictures and self._since is not None and now - max(self._since, self._asked_at) >= every_s
        )
        if not (self.wanted or overdue) or now - self._asked_at < PAUSE_S:
            return False
        self._asked_at, self._pictures = now, False
        return True
