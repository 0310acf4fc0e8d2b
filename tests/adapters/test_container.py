"""Containers as a laptop reads them, and the texts that trials are given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contracts import a_record
from adapters.local_world import a_local_study
from seatrial.adapters.local.container import read_container
from seatrial.adapters.local.resources import Ledger, Machine, Share, parse_gpu_list
from seatrial.adapters.local.variables import ImaginaryPod, read_environment
from seatrial.api.environment import expand, select_container, write_value
from seatrial.api.quantity import parse_quantity
from seatrial.api.study import Study
from seatrial.errors import SpecError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain", "plain", id="nothing to do"),
        pytest.param("$(A)", "1", id="a name"),
        pytest.param("x$(A)y$(B)z", "x1y$(A)z", id="two, and what was put in is not looked at again"),
        pytest.param("$(NO)", "$(NO)", id="unknown stays"),
        pytest.param("$$(A)", "$(A)", id="escaped"),
        pytest.param("$$$(A)", "$1", id="escaped dollar, then a name"),
        pytest.param("$$$$(A)", "$$(A)", id="two escaped dollars"),
        pytest.param("$A ${A}", "$A ${A}", id="a shell's references are none"),
        pytest.param("$$ $", "$ $", id="two dollars are one, one stays"),
        pytest.param("$(A", "$(A", id="never closed"),
        pytest.param("$()", "$()", id="empty"),
        pytest.param("$(A)$(", "1$(", id="an opening at the end"),
        pytest.param("$($(A))", "$($(A))", id="up to the first closing"),
        pytest.param("$(with space)", "found", id="any characters"),
        pytest.param("$\n(A)", "$\n(A)", id="a line end between"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expected: str):
    assert expand(text, {"A": "1", "B": "$(A)", "with space": "found"}) == expected


@given(st.text())
def test_a_text_with_every_dollar_doubled_comes_back(text: str):
    assert expand(text.replace("$", "$$"), {"A": "1"}) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (False, "false"),
        (128, "128"),
        (0.0031, "0.0031"),
        (1.0, "1.0"),
        (1e-05, "1e-05"),
        (0.1 + 0.2, "0.30000000000000004"),
        ("adamw", "adamw"),
        ("", ""),
    ],
)
def test_values_are_written_as_text(value: object, expected: str):
    assert write_value(value) == expected


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("500m", 0.5),
        ("2", 2),
        (2, 2),
        (0.5, 0.5),
        ("1Ki", 1024),
        ("1.5Gi", 1.5 * 2**30),
        ("1e3", 1000),
        ("1E", 1e18),
        ("1E2", 100),
        ("100M", 1e8),
        (".5", 0.5),
        ("1u", 1e-6),
    ],
)
def test_quantities_are_read_as_kubernetes_does(quantity: object, expected: float):
    assert parse_quantity(quantity) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", ["", "two", "1 G", "1KB", "--1", True, None, [], "1e", "Gi"])
def test_what_is_no_quantity_is_refused(wrong: object):
    with pytest.raises(ValueError, match="must be a quantity"):
        parse_quantity(wrong)


def a_pod(*, env: list[object], study: Study | None = None, **container: object) -> ImaginaryPod:
    study = study or a_local_study("true", container={"env": env, **container})
    return ImaginaryPod(
        container=read_container(study),
        study=study,
        trial=a_record(4),
        attempt=1,
        machine={"cpu": 8, "memory": 16 << 30},
    )


def test_variables_may_refer_to_earlier_ones_and_to_seatrials():
    env = [
        {"name": "A", "value": "$(HP_lr)/$(B)"},
        {"name": "B", "value": "b"},
        {"name": "C", "value": "$(B)$$(B)"},
        {"name": "B", "value": "again"},
        {"name": "D"},
    ]

    found = read_environment(a_pod(env=env), {"HP_lr": "0.1"})

    assert found == {"HP_lr": "0.1", "A": "0.1/$(B)", "B": "again", "C": "b$(B)", "D": ""}


def test_nothing_replaces_what_seatrial_gives():
    found = read_environment(a_pod(env=[{"name": "HP_lr", "value": "9"}]), {"HP_lr": "0.1"})

    assert found == {"HP_lr": "0.1"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "s-4-1"),
        ({"fieldRef": {"fieldPath": "metadata.namespace"}}, "default"),
        ({"fieldRef": {"fieldPath": "metadata.uid"}}, "s-4-1"),
        ({"fieldRef": {"fieldPath": "metadata.labels['team']"}}, ""),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "127.0.0.1"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "2"),
        ({"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}, "1500"),
        ({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}, str(16 << 10)),
        ({"resourceFieldRef": {"resource": "requests.memory"}}, "0"),
    ],
)
def test_variables_from_the_pod_itself(source: dict[str, object], expected: str):
    resources = {"limits": {"cpu": "1500m"}}

    found = read_environment(a_pod(env=[{"name": "A", "valueFrom": source}], resources=resources), {})

    assert found == {"A": expected}


def test_labels_of_the_template_reach_the_environment():
    study = a_local_study("true")
    template = {
        "metadata": {"labels": {"team": "sea"}},
        "spec": {
            "containers": [
                {
                    "command": ["true"],
                    "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}}],
                }
            ]
        },
    }
    study = Study.model_validate(study.to_wire() | {"spec": study.spec.to_wire() | {"trial": {"template": template}}})

    assert read_environment(a_pod(env=[], study=study), {}) == {"A": "sea"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
            r"env\[0\].valueFrom.secretKeyRef is 'keys/token', but a laptop has no Secret",
        ),
        ({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}, "a laptop has no ConfigMap"),
        (
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.other"}}},
            r"fieldRef has fieldPath 'spec.other', but must be one of",
        ),
        ({"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.disk"}}}, "must be one of: limits.cpu"),
        ({"name": "A", "valueFrom": {}}, r"env\[0\].valueFrom is nothing that a laptop knows"),
        ({"name": "A=B", "value": "1"}, r"env\[0\].name is 'A=B'"),
        ({"value": "1"}, r"env\[0\].name is None"),
    ],
)
def test_a_variable_that_a_laptop_cannot_have_is_refused_with_its_place(entry: dict[str, object], words: str):
    with pytest.raises(SpecError, match=words):
        read_environment(a_pod(env=[entry]), {})


def test_an_optional_secret_is_left_out():
    source = {"secretKeyRef": {"name": "keys", "key": "token", "optional": True}}

    assert read_environment(a_pod(env=[{"name": "A", "valueFrom": source}]), {}) == {}


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"command": None, "image": "i"}, "image's entrypoint is unknown on a laptop; set command"),
        ({"command": "python train.py"}, r"command is 'python train.py', but must be a list"),
        ({"command": ["python", 3]}, r"command\[1\] is 3, but must be a text"),
        ({"resources": {"limits": {"cpu": "two"}}}, r"limits\[cpu\] is 'two', but must be a quantity"),
        ({"resources": {"limits": {"nvidia.com/gpu": "500m"}}}, "GPUs come whole"),
        ({"envFrom": [{"secretRef": {"name": "keys"}}]}, r"envFrom\[0\].secretRef is 'keys'"),
        ({"env": {"A": "1"}}, "env must be a list"),
    ],
)
def test_a_container_that_cannot_run_here_is_refused_with_its_place(container: dict[str, object], words: str):
    with pytest.raises(SpecError, match=words):
        read_container(a_local_study("true", container=container))


def test_args_alone_are_the_command():
    container = read_container(a_local_study("true", container={"command": None, "args": ["python", "a.py"]}))

    assert container.command == ("python", "a.py")


def test_the_named_container_trains_and_the_first_one_by_default():
    study = a_local_study("true")
    template = {"spec": {"containers": [{"name": "log"}, {"name": "train", "command": ["x"]}]}}
    first, named, wrong = (
        Study.model_validate(
            study.to_wire() | {"spec": study.spec.to_wire() | {"trial": {"template": template, **more}}}
        )
        for more in ({}, {"container": "train"}, {"container": "trian"})
    )

    assert select_container(first)[1]["name"] == "log"
    assert select_container(named)[0].endswith("containers[1]")
    with pytest.raises(SpecError, match=r"container is 'trian', but the template's containers are log, train"):
        select_container(wrong)


def test_limits_count_where_there_are_no_requests():
    resources = {"limits": {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": 1}, "requests": {"cpu": "500m"}}

    demand = read_container(a_local_study("true", container={"resources": resources})).demand

    assert (demand.cpus, demand.gpus, demand.memory_limit_bytes) == (0.5, 1, 2**30)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 9), st.integers(0, 4)), max_size=30))
def test_nothing_is_ever_given_twice(events: list[tuple[int, float, int]]):
    from seatrial.adapters.local.container import Demand

    machine = Machine(cores=4, memory_bytes=1, gpus=("a", "b", "c"))
    ledger, held = Ledger(machine), dict[str, Share]()
    for holder, cpus, gpus in events:
        name = str(holder)
        if name in held:
            ledger.free(name)
            del held[name]
            continue
        share = ledger.take(name, Demand(cpus=cpus, gpus=gpus))
        if isinstance(share, str):
            assert share.startswith("Insufficient ")
        else:
            held[name] = share
        given_gpus = [gpu for share in held.values() for gpu in share.gpus]
        assert len(given_gpus) == len(set(given_gpus))
        assert sum(share.cpus for share in held.values()) <= 4 + 1e-6


def test_the_list_of_gpus_counts_the_parts_of_one_that_is_cut():
    listing = (
        "GPU 0: NVIDIA A100 (UUID: GPU-1)\n  MIG 3g.20gb     Device  0: (UUID: MIG-2)\n  MIG 3g.20gb     Device  1: (UUID: MIG-3)\n"
        "GPU 1: NVIDIA A100 (UUID: GPU-4)\nsomething else\n"
    )

    assert parse_gpu_list(listing) == ("MIG-2", "MIG-3", "GPU-4")
    assert parse_gpu_list("No devices were found\n") == ()
