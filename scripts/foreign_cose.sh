#!/usr/bin/env bash
# Checks keys, updates and votes of a real federation with tools that share no code with Witan:
# openssl and Python's pycose. Creates a small federation and a Python environment of its own.
# usage: scripts/foreign_cose.sh        WITAN names the program [default: the release build]
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in openssl python3; do
    command -v "$tool" >/dev/null || { echo "error: $tool is not installed" >&2; exit 1; }
done
witan=${WITAN:-${CARGO_TARGET_DIR:-target}/release/witan}
[ -x "$witan" ] || { echo "error: no $witan; build it with: cargo build --release" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/python" || { echo "error: python3 has no working venv (python3-venv)" >&2; exit 1; }
"$work/python/bin/pip" install --quiet --disable-pip-version-check \
    pycose==1.1.0 cbor2==5.6.5 cryptography==50.0.2 \
    || { echo "error: pip cannot install pycose, cbor2 and cryptography" >&2; exit 1; }

"$witan" testnet --nodes 4 --rounds 1 --local-steps 1 --no-compare --json --dir "$work/net" >/dev/null
home=$work/net/nodes/00
federation=$("$witan" member list --json --home "$home" \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["federation"])')

# The public key that openssl derives from the secret file is the one that `witan keys` prints.
"$witan" keys --pem --home "$home" >"$work/public.pem"
openssl pkey -in "$home/key.pem" -pubout | cmp - "$work/public.pem"
echo "openssl: the public key of $(basename "$home") is the one in its secret key file"

# Every update and vote in a record, and every flipped bit of an update.
"$witan" rounds --home "$home" --round 1 --raw >"$work/record.cbor"
digest=$("$witan" rounds --home "$home" --round 1 --json \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["record_digest"])')
"$work/python/bin/python" scripts/foreign_cose.py \
    "$work/record.cbor" "$federation" "$work" "$digest"

# The first update once more, with openssl and nothing else.
for each in "$work"/net/nodes/*; do
    "$witan" keys --json --home "$each" | grep -q "$(cat "$work/signer")" || continue
    "$witan" keys --pem --home "$each" >"$work/signer.pem"
done
verify() {
    openssl pkeyutl -verify -pubin -inkey "$work/signer.pem" -rawin -in "$1" -sigfile "$work/signature"
}
verify "$work/signed" >/dev/null
if verify "$work/altered" >/dev/null 2>&1; then
    echo "error: openssl accepts an altered update" >&2
    exit 1
fi
echo "openssl: the update verifies, and an altered one does not"
