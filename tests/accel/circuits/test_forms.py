"""Every form keeps every contract for all inputs."""
import pytest

from accel.circuits.find import codes_of
from accel.circuits.forms import FORMS, symmetric
from accel.spec.formats import Format
from accel.spec.functions import FUNCTIONS
from accel.spec.relation import CONTRACTS, Relation, relation


def make(function: str, in_text: str, out_text: str, contract: str) -> Relation:
    return relation(FUNCTIONS[function], Format.parse(in_text), Format.parse(out_text), contract,
                    name=function)


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize(("function", "in_text", "out_text"), [
    ("tanh", "Q3.4", "Q1.6"), ("selu", "Q3.3", "Q4.2"), ("gelu", "int6*0.11@-3", "uint7*0.05@9"),
    ("exp", "UQ1.4", "UQ3.3"), ("sigmoid", "Q4.4", "UQ0.8")])
@pytest.mark.parametrize("form", FORMS)
def test_codes_are_allowed(form: str, function: str, in_text: str, out_text: str,
                           contract: str) -> None:
    wanted = make(function, in_text, out_text, contract)
    for network in FORMS[form](wanted):
        assert wanted.allows(codes_of(network, wanted))


@pytest.mark.parametrize(("function", "contract", "mirrors"), [
    ("tanh", "within1", True), ("sigmoid", "within1", True), ("hardtanh", "within1", True),
    ("selu", "within1", False), ("tanh", "exact", False)])
def test_symmetry_is_found(function: str, contract: str, mirrors: bool) -> None:
    """Ones' complement mirrors at half a code below 0: never exact, but close."""
    wanted = make(function, "Q3.5", "Q3.5", contract)
    network = symmetric(wanted)
    assert (network is not None) == mirrors
    if network:
        codes = codes_of(network, wanted)
        assert len({a + b for a, b in zip(codes, reversed(codes), strict=True)}) == 1


def test_each_form_is_made_somewhere() -> None:
    wanted = make("tanh", "Q3.5", "Q3.5", "within1")
    assert all(list(form(wanted)) for form in FORMS.values())
