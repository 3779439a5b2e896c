"""Whether OpenInference takes the llama-index-core that is installed: it wants a newer one than this package does."""

from importlib.metadata import version

from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from packaging.requirements import Requirement

WANTED = [Requirement(each) for each in LlamaIndexInstrumentor().instrumentation_dependencies()]
TAKES_THIS_CORE = all(one.specifier.contains(version(one.name)) for one in WANTED)
REASON = f"OpenInference wants {', '.join(map(str, WANTED))}"
