"""Where Seatrial meets a person: the command line, and the session that runs a study on this machine.

Charter: the only layer that translates errors into exit codes and words on a terminal. Nothing here decides anything about tuning.
"""
