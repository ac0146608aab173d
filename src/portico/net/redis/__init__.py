"""Connections to Redis or Valkey: alone, behind Sentinel, as a Cluster."""
