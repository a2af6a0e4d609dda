# The server under judgement, for scripts: source this file, then `server_start IO DIRECTORY [FLAG]...`.
#
# TMWS_BIN names the program; without it a release build is made (CARGO_TARGET_DIR is respected).
# TMWS_FIXTURE_BIN names one with what protocol suites call: the feature `conformance-fixture`.

server_pid=

# Prints the path of the program.
server_binary() {
    if [[ -n ${TMWS_BIN:-} ]]; then
        [[ -x $TMWS_BIN ]] || { echo "TMWS_BIN is no program: $TMWS_BIN" >&2; return 2; }
        realpath "$TMWS_BIN"
        return
    fi
    local root
    root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
    (cd "$root" && cargo build --release --bin tmws >&2 && realpath "${CARGO_TARGET_DIR:-target}/release/tmws")
}

# Tells whether this source has the feature.
has_fixture() {
    grep -q '^conformance-fixture' "$(dirname "${BASH_SOURCE[0]}")/../Cargo.toml"
}

# Prints the path of the program with the fixture: `fixture_binary [debug|release]`.
fixture_binary() {
    if [[ -n ${TMWS_FIXTURE_BIN:-} ]]; then
        TMWS_BIN=$TMWS_FIXTURE_BIN server_binary
        return
    fi
    has_fixture || { echo 'this source has no feature conformance-fixture' >&2; return 2; }
    (
        cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
        profile=${1:-release}
        [[ $profile == release ]] && flag=--release || flag=
        built=${CARGO_TARGET_DIR:-target}/$profile
        # Cargo gives both programs one name; whoever knows the plain one by its path shall find it there.
        [[ ! -e $built/tmws ]] || mv -f "$built/tmws" "$built/tmws-plain"
        # shellcheck disable=SC2086 # may be nothing
        cargo build $flag --bin tmws --features conformance-fixture >&2 &&
            cp --remove-destination "$built/tmws" "$built/tmws-fixture"
        code=$?
        rm -f "$built/tmws"
        [[ ! -e $built/tmws-plain ]] || mv -f "$built/tmws-plain" "$built/tmws"
        ((code == 0)) && realpath "$built/tmws-fixture"
    )
}

# Starts $tmws; sets server_pid, server_api and server_ws. Its log is DIRECTORY/server.log.
server_start() {
    local io=$1 directory=$2 turn name line
    shift 2
    mkdir -p "$directory"
    : >"$directory/server.log"
    (
        # The server takes TMWS_* for its own settings, and refuses one that it does not know.
        for name in "${!TMWS_@}"; do unset "$name"; done
        # No download for what is not about meaning; a flag outranks it.
        export TMWS_EMBEDDING_MODEL=none
        exec "$tmws" --data-dir "$directory/data" --api-port 0 --ws-port 0 --io "$io" --log-format json "$@"
    ) >"$directory/server.log" 2>&1 &
    server_pid=$!
    for ((turn = 0; turn < 100; turn++)); do
        if line=$(grep -m 1 '"message":"listening"' "$directory/server.log"); then
            server_api=$(sed 's/.*"api":"\([^"]*\)".*/\1/' <<<"$line")
            server_ws=$(sed 's/.*"ws":"\([^"]*\)".*/\1/' <<<"$line")
            return
        fi
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "the server did not start:" >&2
    cat "$directory/server.log" >&2
    return 1
}

# Stops it; fails unless it ends by itself with exit code 0 in time.
server_stop() {
    local turn
    [[ -n $server_pid ]] || return 0
    kill -TERM "$server_pid" 2>/dev/null || true
    for ((turn = 0; turn < 120; turn++)); do
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$server_pid" 2>/dev/null && echo 'the server did not stop within 12 s' >&2
    local code=0
    wait "$server_pid" || code=$?
    server_pid=
    return "$code"
}
