"""A client of an Agents platform, local or cloud: the one door to the data."""
