"""Settings of the property tests."""

from hypothesis import settings

# An example has no time limit, because other processes share the machine.
settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")
