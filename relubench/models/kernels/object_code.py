"""Machine code of kernels: compiled once on a machine, and kept in the cache folder.

A file holds the SHA-256 of its code before the code. Its name is made of all that the code is made from: the sources of
this package, the compiler's version, the processor, and what was asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite
from llvmlite import binding, ir

from relubench.system.files import write_atomically
from relubench.system.paths import cache_root

DIGEST_BYTES = 32


def engine_for(request: str, emit: Callable[[], ir.Module]) -> Any:
    """An engine with the code of the module that `emit` makes, from the cache if it is there under what was asked."""
    machine = _machine()
    path = cache_root() / "kernels" / f"{hashlib.sha256((_made_from() + request).encode()).hexdigest()[:40]}.o"
    code = _kept(path)
    if code is None:
        code = _compiled(emit(), machine)
        _keep(path, code)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def _machine() -> Any:
    """The processor that this runs on, as LLVM describes it."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    binding.initialize_native_asmparser()
    return binding.Target.from_triple(binding.get_process_triple()).create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=2, jit=True
    )


@lru_cache(maxsize=1)
def _made_from() -> str:
    """What code is made from beside what is asked for."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    host = (binding.get_process_triple(), binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten())
    return repr((hashlib.sha256(sources).hexdigest(), llvmlite.__version__, *host))


def _compiled(module: ir.Module, machine: Any) -> bytes:
    module.triple = binding.get_process_triple()
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    # The loops are written as they are to be: no vectorizing, no unrolling.
    options = binding.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    return machine.emit_object(parsed)


def _kept(path: Path) -> bytes | None:
    """The code in that file; None if there is none, or not whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return code if code and hashlib.sha256(code).digest() == digest else None


def _keep(path: Path, code: bytes) -> None:
    """Put the code there in one go; where that cannot be written it is compiled the next time too."""
    with contextlib.suppress(OSError):
        write_atomically(path, hashlib.sha256(code).digest() + code)
