#!/usr/bin/env bash
# opentelemetry-sdk 1.45.2: a traceparent with the flags 00 is no "undecided": a service that gets one records nothing.
#
# A proxy that makes traceparent for its ids alone, and traces nothing itself, has no decision to pass on, and 00 looks
# like saying so. W3C Trace Context has no word for undecided: 00 says that the caller does not record. The default
# sampler, parentbased_always_on, goes by that, so that all traces of all services behind the proxy are gone, with
# nothing in any log. Without the field, or with the sampled flag, they are there. OTEL_TRACES_SAMPLER=traceidratio
# in the services, or a proxy that decides, is the way out.
#
# Source: run it: opentelemetry/sdk/trace/sampling.py, ParentBased. It begins one span for each form of the field, prints
# whether it is recorded, and fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --disable-pip-version-check -qq install opentelemetry-sdk==1.45.2
cat > begin.py <<'PYTHON'
import sys

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

flags = sys.argv[1]
parent = f"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}"
context = TraceContextTextMapPropagator().extract({"traceparent": parent} if flags != "none" else {})
print("recorded" if TracerProvider().get_tracer("service").start_span("x", context).is_recording() else "dropped")
PYTHON
said=""
for flags in none 00 02 01; do
    said+="$flags: $(venv/bin/python begin.py "$flags"); "
done
echo "$said"
[[ $said == "none: recorded; 00: dropped; 02: dropped; 01: recorded; " ]]
