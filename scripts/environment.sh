# Sourced by the other scripts: virtual environments in .venv, made by $PYTHON (default: python3).

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON:-python3}

fail() {
    echo "$0: $1" >&2
    exit 1
}

command -v "$python" >/dev/null ||
    fail "there is no $python; set PYTHON to a Python of version 3.10 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version 2>&1) is too old; set PYTHON to version 3.10 or newer"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no venv; on Debian and Ubuntu: apt install python3-venv"

# environment NAME ARGUMENT...: sets $bin to the programs of the environment .venv/NAME, in which
# `pip install ARGUMENT...` was run. It is made anew where it is broken, where pyproject.toml or an
# argument has changed, or where it was made by another Python or in another place.
environment() {
    venv=$root/.venv/$1
    bin=$venv/bin
    shift
    identity='import sys; print(sys.base_prefix, sys.version)'
    wanted=$(echo "$bin $*" && "$python" -c "$identity" && cat "$root/pyproject.toml")
    if [ "$(cat "$venv/wanted" 2>/dev/null)" != "$wanted" ] ||
        ! "$bin/python" -c 'import pip, sentry_sdk' 2>/dev/null; then
        echo "== Making the environment $venv"
        "$python" -m venv --clear "$venv"
        # What is imported is compiled then. That is a part of it.
        "$bin/python" -m pip install -q --disable-pip-version-check --no-compile "$@"
        printf '%s\n' "$wanted" >"$venv/wanted"
    fi
}

# begin NAME: says which part begins. `end` then says how many seconds each took.
parts=
begin() {
    parts="$parts$(date +%s) $1
"
    echo "== $1"
}

end() {
    echo "== Seconds"
    printf '%s%s\n' "$parts" "$(date +%s)" | awk '
        NR > 1 { printf "%6d  %s\n", $1 - begun, name }
        NR == 1 { first = $1 }
        { begun = $1; name = substr($0, length($1) + 2) }
        END { printf "%6d  in all\n", begun - first }'
}
