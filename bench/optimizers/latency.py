"""placeholder"""


def report(engines): ...
