# Sourced by the other scripts: installs what a Debian machine lacks and chooses the target folder.
#
# Needs a Rust toolchain; everything else comes from apt (as root, or through sudo without a password).
# Safe to source again: where everything is there, it does nothing and asks no server.

minimum_rust=1.92

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
command -v cargo >/dev/null ||
    fail "no Rust toolchain: install Rust $minimum_rust or newer from https://rustup.rs, then run this again"
rust=$(rustc --version | cut -d' ' -f2)
[ "$(printf '%s\n' "$minimum_rust" "$rust" | sort -V | head -n1)" = "$minimum_rust" ] ||
    fail "Rust $rust is too old: $minimum_rust or newer is needed (rustup update stable)"

# What is looked for, and the Debian package that brings it. bindgen (of the llama.cpp bindings) loads
# libclang; the models come from Python packages where the model hub cannot be reached.
missing=()
command -v c++ >/dev/null || missing+=(build-essential)
command -v make >/dev/null || missing+=(build-essential)
command -v cmake >/dev/null || missing+=(cmake)
# libclang alone lacks the compiler's own headers, which come with libclang-dev.
[ -n "$(find /usr/lib/llvm-*/lib/ /usr/lib/x86_64-linux-gnu/ -name 'libclang*.so*' -print -quit 2>/dev/null)" ] &&
    [ -n "$(find /usr/lib/llvm-*/lib/clang/ /usr/lib/clang/ -name stdbool.h -print -quit 2>/dev/null)" ] ||
    missing+=(libclang-dev)
command -v python3 >/dev/null || missing+=(python3)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

if [ "${#missing[@]}" -gt 0 ]; then
    command -v apt-get >/dev/null || fail "please install: ${missing[*]}"
    if [ "$(id -u)" = 0 ]; then as_root=(env); else as_root=(sudo -n); fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq >&2 &&
        "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
        fail "could not install ${missing[*]}: run 'apt-get install ${missing[*]}' as root, then this again"
fi

# One target folder for all checkouts, so that a second clone need not compile the dependencies again.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/coderag/build}"

# Cargo tells the crates of one checkout from those of another by the times of their files alone, and so
# would take over what a later build elsewhere made of older files.
if [ "$(cat "$CARGO_TARGET_DIR/checkout" 2>/dev/null)" != "$PWD" ]; then
    find crates configs -type f -exec touch {} +
    mkdir -p "$CARGO_TARGET_DIR"
    printf '%s' "$PWD" >"$CARGO_TARGET_DIR/checkout"
fi
coderag="$CARGO_TARGET_DIR/release/coderag"

# llama.cpp is built for AVX2 unless told otherwise; with AVX-512 it reads prompts 1.4 times as fast. The
# binary is for the machine that builds it. (CMake options of ggml, which the bindings pass on.)
if grep -qs '^flags.* avx512vl' /proc/cpuinfo; then
    export GGML_AVX512=ON
    for extension in vbmi:VBMI _vnni:VNNI _bf16:BF16; do
        if grep -qs "^flags.* avx512${extension%%:*}" /proc/cpuinfo; then
            export "GGML_AVX512_${extension##*:}=ON"
        fi
    done
fi
