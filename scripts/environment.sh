#!/bin/sh
# The Python environment in .venv, made and kept by pipenv. Used by the Makefile.
#
#   environment.sh sync   bring .venv in line with Pipfile.lock; do nothing where it already is
#   environment.sh lock   renew Pipfile.lock
#
# PYTHON names the Python to use; without it, the first suitable one on PATH is taken.
set -eu
cd "$(dirname "$0")/.."

pipenv_version=2026.10.3
is_suitable='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
version_of='import sys; print("%d.%d.%d" % sys.version_info[:3])'
unfinished=.venv-unfinished # there while pipenv works; afterwards only if it was interrupted

# .venv is the environment, whatever other one the shell or the user's pipenv settings may name.
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH PIPENV_ACTIVE PIPENV_PIPFILE PIPENV_PYTHON PIPENV_DEFAULT_PYTHON_VERSION
export PIPENV_IGNORE_VIRTUALENVS=1 PIPENV_VENV_IN_PROJECT=1 PIPENV_NOSPIN=1 PIPENV_YES=1

say() { echo "$*" >&2; }
stop() { say "$*"; exit 1; }

find_python() {
    found=
    for python in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
        version=$("$python" -c "$version_of" 2>/dev/null) || continue
        "$python" -c "$is_suitable" && python=$("$python" -c 'import sys; print(sys.executable)') && return
        found="$found $python is $version;"
    done
    [ -n "$found" ] || found=" ${PYTHON:-none on PATH}${PYTHON:+, which does not run};"
    stop "This project needs Python 3.11, 3.12 or 3.13. Found:${found%;}." \
        "Install one of them, or name it: make PYTHON=/path/to/python3.12"
}

# Our own pipenv: the same version for everybody, in a folder that git ignores.
own_pipenv() {
    pipenv='.pipenv/bin/python -m pipenv'
    case $($pipenv --version 2>/dev/null) in *" $pipenv_version") return ;; esac
    say "Fetching pipenv $pipenv_version into .pipenv"
    rm -rf .pipenv
    "$python" -m venv .pipenv >&2 ||
        stop "$python cannot make virtual environments: install its venv module (python3-venv), or pipenv."
    .pipenv/bin/python -m pip install --quiet --disable-pip-version-check "pipenv==$pipenv_version" >&2 ||
        stop "pip could not install pipenv $pipenv_version: is the package index within reach?"
}

# Before 2026.7, pipenv stumbles over a lock file that names no package index.
find_pipenv() {
    pipenv=pipenv
    pipenv --version 2>/dev/null | awk '{ split($NF, v, "."); new = v[1] * 100 + v[2] >= 202607 } END { exit !new }' ||
        own_pipenv
}

# What a finished .venv was made from: its place, its Python, the lock and the package's own settings.
contents() {
    pwd
    .venv/bin/python -c "$version_of"
    cksum Pipfile.lock pyproject.toml
}

is_usable() {
    .venv/bin/python -c "$is_suitable" 2>/dev/null || return 1
    [ ! -f .venv/made-from ] || [ "$(head -n 1 .venv/made-from)" = "$(pwd)" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -c "$version_of" 2>/dev/null)" = "$(.venv/bin/python -c "$version_of")" ]
}

sync() {
    interrupted=
    if [ -f "$unfinished" ]; then
        ! kill -0 "$(cat "$unfinished")" 2>/dev/null ||
            stop "Another make (process $(cat "$unfinished")) is setting up .venv: wait for it, then try again."
        interrupted=yes
    elif is_usable && [ "$(contents)" = "$(cat .venv/made-from 2>/dev/null)" ]; then
        return
    fi

    find_python
    find_pipenv
    if [ -n "$interrupted" ] || ! is_usable; then
        [ ! -e .venv ] || say "Replacing .venv: unfinished, moved, broken or made with another Python"
        rm -rf .venv
        set -- --python "$python"
    fi
    say "Installing what Pipfile.lock names into .venv (the first time, a few minutes)"
    echo $$ >"$unfinished"
    rm -f .venv/made-from
    done=yes
    $pipenv sync --dev "$@" >&2 || done=
    rm "$unfinished"
    [ -n "$done" ] || stop "pipenv could not install what Pipfile.lock names: see above."
    contents >.venv/made-from
}

lock() {
    find_python
    own_pipenv
    $pipenv lock
    .pipenv/bin/python scripts/clean_lock.py
}

case ${1:-} in
sync | lock)
    command=$1
    shift
    "$command" "$@"
    ;;
*) stop "usage: environment.sh sync|lock" ;;
esac
