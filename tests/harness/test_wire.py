"""Both ends of the wire use the same names."""

import seatrial_harness
from seatrial.adapters.local import warm
from seatrial.api import wire as theirs
from seatrial_harness import starting
from seatrial_harness import wire as ours


def test_harness_and_operator_agree_on_every_constant() -> None:
    constants = [{name: value for name, value in vars(module).items() if name.isupper()} for module in (ours, theirs)]

    assert constants[0] == constants[1]
    assert constants[0]["PARAMETERS"] == "SEATRIAL_PARAMETERS"


def test_a_container_and_a_laptop_agree_on_what_forbids_a_fork() -> None:
    assert starting._EARLY == warm._EARLY
    assert starting._LATE == warm._LATE


def test_the_package_shows_what_it_promises_and_nothing_else() -> None:
    assert sorted(seatrial_harness.__all__) == [
        "Checkpoint",
        "CheckpointError",
        "Infeasible",
        "Parameters",
        "Restored",
        "Trial",
        "load",
        "start",
    ]
