"""Programs for whoever works on Portico; none of them is in the package."""
