"""How Numba compiles a kernel, and a part of kernels: its own passes but for what costs time."""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering

from fastgmm._jit.disk import require_room
from fastgmm._jit.host import register_bytes


class _Lower(Lower):
    """Lowers a function so that its stack begins with a vector.

    What does not fit in registers lies there, and vectors that cross a cache line cost two loads: a
    pass that never leaves the registers but for these is 1.3 times as fast with 2 columns and 4
    components.
    """

    def setup_function(self, fndesc: Any) -> None:
        super().setup_function(fndesc)
        attributes = self.function.attributes
        attributes.alignstack = register_bytes()
        attributes.add("nounwind")  # llvmlite forgets the alignment where it is alone


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):
    _name = "native lowering with an aligned stack"
    lowering_class = _Lower


class KernelCompiler(CompilerBase):
    """Numba's own passes but for that one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        require_room()
        super().__init__(*args, **kwargs)

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (_Lowering if each is NativeLowering else each, why) for each, why in passes.passes
        ]
        passes.finalize()
        return [passes]


class _PartLibrary(JITCodeLibrary):
    """A part's code on its way into kernels: optimised and compiled there, never by itself.

    Numba optimises every function and makes machine code of it before it links it into its caller,
    which does the same again: with parts of parts, half of what a first fit waits for.
    """

    @property
    def codegen(self) -> Any:
        return _NoEnvironment(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    def _optimize_functions(self, ll_module: Any) -> None:
        pass

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _NoEnvironment:
    """The code generator, but for where functions find Python's objects: parts need none."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, env_name: str, env: Any) -> None:
        pass


class PartCompiler(CompilerBase):
    """Numba's own passes, for a part."""

    def define_pipelines(self) -> list[Any]:
        codegen = self.state.targetctx.codegen()
        self.state.library = _PartLibrary(codegen, self.state.func_id.func_qualname)
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]
