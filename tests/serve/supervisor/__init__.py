"""Several processes behind one socket: kept up, replaced and ended. All of them are real ones."""
