"""What holds for all tests."""

from hypothesis import settings

# Examples take as long as the machine lets them; timing belongs to benchmarks.
settings.register_profile("sluice", deadline=None)
settings.load_profile("sluice")
