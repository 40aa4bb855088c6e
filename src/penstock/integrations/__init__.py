"""Other frameworks, made durable from outside: each in a package of its own, loaded only where it is used."""
