"""The request pipeline: identify, route, apply policies, forward, respond, observe."""
