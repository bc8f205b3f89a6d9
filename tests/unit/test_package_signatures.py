"""Signatures of packages: who signed, and that no byte can change unseen."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from deploy.local.cli import main
from deploy.local.sign import new_key
from shared.domain.errors import ConfigurationError
from shared.domain.package_signatures import MARK, BrokenSignatureError, sign, signature_of, verify
from tests.support import zip_of

PROFILE = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/team/abcdefghij"
ZIP = zip_of({"index.py": "def handler(event, context): return 1", "data": "x" * 3000})


class Key:
    def __init__(self, folder: Path, name: str = "key.pem") -> None:
        self.path = folder / name
        self.public = new_key(self.path)
        self.pem = self.path.read_bytes()


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path)


def signer(package: bytes, key: Key) -> str | None:
    """As the control plane asks."""
    signature = signature_of(package)
    return signature.profile if signature is not None and verify(signature, {PROFILE: key.public}) else None


def test_a_signed_package_is_still_the_same_zip_and_names_its_signer(key: Key) -> None:
    signed = sign(ZIP, PROFILE, key.pem)
    assert signer(signed, key) == PROFILE
    with zipfile.ZipFile(io.BytesIO(signed)) as archive, zipfile.ZipFile(io.BytesIO(ZIP)) as plain:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: plain.read(name) for name in plain.namelist()
        }


def test_a_package_without_a_signature_has_no_signer(key: Key) -> None:
    commented = zip_with_comment(b"built on a Tuesday")
    marked = zip_of({"a": MARK.decode() + "x"})
    for package in (ZIP, commented, marked, b"", MARK, b"x" * 22 + MARK):
        assert signature_of(package) is None


def test_a_change_of_any_byte_breaks_the_signature(key: Key) -> None:
    signed = sign(ZIP, PROFILE, key.pem)
    for position in range(len(signed)):
        changed = bytearray(signed)
        changed[position] ^= 1
        try:
            found = signer(bytes(changed), key)
        except BrokenSignatureError:
            continue
        assert found is None, position


def test_bytes_before_or_behind_a_signed_package_are_not_covered_by_its_signature(key: Key) -> None:
    signed = sign(ZIP, PROFILE, key.pem)
    for package in (b"x" + signed, ZIP + signed, signed + b"\n", signed + ZIP, signed + signed):
        try:
            assert signer(package, key) is None
        except BrokenSignatureError:
            continue


def test_the_signature_of_another_package_or_profile_or_key_is_broken(key: Key, tmp_path: Path) -> None:
    signed = sign(ZIP, PROFILE, key.pem)
    signature = signature_of(signed)
    assert signature is not None
    other_zip = zip_of({"index.py": "evil"})
    moved = other_zip[:-2] + signed[len(ZIP) - 2 :]
    renamed = signed.replace(b"/team/", b"/evil/")
    for package, keys in (
        (moved, {PROFILE: key.public}),
        (renamed, {PROFILE.replace("/team/", "/evil/"): key.public}),
        (signed, {PROFILE: Key(tmp_path, "other.pem").public}),
    ):
        found = signature_of(package)
        assert found is not None
        with pytest.raises(BrokenSignatureError):
            verify(found, keys)
    assert not verify(signature, {})


def test_signing_again_replaces_the_signature(key: Key, tmp_path: Path) -> None:
    other = Key(tmp_path, "other.pem")
    again = sign(sign(ZIP, PROFILE, key.pem), PROFILE, other.pem)
    assert again == sign(ZIP, PROFILE, other.pem)
    assert signer(again, other) == PROFILE


@pytest.mark.parametrize(
    ("package", "profile"),
    [(ZIP, "not an arn"), (ZIP, "arn:with space"), (ZIP, "arn:" + "x" * 3000), (b"no zip", PROFILE), (b"", PROFILE)],
)
def test_what_cannot_be_signed_is_refused(key: Key, package: bytes, profile: str) -> None:
    with pytest.raises(ConfigurationError):
        sign(package, profile, key.pem)


def test_a_zip_with_a_comment_of_its_own_is_not_signed_over(key: Key) -> None:
    with pytest.raises(ConfigurationError):
        sign(zip_with_comment(b"mine"), PROFILE, key.pem)


def test_the_command_makes_a_key_once_that_only_its_owner_reads_and_signs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, path = tmp_path / "code.zip", tmp_path / "key.pem"
    package.write_bytes(ZIP)
    assert main(["sign", str(package), "--key", str(path), "--new-key", "--profile", PROFILE]) == 0
    public = capsys.readouterr().out.splitlines()[0].removeprefix("public key: ")
    assert path.stat().st_mode & 0o777 == 0o600
    signature = signature_of(package.read_bytes())
    assert signature is not None
    assert verify(signature, {PROFILE: public})
    for wrong in (
        ["--new-key", "--key", str(path)],
        ["--key", str(path)],
        [str(package), "--key", str(path)],
        [str(package), "--key", str(tmp_path / "none"), "--profile", PROFILE],
        [str(package), "--key", str(package), "--profile", PROFILE],
    ):
        assert main(["sign", *wrong]) == 2


def zip_with_comment(comment: bytes) -> bytes:
    buffer = io.BytesIO(ZIP)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = comment
    return buffer.getvalue()
