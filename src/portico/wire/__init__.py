"""HTTP on sockets: what both of its sides and protocols share. It does not depend on the gateway."""
