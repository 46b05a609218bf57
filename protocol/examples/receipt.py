#!/usr/bin/env python3
"""Checks a file of Towline receipts, line by line, with the Python package "cryptography" and nothing of
Towline: section 15 of SPEC.md in code.

    python3 receipt.py FILE SHA256:...
"""

import base64
import hashlib
import json
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

FIELDS = {
    "receipt", "scheme", "public_key", "server_id", "user_id", "user", "document_id", "folder",
    "filename", "filesize", "blake3", "created_at", "durable", "signed_at", "signature",
}


def object_without_doubles(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def signed_bytes(receipt):
    folder = receipt.get("folder", [])
    fields = [
        receipt["scheme"],
        base64.b64decode(receipt["public_key"], validate=True),
        receipt["server_id"],
        receipt["user_id"],
        receipt["user"],
        receipt["document_id"],
        len(folder),
        *folder,
        receipt["filename"],
        receipt["filesize"],
        receipt["blake3"],
        receipt["created_at"],
        "true" if receipt["durable"] else "false",
        receipt["signed_at"],
    ]
    message = b"towline receipt 1\n"
    for field in fields:
        field = field if isinstance(field, bytes) else str(field).encode()
        message += struct.pack(">I", len(field)) + field
    return message


def verify(key, scheme, signature, message):
    if scheme.startswith("ecdsa_"):
        curve, digest = {
            "ecdsa_secp256r1_sha256": ("secp256r1", hashes.SHA256()),
            "ecdsa_secp384r1_sha384": ("secp384r1", hashes.SHA384()),
            "ecdsa_secp521r1_sha512": ("secp521r1", hashes.SHA512()),
        }[scheme]
        if key.curve.name != curve:
            raise ValueError("the key has another curve")
        key.verify(signature, message, ec.ECDSA(digest))
    elif scheme == "rsa_pss_rsae_sha256":
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
        key.verify(signature, message, pss, hashes.SHA256())
    elif scheme == "ed25519":
        key.verify(signature, message)
    else:
        raise ValueError(f"unknown scheme {scheme}")


def check(line, fingerprint):
    """Returns the receipt, if it is good and signed by that key."""
    receipt = json.loads(line, object_pairs_hook=object_without_doubles)
    if receipt["receipt"] != 1 or not set(receipt) <= FIELDS:
        raise ValueError("another format")
    public_key = base64.b64decode(receipt["public_key"], validate=True)
    digest = base64.urlsafe_b64encode(hashlib.sha256(public_key).digest()).rstrip(b"=").decode()
    if "SHA256:" + digest != fingerprint:
        raise ValueError(f"signed by another key, SHA256:{digest}")
    key = serialization.load_der_public_key(public_key)
    signature = base64.b64decode(receipt["signature"], validate=True)
    verify(key, receipt["scheme"], signature, signed_bytes(receipt))
    return receipt


def main():
    path, fingerprint = sys.argv[1:]
    is_good = True
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                receipt = check(line, fingerprint)
                print("/".join([*receipt.get("folder", []), receipt["filename"]]) + ": good")
            except (InvalidSignature, ValueError, KeyError, TypeError, AttributeError) as error:
                is_good = False
                print(f"line {number}: {type(error).__name__}: {error}")
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
