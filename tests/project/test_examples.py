"""The examples, as people start them; their models are simulated."""

import os
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from programs import run_python

from llama_index.packs.mixture_of_agents.config import load

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "rag.py": [
        "Answer: You can come on Fridays from 19:00. It costs 12 euros in all.",
        "The same, streamed: You can come on Fridays from 19:00. It costs 12 euros in all.",
    ],
    "agent_with_tools.py": [
        "mistral-small-latest advises: Look the temperature up; do not guess it.",
        "Tool: temperature({'city': 'Paris'})\n  returned 18\nTool: to_fahrenheit({'celsius': 18})",
        "It is 64.4 degrees Fahrenheit in Paris.",
    ],
    "structured_output.py": [
        "Alien (1979)\n  Sigourney Weaver plays Ripley\n  Ian Holm plays Ash\n",
        "{'title': 'Alien', 'year': 1979, 'cast': None}",
        "From a structured LLM: Film(title='Alien'",
    ],
}


def run(name: str, *arguments: str) -> CompletedProcess[str]:
    keys = {"OPENAI_API_KEY", "MISTRAL_API_KEY"}
    kept = {name: value for name, value in os.environ.items() if name not in keys}
    return run_python(str(EXAMPLES / name), *arguments, env=kept)


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_without_keys_and_says_that_its_models_are_simulated(name: str) -> None:
    done = run(name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The models are simulated")
    for text in SAYS[name]:
        assert text in done.stdout


@pytest.mark.parametrize("name", SAYS)
def test_an_example_asks_for_keys_before_it_asks_real_models(name: str) -> None:
    done = run(name, "--real")
    assert done.returncode == 1
    assert done.stderr == "For the real models set OPENAI_API_KEY and MISTRAL_API_KEY.\n"


def test_every_example_is_run_by_a_test() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("_")}
    assert scripts == set(SAYS)


def test_the_job_for_kuberay_has_a_recipe_that_loads_and_an_image_for_all_pods(tmp_path) -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "kuberay" / "batch.yaml").read_text()))
    volume, recipe, job = documents
    (tmp_path / "moa.toml").write_text(recipe["data"]["moa.toml"])
    assert load(tmp_path / "moa.toml", need_keys=False).layers
    cluster = job["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [one for pod in pods for one in pod["template"]["spec"]["containers"]]
    assert len({container["image"] for container in containers}) == 1
    assert all(container["envFrom"] for container in containers)
    claimed = pods[0]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claimed == volume["metadata"]["name"]
    assert "--engine ray" in job["spec"]["entrypoint"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_the_notebook_of_the_whole_story_runs_and_was_saved_with_what_it_shows() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    saved = nbformat.read(EXAMPLES / "mixture_of_agents.ipynb", as_version=4)
    run = nbformat.read(EXAMPLES / "mixture_of_agents.ipynb", as_version=4)
    nbclient.NotebookClient(run, timeout=50).execute()
    for notebook in (run, saved):
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        said = "".join(output.text for output in outputs if output.output_type == "stream")
        assert said.count("LlamaIndex is an open-source framework") == 3  # asked, streamed twice
        assert "7 calls (2, 2, 2, 1 by layer)" in said
        assert "The harbour museum opens at nine and is closed on Mondays." in said
        assert "layer 1 has 2 of 3 proposals (gpt-4o: connection)" in said
        assert ["text/html" in output.data for output in outputs if "data" in output] == [True]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_the_notebook_runs_and_says_what_it_shows() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    shown = nbformat.read(EXAMPLES / "chat.ipynb", as_version=4)
    run = nbformat.read(EXAMPLES / "chat.ipynb", as_version=4)
    nbclient.NotebookClient(run, timeout=50, resources={"metadata": {"path": EXAMPLES}}).execute()
    for cell, before in zip(run.cells, shown.cells, strict=True):
        if cell.cell_type == "code":
            texts = [
                [output.text for output in one.outputs if output.output_type == "stream"]
                for one in (cell, before)
            ]
            assert "".join(texts[0]) == "".join(texts[1])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_the_notebook_of_what_a_run_did_runs() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "see_what_it_did.ipynb", as_version=4)
    resources = {"metadata": {"path": EXAMPLES}}
    nbclient.NotebookClient(notebook, timeout=50, resources=resources).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = "".join(output.text for output in shown if output.output_type == "stream")
    assert "Degraded: layer 1 has 3 of 4 proposals (gpt-4-turbo: straggler)" in said
    assert "second: $0.00" in said
    kinds = {kind for output in shown for kind in output.get("data", {})}
    assert {"text/html", "text/markdown", "application/vnd.plotly.v1+json"} <= kinds
