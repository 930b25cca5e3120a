"""VECTOR against a model in numpy: loops, lanes, both scratchpads, addition, tokens, timing."""
import itertools
import random
from dataclasses import replace

import pytest
from amaranth.lib import data

from accel.spec.config import PARAM_LANES, AccelConfig
from accel.spec.link import Space, space_shape
from accel.spec.numerics import limits
from rtl.params import param_layout
from rtl.vector import landing_cycles, write_stage
from rtl.vector_control import VectorControl
from tests.configs import FIVE_BY_SEVEN, TINY
from tests.vectors import Machine, any_vector, check, execute, halves, vector, wanted

SMALL = {"act_depth": 64, "out_depth": 32, "acc_depth": 64, "param_depth": 32}
ONE, TWO, FOUR = (replace(TINY, name=f"{lanes}-lanes", vector_lanes=lanes, **SMALL)
                  for lanes in (1, 2, 4))
SEVEN = replace(FIVE_BY_SEVEN, name="7-columns", vector_lanes=2, **SMALL)
EIGHT = replace(FIVE_BY_SEVEN, name="8-lanes", vector_lanes=8, **SMALL)
SIXTEEN = replace(TINY, name="16-lanes", cols=16, vector_lanes=16, activations=("relu",), **SMALL)
MANY = replace(TINY, name="16-columns", cols=16, activations=("relu",), **SMALL)
ALONE = replace(TWO, name="no-addition", residual=False)
#: With TensorFlow Lite's roundings, which take longer: in slices, in carry chains.
TFLITE, TFLITE_LUTS, TFLITE_ALONE = (
    replace(config, name=f"{config.name}-tflite", rounding="tflite", acc_bits=32)
    for config in (TWO, EIGHT, ALONE))
#: With multipliers of either sign; with such that are sums of powers of two.
DISTANCES = {"cell": "add", "weight_bits": 9}
SIGNED = replace(TWO, name="signed", **DISTANCES)
TERMS, TERMS_SIGNED, TERMS_ALONE = (
    replace(TWO, name="3-terms", scale_terms=3),
    replace(FOUR, name="3-terms-signed", scale_terms=3, **DISTANCES),
    replace(ALONE, name="1-term", scale_terms=1))
CONFIGS = [ONE, TWO, FOUR, SEVEN, EIGHT, SIXTEEN, MANY, ALONE, TFLITE, TFLITE_LUTS, TFLITE_ALONE,
           SIGNED, TERMS, TERMS_SIGNED, TERMS_ALONE]
few = pytest.mark.parametrize("config", [TWO, SEVEN, EIGHT, ALONE, TFLITE, TERMS_SIGNED],
                              ids=lambda config: config.name)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_equals_the_model(config: AccelConfig, seed: int) -> None:
    rng = random.Random(f"{config.name} {seed}")
    machine = Machine.random(config, seed)
    instructions = [any_vector(config, rng) for _ in range(14)]
    trace = execute(machine, instructions, seed=seed if seed % 2 else None)
    check(trace, wanted(machine, instructions))
    for side, flag in (("before", "prev"), ("behind", "next")):
        assert len(trace.pops[side]) == sum(f"pop_{flag}" in i.tokens for i in instructions)
        assert len(trace.pushes[side]) == sum(f"push_{flag}" in i.tokens for i in instructions)


