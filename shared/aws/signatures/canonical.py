"""Paths and queries as signers write them: what a request on the wire may have looked like when it was signed.

Source: AWS's description of the canonical request. Lambda's canonical path is encoded twice: the path on the wire is encoded
once more. Clients differ in small things (dot segments, characters that need no encoding, a raw `+`); each function gives every
form that clients are known to sign, the usual one first, and none from which another request could have been meant.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_.~-]+)+")
_PLAIN_QUERY = re.compile(rb"[A-Za-z0-9_.~-]+=[A-Za-z0-9_.~-]*")
SIGNATURE_PARAMETER = b"X-Amz-Signature"


def canonical_paths(raw_path: bytes) -> tuple[bytes, ...]:
    """Most encode the path of the wire once more. Some encode twice from the decoded text, which differs where the wire has
    characters that need no encoding, as the colons of an ARN. Dot segments and double slashes are removed by some.
    """
    if _PLAIN_PATH.fullmatch(raw_path) is not None and b"/." not in raw_path:
        return (raw_path,)
    forms = []
    for path in (normal_path(raw_path), raw_path):
        forms.append(quote(path, safe="/~").encode())
        segments = [quote(unquote_to_bytes(part), safe="~") for part in path.split(b"/")]
        forms.append(quote("/".join(segments), safe="/~").encode())
    return tuple(dict.fromkeys(forms))


def paths_encoded_once(raw_path: bytes) -> tuple[bytes, ...]:
    """S3's: the path of the wire, or what it is encoded from, encoded as AWS does. Nothing is removed from it."""
    return tuple(dict.fromkeys((raw_path, quote(unquote_to_bytes(raw_path), safe="/~").encode())))


def normal_path(path: bytes) -> bytes:
    """Without dot segments and empty ones. A request is routed by this form too: the signature may cover no more than it."""
    if b"//" not in path and b"/." not in path:
        return path
    kept: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if kept:
                kept.pop()
        elif part and part != b".":
            kept.append(part)
    normal = b"/" + b"/".join(kept)
    return normal + b"/" if path.endswith(b"/") and kept else normal


def canonical_queries(query: bytes) -> tuple[bytes, ...]:
    """Names and values decoded and encoded AWS's way, sorted; then sorted only, which is what some sign."""
    if not query or _PLAIN_QUERY.fullmatch(query) is not None:
        return (query,)
    pairs, raw = [], []
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        raw.append((name, value))
        if pair:
            pairs.append((quote(unquote_to_bytes(name), safe="~"), quote(unquote_to_bytes(value), safe="~")))
    usual = "&".join(f"{name}={value}" for name, value in sorted(pairs)).encode()
    plain = b"&".join(b"%b=%b" % pair for pair in sorted(raw))
    return (usual,) if usual == plain else (usual, plain)


def without_signature(query: bytes) -> bytes:
    """The query of a presigned request as it was when it was signed."""
    return b"&".join(
        pair for pair in query.split(b"&") if unquote_to_bytes(pair.partition(b"=")[0]) != SIGNATURE_PARAMETER and pair
    )
