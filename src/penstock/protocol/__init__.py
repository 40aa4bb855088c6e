"""Rules without I/O.

Nothing on this floor imports asyncio, sockets or a database, reads a clock or draws a random number: time and
chance come in as arguments, so every rule can be tested at memory speed and in any order of events.
"""
