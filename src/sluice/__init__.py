"""sluice: a self-hosted media relay for RTC rooms."""

__version__ = "0.1.0"
