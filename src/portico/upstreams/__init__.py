"""The services behind the gateway: instances, their connections, and the choice among them."""
