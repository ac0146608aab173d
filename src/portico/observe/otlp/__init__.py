"""What is observed, in the words of OpenTelemetry (OTLP 1.x, HTTP with protobuf), and sent to a collector.

Messages are written as bytes, field by field: for a span that is a fifth of what generated classes cost.
"""
