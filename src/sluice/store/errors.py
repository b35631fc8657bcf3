"""Errors of the store, each with a text that tells the operator what to do.

SluiceError
├── StoreError         the database cannot be opened, refused a commit, or is closed
└── CredentialsError   credentials.json and the database do not fit together
"""

from sluice.core.errors import SluiceError


class StoreError(SluiceError):
    """Nothing of the transaction was kept; the same call may be made again."""


class CredentialsError(SluiceError):
    pass
