import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import llama_index.packs.mixture_of_agents as package

ROOT = Path(__file__).parents[2]
PACKAGE = "llama_index/packs/mixture_of_agents"
INFO = "llama_index_packs_mixture_of_agents-1.0.0"


def build(target: str, source: Path, destination: Path) -> Path:
    """What `pip install` would build from the folder `source`, a wheel or an sdist."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "-d", str(destination)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (built,) = destination.iterdir()
    return built


def lay_out(folder: Path, *names: str) -> Path:
    """A folder with these files of the project and its package."""
    folder.mkdir()
    for name in ("pyproject.toml", *names):
        shutil.copy(ROOT / name, folder)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "llama_index", folder / "llama_index", ignore=ignore)
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project") / "project"
    return lay_out(folder, "README.md", "LICENSE", "CHANGELOG.md", "Makefile")


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory):
    return contents(build("wheel", project, tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def sdist(project, tmp_path_factory):
    return build("sdist", project, tmp_path_factory.mktemp("sdist"))


@pytest.fixture
def metadata(wheel):
    return email.message_from_bytes(wheel[f"{INFO}.dist-info/METADATA"])


def test_the_wheel_holds_the_package_and_nothing_in_the_namespaces_above_it(wheel):
    outside = [name for name in wheel if not name.startswith((f"{PACKAGE}/", f"{INFO}.dist-info/"))]
    assert outside == []
    assert f"{PACKAGE}/__init__.py" in wheel
    assert f"{PACKAGE}/py.typed" in wheel


def test_every_file_of_the_package_is_ascii_text(wheel):
    # LlamaIndex downloads them one by one and writes them in the encoding of the user's machine.
    for name, data in wheel.items():
        assert not name.startswith(PACKAGE) or (data.isascii() and b"\0" not in data), name


def test_no_file_of_the_wheel_or_sdist_names_a_path_of_this_machine(wheel, sdist):
    with tarfile.open(sdist) as archive:
        files = [archive.extractfile(member) for member in archive.getmembers()]
        sources = {str(file.name): file.read() for file in files if file is not None}
    homes = [os.fsencode(path) for path in {ROOT, Path.home(), Path(sys.prefix)}]
    found = [
        name for name, data in (wheel | sources).items() if any(home in data for home in homes)
    ]
    assert found == []


def test_the_metadata_says_what_the_package_is_and_needs(metadata):
    assert metadata["Name"] == "llama-index-packs-mixture-of-agents"
    assert metadata["Version"] == "1.0.0"
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata["Requires-Python"].split(",")) == {">=3.10", "<4.0"}
    assert "llama-index-core<0.15,>=0.14.16" in metadata.get_all("Requires-Dist")
    needed = {entry.split("<")[0].split(">")[0] for entry in metadata.get_all("Requires-Dist")}
    assert {"llama-index-llms-openai", "llama-index-llms-mistralai"} <= needed
    extras = {
        "all",
        "batch",
        "cli",
        "cost",
        "display",
        "eval",
        "fast",
        "mcp",
        "otel",
        "plot",
        "ray",
        "redis",
        "server",
    }
    assert set(metadata.get_all("Provides-Extra")) == extras


def test_what_a_package_index_shows_has_no_link_or_picture_that_breaks_there(metadata):
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload()
    assert "MixtureOfAgentsPack(" in text
    targets = re.findall(r"\]\(([^)]*)\)|<(?:a|img)\b[^>]*", text)
    assert [one for one in targets if "://" not in one] == []
    compile(text.partition("```python")[2].partition("```")[0], "description", "exec")


def test_the_readme_says_how_to_install_what_it_describes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^pip install \"\.\[cli\]\"", text, re.MULTILINE)
    assert not re.search(r"^pip install .*llama-index-packs", text, re.MULTILINE)


def test_the_licence_travels_with_the_wheel(wheel):
    assert wheel[f"{INFO}.dist-info/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_sdist_builds_the_same_wheel(wheel, sdist, tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", str(sdist)]
    offline = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, *offline], check=True, capture_output=True)
    rebuilt = contents(next(tmp_path.glob("*.whl")))
    record = f"{INFO}.dist-info/RECORD"
    assert rebuilt.pop(record)
    assert rebuilt == {name: data for name, data in wheel.items() if name != record}


def test_a_downloaded_template_builds_with_a_stub_readme_and_no_licence(wheel, tmp_path):
    template = lay_out(tmp_path / "template")
    (template / "README.md").write_text("# A stub\n")
    built = contents(build("wheel", template, tmp_path / "wheel"))
    ours = {name for name in wheel if name.startswith(PACKAGE)}
    assert {name for name in built if name.startswith(PACKAGE)} == ours


@pytest.mark.skipif("TESTING_THE_INSTALLED" not in os.environ, reason="only under make")
def test_the_suite_runs_on_the_installed_wheel_and_that_is_up_to_date():
    installed = Path(package.__path__[0])
    source = ROOT / PACKAGE
    assert installed != source

    def files(folder: Path) -> dict[str, bytes]:
        found = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
        return {str(file.relative_to(folder)): file.read_bytes() for file in found}

    assert files(installed) == files(source)


def test_without_genai_prices_only_the_users_own_prices_are_known():
    ask = """
import json, sys
sys.modules["genai_prices"] = None
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.pricing import price_of
some = Usage(1000, 100)
print(json.dumps([price_of("openai", "gpt-4.1", some), str(price_of("openai", "m", some, {"m": (1, 2)}))]))
"""
    done = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True)
    assert json.loads(done.stdout) == [None, "0.0012"]
