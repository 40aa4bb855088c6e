"""What joins Penstock to others' programs. Each room needs its own library, and only when it is used."""
