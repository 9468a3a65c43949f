"""Checks what a node has stored with tools that share no code with it: pycose and cbor2.

usage: foreign_cose.py RECORD FEDERATION_ID OUT RECORD_DIGEST

RECORD is the output of `witan rounds --round N --raw`; FEDERATION_ID and RECORD_DIGEST have 64
hexadecimal digits each. Verifies every update in the record and every vote of its certificate, and
that flipping any bit makes verification fail; writes to OUT what `openssl` needs to verify the
first update once more.
"""

import sys
from pathlib import Path

import cbor2
from pycose.keys import OKPKey
from pycose.keys.curves import Ed25519
from pycose.messages import Sign1Message

TAG_SIGN1, ALG, CONTENT_TYPE, KEY_ID, EDDSA = 18, 1, 3, 4, -8


def verify(envelope, kind, federation):
    """Who signed the envelope of this kind; None if the signature is invalid."""
    message = Sign1Message.decode(envelope)
    header = cbor2.loads(message.phdr_encoded)
    if header[ALG] != EDDSA or header[CONTENT_TYPE] != "witan/" + kind:
        return None
    message.external_aad = b"witan/1/" + kind.encode() + federation
    message.key = OKPKey(crv=Ed25519, x=header[KEY_ID], optional_params={})
    return header[KEY_ID] if message.verify_signature() else None


def is_rejected(envelope, federation):
    """Whether the envelope is refused, including when it cannot be decoded."""
    try:
        return verify(envelope, "update", federation) is None
    except Exception:
        return True


def vote(certificate, commit, proposal, value):
    """A precommit's envelope, rebuilt from the certificate; its payload follows from the record."""
    payload = {"round": proposal["round"], "view": certificate["view"], "step": "precommit", "value": value}
    header = {ALG: EDDSA, CONTENT_TYPE: "witan/vote", KEY_ID: commit["member"]}
    parts = [cbor2.dumps(header), {}, cbor2.dumps(payload), commit["signature"]]
    return cbor2.dumps(cbor2.CBORTag(TAG_SIGN1, parts))


def main():
    record_file, federation, out = Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), Path(sys.argv[3])
    record = cbor2.loads(record_file.read_bytes())
    proposal = record["proposal"]
    updates = [part["envelope"] for part in proposal["included"]]
    for part in proposal["included"]:
        signer = verify(part["envelope"], "update", federation)
        assert signer == part["member"], f"the update of {part['member'].hex()} does not verify"
    first = updates[0]
    bits = 8 * len(first)
    for bit in range(bits):
        flipped = bytearray(first)
        flipped[bit // 8] ^= 1 << bit % 8
        if not is_rejected(bytes(flipped), federation):
            sys.exit(f"bit {bit} of {bits} was flipped, and the update still verifies")
    assert is_rejected(first, bytes(32)), "an update of another federation verifies"

    protected, _, payload, signature = cbor2.loads(first).value
    altered = payload[:-1] + bytes([payload[-1] ^ 1])
    for name, said in [("signed", payload), ("altered", altered)]:
        structure = ["Signature1", protected, b"witan/1/update" + federation, said]
        (out / name).write_bytes(cbor2.dumps(structure))
    (out / "signature").write_bytes(signature)
    (out / "signer").write_text(cbor2.loads(protected)[KEY_ID].hex())
    value, certificate = bytes.fromhex(sys.argv[4]), record["certificate"]
    for commit in certificate["signatures"]:
        signer = verify(vote(certificate, commit, proposal, value), "vote", federation)
        assert signer == commit["member"], f"the vote of {commit['member'].hex()} does not verify"
    votes = len(certificate["signatures"])
    print(f"pycose: {len(updates)} updates and {votes} votes verify; {bits} of {bits} flipped bits are rejected")


main()
