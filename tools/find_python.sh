#!/bin/sh
# Prints a Python that can make our virtual environment, or says what is missing.
# usage: find_python.sh [VERSION]      VERSION such as 3.12; without it any Python from 3.10 on.
# PYTHON=/some/python in the environment is the only one tried, if set.
wanted=${1:-}
if [ -n "${PYTHON:-}" ]; then
    candidates=$PYTHON
elif [ -n "$wanted" ]; then
    candidates="python$wanted python3"
else
    candidates="python3 python3.14 python3.13 python3.12 python3.11 python3.10 python"
fi
if [ -z "${PYTHON:-}" ]; then
    for minor in 14 13 12 11 10; do
        for found in "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python; do
            [ -x "$found" ] && candidates="$candidates $found"
        done
    done
fi

tried=
for candidate in $candidates; do
    answer=$("$candidate" - "$wanted" 2>/dev/null <<'PROBE'
import sys
version = ".".join(str(part) for part in sys.version_info[:2])
if sys.version_info < (3, 10) or sys.argv[1] not in ("", version):
    print("is Python " + version)
else:
    try:
        import ensurepip, ssl, venv
        print("ok " + sys.executable)
    except ImportError as error:
        print("is Python %s without %s" % (version, error.name))
PROBE
    )
    case $answer in
        "ok "*) echo "${answer#ok }"; exit 0 ;;
        "") ;;
        *) tried="$tried
  $candidate $answer" ;;
    esac
done
{
    echo "No Python ${wanted:-3.10 or newer} that can make a virtual environment was found.${tried:+ Tried:$tried}"
    case $tried in
        *"without ensurepip"*) echo "On Debian and Ubuntu: apt install python3-venv" ;;
    esac
    echo "To use another one: make PYTHON=/path/to/python ..."
} >&2
exit 1
