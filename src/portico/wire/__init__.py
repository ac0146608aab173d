"""HTTP on sockets: what both of its sides and protocols share. It knows no gateway."""
