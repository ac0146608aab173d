"""Three sample services and the gateway before them."""
