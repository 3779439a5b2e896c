"""`llamaindex-cli download-llamapack` and `download_llama_pack`, as users of core 0.14.20 have them (make doors).

Each test has a virtual environment of its own, in which everything but the pack is installed. The run-llama
repository is a server on this machine that lays out this working tree as that repository would.
"""

import filecmp
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

pytestmark = [pytest.mark.doors, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PACKAGE = "llama_index/packs/mixture_of_agents"
HOME = "llama-index-packs/llama-index-packs-mixture-of-agents"
TREE = "/github.com/run-llama/llama_index/tree/main/"
RAW = "/raw.githubusercontent.com/run-llama/llama_index/main/"
ANALYTICS = "/llamahub.ai/api/analytics/downloads"

SEED_USAGE = """
from llama_index.llms.openai import OpenAI
from llama_index.llms.mistralai import MistralAI

pack = MixtureOfAgentsPack(
    llm=OpenAI(model="gpt-4.1"),                       # aggregator
    reference_llm=[                                     # proposers
        OpenAI(model="gpt-4.1-mini"),
        MistralAI(model="mistral-small-latest"),
    ],
)
response = pack.run("What is LlamaIndex?")
print("ANSWER", response)
"""
INSTALLED = "from llama_index.packs.mixture_of_agents import MixtureOfAgentsPack"
WHERE = "import llama_index.packs.mixture_of_agents as it, sys; print('FROM', it.__file__)"


class Repository(BaseHTTPRequestHandler):
    """GitHub's pages of a folder and of a file, as JSON and raw, and the counter of downloads."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(path)  # pyright: ignore[reportAttributeAccessIssue]
        if path.startswith(TREE + HOME):
            self.answer("application/json", json.dumps(listing(path.removeprefix(TREE))))
        elif path.startswith(RAW + HOME):
            file = ROOT / path.removeprefix(f"{RAW}{HOME}/")
            self.answer("text/plain; charset=utf-8", file.read_text("utf-8"))
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        self.server.asked.append(self.path)  # pyright: ignore[reportAttributeAccessIssue]
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer("application/json", "{}")

    def answer(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def listing(path: str) -> dict[str, object]:
    """What GitHub says of a folder of the repository."""
    items = [
        {
            "name": entry.name,
            "path": f"{path}/{entry.name}",
            "contentType": "directory" if entry.is_dir() else "file",
        }
        for entry in sorted((ROOT / path.removeprefix(f"{HOME}/")).iterdir())
        if entry.name != "__pycache__"
    ]
    return {"payload": {"tree": {"items": items}}}


@pytest.fixture
def repository() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Repository) as server:
        server.asked = []  # pyright: ignore[reportAttributeAccessIssue]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass
class Machine:
    """A user's folder and virtual environment: everything but the pack is installed, and pip is offline."""

    folder: Path
    environment: dict[str, str]

    @property
    def python(self) -> str:
        return str(self.folder / "venv" / "bin" / "python")

    @property
    def wheels(self) -> Path:
        """Where pip finds what PyPI would have."""
        return self.folder / "wheels"

    def run(self, *command: str | Path) -> str:
        done = subprocess.run(
            [self.python, *command],
            cwd=self.folder / "work",
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def installed(self, name: str) -> str:
        ask = f"from importlib.metadata import version; print(version({name!r}))"
        return self.run("-c", ask).strip()

    def download(self, *arguments: str) -> str:
        command = Path(os.environ["DOORS"]) / "bin" / "llamaindex-cli"
        return self.run(command, "download-llamapack", "MixtureOfAgentsPack", *arguments)


def publish_a_core_to_come(wheels: Path) -> None:
    """A wheel of a newer core, which an install of the pack must not take."""
    wheels.mkdir()
    name, info = "llama_index_core-0.14.99", "llama_index_core-0.14.99.dist-info"
    with zipfile.ZipFile(wheels / f"{name}-py3-none-any.whl", "w") as wheel:
        head = "Metadata-Version: 2.1\nName: llama-index-core\nVersion: 0.14.99\n"
        wheel.writestr(f"{info}/METADATA", head)
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tag)
        wheel.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture
def machine(tmp_path, repository, providers: SimulatedProviders) -> Machine:
    prepared = Path(os.environ["DOORS"])
    venv = tmp_path / "venv"
    subprocess.run([prepared / "bin" / "python", "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    (theirs,) = prepared.glob("lib/python*/site-packages")
    (packages / "everything_else.pth").write_text(f"{theirs}\n")
    (packages / "llama_index").mkdir()  # where core is, this folder is; a running Python knows it
    (tmp_path / "work").mkdir()
    publish_a_core_to_come(tmp_path / "wheels")
    support = ROOT / "tests" / "support"
    environment = {
        **providers.environment,
        "DOORS_REPOSITORY": f"http://127.0.0.1:{repository.server_port}",
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        "PATH": os.environ["PATH"],
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: no isolation
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": f"{support / 'doors'}{os.pathsep}{support / 'offline'}",
    }
    return Machine(tmp_path, environment)


def assert_the_seed_usage_answers(said: str, providers: SimulatedProviders) -> None:
    (answer,) = [line for line in said.splitlines() if line.startswith("ANSWER ")]
    assert "2 references received" in said
    assert "assistant:" not in answer
    assert providers.counts().arrived == 2 * 3 + 1


def files(folder: Path) -> set[str]:
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }


def assert_same(template: Path) -> None:
    """The template holds the package as it is here, pyproject.toml, a README and nothing else."""
    ours = {f"{PACKAGE}/{name}" for name in files(ROOT / PACKAGE)}
    assert files(template) == ours | {"pyproject.toml", "README.md"}
    same = filecmp.cmpfiles(ROOT, template, [*ours, "pyproject.toml"], shallow=False)
    assert same[1:] == ([], [])


def test_the_command_lays_the_pack_down_and_installs_it(machine, repository, providers):
    said = machine.download("--download-dir", "./mixture_of_agents_pack")
    assert "Successfully downloaded MixtureOfAgentsPack to ./mixture_of_agents_pack" in said
    assert_same(machine.folder / "work" / "mixture_of_agents_pack")
    assert repository.asked[-1] == ANALYTICS
    assert machine.installed("llama-index-packs-mixture-of-agents") == "1.0.0"
    assert machine.installed("llama-index-core") == "0.14.20"
    machine.run("-m", "pip", "check")
    assert str(machine.folder / "venv") in machine.run("-c", WHERE)
    assert_the_seed_usage_answers(machine.run("-c", f"{INSTALLED}\n{SEED_USAGE}"), providers)


def test_the_command_without_a_directory_uses_its_own(machine):
    assert "Successfully" in machine.download()
    assert_same(machine.folder / "work" / "llama_packs")


def test_a_second_download_into_the_same_folder_renews_it(machine, providers):
    machine.download("--download-dir", "here")
    module = machine.folder / "work" / "here" / PACKAGE / "base.py"
    module.write_text("raise RuntimeError('changed')\n")
    machine.download("--download-dir", "here")
    assert_same(machine.folder / "work" / "here")
    assert_the_seed_usage_answers(machine.run("-c", f"{INSTALLED}\n{SEED_USAGE}"), providers)


DOWNLOADED = """
from llama_index.core.llama_pack import BaseLlamaPack, download_llama_pack

MixtureOfAgentsPack = download_llama_pack("MixtureOfAgentsPack"{directory})
assert issubclass(MixtureOfAgentsPack, BaseLlamaPack)
"""


def test_the_downloaded_class_answers(machine, providers):
    download = DOWNLOADED.format(directory=', "./mixture_of_agents_pack"')
    assert_the_seed_usage_answers(machine.run("-c", download + SEED_USAGE), providers)
    assert_same(machine.folder / "work" / "mixture_of_agents_pack")


def test_without_a_directory_the_class_comes_from_the_package_index(machine, providers, wheel):
    shutil.copy(wheel, machine.wheels)
    download = DOWNLOADED.format(directory="")
    assert_the_seed_usage_answers(machine.run("-c", download + SEED_USAGE), providers)
    assert machine.installed("llama-index-core") == "0.14.20"


@pytest.mark.parametrize("built", ["wheel", "sdist"])
def test_installing_over_the_old_pack_replaces_it(machine, providers, request, built):
    (old,) = (Path(os.environ["DOORS"]) / "old").glob("*.whl")
    pip_install = ["-m", "pip", "install", "--no-deps"]
    machine.run(*pip_install, old)
    assert machine.installed("llama-index-packs-mixture-of-agents") == "0.5.1"
    machine.run(*pip_install, request.getfixturevalue(built))
    (packages,) = machine.folder.glob("venv/lib/python*/site-packages")
    assert files(packages / PACKAGE) == files(ROOT / PACKAGE)
    (info,) = packages.glob("*.dist-info")
    assert info.name == "llama_index_packs_mixture_of_agents-1.0.0.dist-info"
    said = machine.run("-c", f"{INSTALLED}\n{WHERE}\n{SEED_USAGE}")
    assert said.startswith(f"FROM {packages / PACKAGE}")
    assert_the_seed_usage_answers(said, providers)


def test_a_template_is_used_the_two_ways_that_its_readme_says(machine, providers, wheel):
    machine.run("-m", "pip", "install", "--no-deps", wheel)
    template = machine.folder / "my_pack"
    moa = [sys.executable, "-m", "llama_index.packs.mixture_of_agents.cli", "pack"]
    subprocess.run([*moa, str(template)], check=True)
    subprocess.run([*moa, "--check", str(template)], check=True)
    with (template / PACKAGE / "base.py").open("a") as source:
        source.write('MixtureOfAgentsPack.__doc__ = "changed by its user"\n')
    said = subprocess.run([*moa, "--check", str(template)], check=False, stdout=subprocess.PIPE)
    assert said.returncode == 1
    assert said.stdout.splitlines() == [f"{PACKAGE}/base.py: changed by you".encode()]

    program = f"{INSTALLED}; print(MixtureOfAgentsPack.__doc__)\n{WHERE}\n{SEED_USAGE}"
    assert "changed by its user" not in machine.run("-c", program)
    named = replace(
        machine,
        environment=machine.environment
        | {"PYTHONPATH": f"{template}{os.pathsep}{machine.environment['PYTHONPATH']}"},
    )
    for way in (named, machine):
        if way is machine:
            machine.run("-m", "pip", "install", "--no-deps", "-e", template)
        providers.reset()
        said = way.run("-c", program)
        assert said.startswith("changed by its user\n")
        assert f"FROM {template}" in said
        assert_the_seed_usage_answers(said, providers)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


def build(target: str, folder: Path) -> Path:
    """The pack as PyPI would have it, built by the environment that everything but the pack is in."""
    python = Path(os.environ["DOORS"]) / "bin" / "python"
    subprocess.run(
        [python, "-m", "hatchling", "build", "--target", target, "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.iterdir()
    return built
