"""Sessions and their events, from the join to the end, and over a restart."""
