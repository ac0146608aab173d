"""How a gateway bears thousands of routes, instances, consumers and registrations, beside an older build of it."""
