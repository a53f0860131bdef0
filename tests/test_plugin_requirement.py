"""The plugin without Detectron2: it says what to install, and nothing else of the package needs it."""

import subprocess
import sys

ABSENT = "import sys; sys.modules['detectron2'] = None\n"


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", ABSENT + code], capture_output=True, text=True)


def test_importing_the_plugin_says_what_to_install_and_what_needs_none():
    for code in ("import seggen_d2.plugin", "from seggen_d2.plugin import register_all", "import seggen_d2.plugin.swap"):
        done = run(code)
        assert done.returncode == 1 and "SegGenError" in done.stderr
        assert "INSTALL.md" in done.stderr and "transformers" in done.stderr and "not installed" in done.stderr
        assert done.stderr.count("Traceback") == 1 and "import of detectron2 halted" in done.stderr


def test_the_package_itself_imports_without_it():
    assert run("import seggen_d2, seggen_d2.engine, seggen_d2.mixing, seggen_d2.bank").returncode == 0
