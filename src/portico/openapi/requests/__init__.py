"""Requests checked against what a document says of their operation: nothing that a service takes is to be refused."""
