"""Compression of what goes to clients, nearest to them: whatever the gateway sends passes it last."""

from __future__ import annotations

from portico.policies.compress.policy import build_compress
from portico.policies.compress.settings import CompressSettings

__all__ = ["CompressSettings", "build_compress"]
