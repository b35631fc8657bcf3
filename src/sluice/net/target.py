"""HTTP addresses for this package: a text that is none raises a SourceError."""

from sluice.core.errors import unsupported
from sluice.core.http_url import HttpUrl
from sluice.core.masking import mask_url


def parse_target(url: str) -> HttpUrl:
    """Raises SourceError (permanent)."""
    try:
        return HttpUrl.parse(url)
    except ValueError as error:
        text = f"{mask_url(url)} is no usable address: {error}"
        raise unsupported(text) from error
