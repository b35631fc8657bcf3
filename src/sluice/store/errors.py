"""Errors of the store, each with a text that tells the operator what to do.

SluiceError
├── StoreError         the database cannot be opened, refused a commit, or is closed
│   └── StoreTrouble   … for a reason outside of sluice: it is locked, the disk is full, …
├── CredentialsError   credentials.json is missing, or does not fit together with the database
│   └── NoDataFolder   … since no node has ever started there
├── FolderError        the data folder cannot be used, or another node uses it
└── BackupError        a backup cannot be made or restored
"""

from sluice.core.errors import Culprit, SluiceError, Unavailable


class StoreError(SluiceError):
    """Nothing of the transaction was kept; the same call may be made again."""


class StoreTrouble(StoreError, Unavailable):
    """The text is for callers, too. The log has what the operator can do, once (`store.thread`)."""

    culprit = Culprit.STORE


class CredentialsError(SluiceError):
    pass


class NoDataFolder(CredentialsError):
    """No node has ever started there."""


class FolderError(SluiceError):
    pass


class BackupError(SluiceError):
    pass