@few
def test_constants_of_the_shortest_instructions(config: AccelConfig) -> None:
    """One or two steps each, as fast as they go: a dozen share the pipeline, none its constants."""
    machine, rng = Machine.random(config, 8), random.Random(8)
    low, high = limits(config.act_bits)
    relu = [spec.function for spec in config.activation_specs].index("relu") + 1
    several = []
    for number in range(60):
        fields = dict(any_vector(config, rng).fields)
        fields |= dict.fromkeys(("groups", "lane_groups", "rows", "win_rows", "win_cols"), 1)
        fields |= {"cols": 1 + (rng.random() < 0.2), "to_output": 0, "to_activation": 1}
        if number % 3:      # what no limit hides
            fields |= {"activation": relu, "low": low, "high": high,
                       "zero_point": rng.choice((low // 2, -1, 0, high // 2))}
        several.append(vector(config, **fields))
    trace = execute(machine, several)
    check(trace, wanted(machine, several))
    if config.vector_lanes <= PARAM_LANES:
        gaps = [b - a - 1 for a, b in itertools.pairwise(trace.steps)]
        assert set(gaps) <= {0, VectorControl.IDLE_CYCLES}


@few
def test_idle_cycles_between_instructions(config: AccelConfig) -> None:
    machine = Machine.random(config, 3)
    tokens = ("pop_prev", "pop_next", "push_prev", "push_next")
    several = [vector(config, *tokens, cols=count, to_activation=1, out_base=number,
                      out_col_stride=1, zero_point=number, low=-2 + number % 2)
               for number, count in enumerate((9, 5, 17, 4, 6))]
    trace = execute(machine, several)
    check(trace, wanted(machine, several))
    lengths = [each.fields["cols"] for each in several]
    gaps = [b - a - 1 for a, b in itertools.pairwise(trace.steps) if b - a > 1]
    assert gaps == [VectorControl.IDLE_CYCLES] * 4
    # everything lands while later instructions step
    ends = [trace.steps[n - 1] for n in itertools.accumulate(lengths)]
    stage = write_stage(config)
    assert trace.pushes["before"] == trace.pushes["behind"] == [e + stage + 1 for e in ends]
    assert trace.write_cycles[::2] == trace.write_cycles[1::2] == [s + stage for s in trace.steps]
    assert trace.pops["before"] == trace.pops["behind"]
    assert trace.idle.index(True, 5) == ends[-1] + stage + 2


@pytest.mark.parametrize("config", [ONE, FOUR, EIGHT, SIXTEEN], ids=lambda config: config.name)
def test_a_set_of_parameters_takes_its_words_and_no_longer(config: AccelConfig) -> None:
    machine, groups, positions = Machine.random(config, 4), 5, (1, 2, 3, 4, 7)
    several = [vector(config, groups=groups, lane_groups=config.vector_groups, cols=count,
                      acc_group_stride=9, col_stride=1, out_col_stride=groups, param_base=3)
               for count in positions]
    trace = execute(machine, several)
    check(trace, wanted(machine, several))
    words = config.vector_lanes // config.param_lanes
    sets, steps = groups * config.vector_groups, iter(trace.steps)
    for count in positions:
        own = list(itertools.islice(steps, sets * count))
        assert own[-1] - own[0] + 1 == (sets - 1) * max(words, count) + count
        assert len([cycle for cycle in trace.stalls if own[0] < cycle < own[-1]]) == (
            (sets - 1) * max(0, words - count))


@few
def test_the_first_parameters_are_read_before_the_tokens_come(config: AccelConfig) -> None:
    machine, late = Machine.random(config, 5), 40
    each = vector(config, "pop_prev", cols=3, col_stride=1, out_col_stride=1)
    trace = execute(machine, [each], tokens_from=late)
    check(trace, wanted(machine, [each]))
    assert trace.pops["before"] == [late + 1]
    assert trace.steps == [late + 4, late + 5, late + 6]
    words = config.vector_lanes // config.param_lanes
    at_once = execute(machine, [vector(config)])
    assert at_once.steps[0] - at_once.stalls[0] == 4 + max(0, words - 4)


@few
def test_an_addition_reads_what_was_written_before(config: AccelConfig) -> None:
    """No token says so: both are the unit's own. It starts as late as it must, and no later."""
    if not config.residual:
        pytest.skip("cannot add")
    machine = Machine.random(config, 6)
    several = [vector(config, cols=4, col_stride=1, out_col_stride=1, out_base=2),
               vector(config, cols=4, col_stride=1, out_col_stride=1, out_base=2, acc_base=9,
                      add=1, add_base=2, to_activation=1, **halves(config)),
               vector(config, cols=4, out_col_stride=1, to_output=0, to_activation=1),
               vector(config, cols=1, add=1, add_base=5, to_output=0, to_activation=1,
                      **halves(config))]
    trace = execute(machine, several)
    check(trace, wanted(machine, several))
    wait = landing_cycles(config)
    assert trace.steps[4] - trace.steps[3] == wait
    assert trace.steps[12] - trace.steps[7] == max(wait, 10)


def test_both_tokens_are_taken_at_once() -> None:
    """Nothing is taken while one is missing."""
    machine, rng = Machine.random(TWO, 7), random.Random(7)
    several = [vector(TWO, "pop_prev", "pop_next", cols=rng.randint(1, 4)) for _ in range(12)]
    trace = execute(machine, several, seed=7)
    assert trace.pops["before"] == trace.pops["behind"]
    assert len(trace.pops["before"]) == len(several)


def test_a_parameter_word_is_that_of_the_host_link() -> None:
    for config in (TWO, SIXTEEN, SIGNED, TERMS_SIGNED, TERMS_ALONE):
        lanes = data.ArrayLayout(param_layout(config), config.param_lanes)
        assert lanes.size == space_shape(config, Space.PARAM)[1]
