"""The command line ``seatrial``.

Charter: parse, call, print. Importing this package costs nothing but typer; each command imports what it needs when it is called.
"""
