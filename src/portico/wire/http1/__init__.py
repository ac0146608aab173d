"""HTTP/1.1 (RFC 9112) on both sides: what is accepted, and the two state machines."""
