"""`penstock serve`: how a server starts, leaves, dies and comes back. All processes are real ones."""
