"""State that outlives a request, with bounded memory."""
