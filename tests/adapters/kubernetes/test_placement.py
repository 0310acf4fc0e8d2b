"""An affinity against nodes, merged with what a template wants."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.adapters.kubernetes.placement import exclude_nodes

LABELS = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["n1", "n2"]}
FIELDS = [
    {"key": "metadata.name", "operator": "NotIn", "values": ["n1"]},
    {"key": "metadata.name", "operator": "NotIn", "values": ["n2"]},
]
ZONE = {"key": "zone", "operator": "In", "values": ["a"]}
ARCH = {"key": "arch", "operator": "Exists"}


def required(*terms: dict) -> dict:
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": node}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, required({"matchExpressions": [LABELS], "matchFields": FIELDS}), id="no affinity"),
        pytest.param(
            {"affinity": None}, required({"matchExpressions": [LABELS], "matchFields": FIELDS}), id="affinity: null"
        ),
        pytest.param(
            required({"matchExpressions": [ZONE]}, {"matchExpressions": [ARCH], "matchFields": [ARCH]}),
            required(
                {"matchExpressions": [ZONE, LABELS], "matchFields": FIELDS},
                {"matchExpressions": [ARCH, LABELS], "matchFields": [ARCH, *FIELDS]},
            ),
            id="each of several terms, of which one has to hold",
        ),
        pytest.param(
            required({}, {"matchExpressions": [ZONE]}),
            required({}, {"matchExpressions": [ZONE, LABELS], "matchFields": FIELDS}),
            id="a term that matches nothing goes on matching nothing",
        ),
        pytest.param(required({}), required({}), id="a template that matches no node at all"),
        pytest.param({"nodeName": "n1"}, {"nodeName": "n1"}, id="a template that names its node"),
    ],
)
def test_every_term_of_the_template_keeps_away_from_the_nodes(spec, expected):
    written = copy.deepcopy(spec)

    exclude_nodes(written, ["n1", "n2"])

    assert written == expected


def test_what_else_the_template_wants_stays():
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]}
    spec = {"affinity": {"podAntiAffinity": {"x": 1}, "nodeAffinity": preferred}}

    exclude_nodes(spec, ["n1"])

    assert spec["affinity"]["podAntiAffinity"] == {"x": 1}
    assert spec["affinity"]["nodeAffinity"].items() >= preferred.items()


def holds(requirement: dict, node: dict[str, str]) -> bool:
    inside = node.get(requirement["key"]) in requirement["values"]
    return inside if requirement["operator"] == "In" else not inside


def admits(spec: dict, node: dict[str, str]) -> bool:
    """As the scheduler judges: one term has to hold, all of its requirements; an empty term never does."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    needed = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if needed is None:
        return True
    for term in needed["nodeSelectorTerms"]:
        wants = [*term.get("matchExpressions", ()), *term.get("matchFields", ())]
        if wants and all(holds(want, node) for want in wants):
            return True
    return False


requirements = st.builds(
    lambda operator, values: {"key": "zone", "operator": operator, "values": values},
    st.sampled_from(["In", "NotIn"]),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=2),
)
terms = st.lists(requirements, max_size=3).map(lambda found: {"matchExpressions": found} if found else {})


@given(
    wanted=st.none() | st.lists(terms, min_size=1, max_size=3),
    excluded=st.lists(st.sampled_from(["n0", "n1"]), max_size=2),
)
def test_exactly_the_excluded_nodes_are_taken_from_what_a_template_admits(wanted, excluded):
    before = {} if wanted is None else required(*wanted)
    after = copy.deepcopy(before)

    exclude_nodes(after, excluded)

    for name in ("n0", "n1", "n2"):
        for zone in "abc":
            node = {"zone": zone, "metadata.name": name, "kubernetes.io/hostname": name}
            assert admits(after, node) == (admits(before, node) and name not in excluded)
