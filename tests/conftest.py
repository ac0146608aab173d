"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No test asserts a time, nor does Hypothesis for it: on a busy machine an example may take long. The rest stays as it
# is here, or in CI, where Hypothesis has a profile of its own.
settings.register_profile("portico", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portico")
