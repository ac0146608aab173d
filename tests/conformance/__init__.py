"""Every case of the corpus against gateways that run: what they forward, what they refuse, what a client gets back."""
