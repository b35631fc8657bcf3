"""Errors of the store, each with a text that tells the operator what to do.

SluiceError
├── StoreError         the database cannot be opened, refused a commit, or is closed
├── CredentialsError   credentials.json is missing, or does not fit together with the database
└── FolderError        the data folder cannot be used, or another node uses it
"""

from sluice.core.errors import SluiceError


class StoreError(SluiceError):
    """Nothing of the transaction was kept; the same call may be made again."""


class CredentialsError(SluiceError):
    pass


class FolderError(SluiceError):
    pass
