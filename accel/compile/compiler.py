"""Integer graph -> program."""
from accel.compile.arrange import Way, outputs, ways
from accel.compile.images import Images
from accel.compile.jobs import make_jobs
from accel.compile.pack import taps_of
from accel.compile.place import Memory, layouts_of
from accel.compile.search import Judge, guessed, searched
from accel.compile.stages import group
from accel.graph import Conv2d, Graph
from accel.program import Layer, Program
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Opcode


def compile_graph(graph: Graph, config: AccelConfig, *, keep_tensors: bool = False) -> Program:
    """Compile a verified graph.

    With ``keep_tensors`` every stage writes its tensor to memory and none reuses the place of
    another, so that all of them can be read after a run. Raises `graph.GraphError` or
    `CompileError` naming what does not fit.
    """
    graph.verify(config)
    stages, joined = group(graph, config)
    taps = [taps_of(stage.conv, config) for stage in stages]
    tiles = sum(each.groups * -(-len(each.places) // config.rows) for each in taps)
    memory, streamed = Memory(config), tiles > config.weight_depth
    weights_at = memory.take("the image of all weights", tiles * config.rows, 0, len(stages) + 1) \
        if streamed else None
    found = ways(stages, joined, config, keep=keep_tensors)
    layouts = layouts_of(graph, stages, joined, memory,
                         outputs(stages, found, Way.WHOLE, Way.BLOCKS),
                         outputs(stages, found, Way.BLOCKS), config, keep=keep_tensors)
    images = Images(config)
    jobs = make_jobs(stages, taps, found, layouts, images, config, streamed=streamed)
    judge = Judge(config, layouts, weights_at)
    # who wants to see every tensor does not ask for speed
    jobs = guessed(jobs, judge) if keep_tensors else searched(jobs, judge)
    steps = judge.steps(jobs)
    for job in jobs:
        images.add_tiles(job.plan)
    program = [*(step.instruction for step in steps), Instruction(Opcode.FINISH, {})]
    # what the compiler adds to move data multiplies too, but not for the network
    macs = {node.name: node.macs for node in graph.nodes if isinstance(node, Conv2d)}
    return Program(
        name=graph.name, config_digest=config.digest, images=images.finish(program, weights_at),
        tensors=layouts, input=graph.input.name, output=graph.output.name, macs=graph.macs,
        keeps_tensors=keep_tensors,
        layers=tuple(Layer(stage.conv.name, macs.get(stage.conv.name, 0)) for stage in stages),
        owners=tuple(step.layer for step in steps), host=graph.host)
