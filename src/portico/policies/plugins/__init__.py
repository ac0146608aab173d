"""Policies of users: what they are written with, how they are loaded, and how they are contained."""
