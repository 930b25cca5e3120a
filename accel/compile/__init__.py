"""Integer graph -> program: `compile_graph`."""
from accel.compile.compiler import compile_graph
from accel.compile.stages import CompileError

__all__ = ["CompileError", "compile_graph"]
