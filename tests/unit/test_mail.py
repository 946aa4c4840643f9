"""Reading what arrived: ordinary mail as it is meant, hostile mail within limits."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.utils import getaddresses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimeportal import limits
from mimeportal.untrusted_html import safe_html
from mimeportal_server import mail
from mimeportal_server.mail import attachment, preview, summarise
from mimeportal_server.mail_headers import addresses, decode_base64, decode_words, read_headers
from mimeportal_server.mbox import split_mbox
from mimeportal_server.mime import read_structure

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))

ORDINARY = (
    b"Return-Path: <Bounce@Lists.Example>\r\n"
    b"Received: from a by b; Mon, 2 Nov 2026 10:00:00 +0100\r\n"
    b"Received: from c by a; Mon, 2 Nov 2026 09:59:59 +0100\r\n"
    b"Authentication-Results: mx.example; dmarc=pass\r\n"
    b"Authentication-Results: other.example; dmarc=fail\r\n"
    b"From: =?utf-8?q?Ren=C3=A9e_=22R=22?= <Renee@B\xc3\xbccher.Example>\r\n"
    b'To: "Doe, John" <john@example.com>, team: a@example.com, b@example.com;\r\n'
    b"Cc: old@example.com (Old (very) Style)\r\n"
    b"Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r\n =?utf-8?b?IPCfmIA=?= and more\r\n"
    b"Date: Mon, 2 Nov 2026 10:00:00 +0100\r\n"
    b"Message-ID: <1@b.example>\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="out er"\r\n'
    b"\r\n"
    b"preamble\r\n"
    b"--out er\r\n"
    b"Content-Type: multipart/related; boundary=rel\r\n\r\n"
    b"--rel\r\n"
    b"Content-Type: multipart/alternative; boundary=alt\r\n\r\n"
    b"--alt\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"caf=C3=A9 =\r\nau lait\r\n"
    b"--alt\r\nContent-Type: text/html; charset=windows-1252\r\n\r\n"
    b"<p>caf\xe9 <img src='cid:logo@x'></p>\r\n"
    b"--alt--\r\n"
    b"--rel\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <logo@x>\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(PNG).replace(b"\n", b"\r\n") + b"--rel--\r\n"
    b"--out er\r\n"
    b"Content-Type: application/pdf\r\n"
    b"Content-Disposition: attachment; filename*=utf-8''%C3%BCber%20uns.PDF\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n"
    b"--out er--\r\nepilogue\r\n"
)


def single(header: bytes, body: bytes = b"body\n") -> bytes:
    return b"From: a@example.com\n" + header + b"\n\n" + body


def multipart(*parts: bytes, boundary: bytes = b"b") -> bytes:
    content = b"".join(b"--" + boundary + b"\n" + part + b"\n" for part in parts)
    return single(b"Content-Type: multipart/mixed; boundary=" + boundary, content + b"--" + boundary + b"--\n")


class TestOrdinaryMail:
    def test_summary(self) -> None:
        summary = summarise(ORDINARY)
        assert summary.suspicious is None
        assert summary.notes == ()
        assert summary.from_address == "renee@xn--bcher-kva.example"
        assert summary.from_name == 'Renée "R"'
        assert summary.from_display == 'Renée "R" <Renee@Bücher.Example>'
        assert summary.subject == "Grüße 😀 and more"
        assert summary.message_id == "<1@b.example>"
        assert summary.to == (("john@example.com", "Doe, John"), ("a@example.com", ""), ("b@example.com", ""))
        assert summary.cc == (("old@example.com", "Old (very) Style"),)
        assert summary.date == datetime(2026, 11, 2, 9, tzinfo=UTC)
        assert summary.return_path == "bounce@lists.example"
        assert summary.recipients_in_headers == (
            "john@example.com",
            "a@example.com",
            "b@example.com",
            "old@example.com",
        )
        assert summary.authentication_results == ("mx.example; dmarc=pass", "other.example; dmarc=fail")
        assert summary.received_count == 2
        assert not summary.auto_submitted
        assert summary.header("MIME-version") == ["1.0"]
        assert summary.header("none") == []

    def test_attachments_and_their_octets(self) -> None:
        summary = summarise(ORDINARY)
        logo, pdf = summary.attachments
        assert (logo.index, logo.filename, logo.content_type, logo.extension) == (
            0,
            "logo.png",
            "image/png",
            "png",
        )
        assert (logo.inline, logo.content_id, logo.size) == (True, "logo@x", len(PNG))
        assert (pdf.index, pdf.filename, pdf.extension, pdf.size) == (1, "über uns.PDF", "pdf", 5)
        assert summary.has_attachments
        assert attachment(ORDINARY, 0) == PNG
        assert attachment(memoryview(ORDINARY), 1) == b"%PDF-"
        for index in (2, -1):
            with pytest.raises(IndexError):
                attachment(ORDINARY, index)

    def test_preview(self) -> None:
        shown = preview(ORDINARY)
        assert shown.headers[0] == ("Return-Path", "<Bounce@Lists.Example>")
        assert ("Subject", "Grüße 😀 and more") in shown.headers
        assert shown.text == "café au lait"
        assert shown.html == "<p>café <img src='cid:logo@x'></p>"
        assert shown.images == {"logo@x": PNG}
        assert "data:image/png" in (safe_html(shown.html, cid_images=shown.images) or "")
        assert [info.sha256 for info in shown.attachments] == [
            hashlib.sha256(PNG).hexdigest(),
            hashlib.sha256(b"%PDF-").hexdigest(),
        ]
        assert shown.notes == ()

    @pytest.mark.parametrize("line_end", [b"\n", b"\r"])
    def test_other_line_ends_say_the_same(self, line_end: bytes) -> None:
        changed = ORDINARY.replace(PNG, b"").replace(b"\r\n", line_end)
        one, other = summarise(ORDINARY), summarise(changed)
        for name in ("from_display", "subject", "to", "cc", "date", "attachments", "notes"):
            assert getattr(one, name) == getattr(other, name)
        assert attachment(changed, 0) == PNG

    def test_only_inline_images_are_no_attachments(self) -> None:
        part = b"Content-Type: image/png\nContent-ID: <a>\n\nx"
        assert not summarise(multipart(b"\ntext", part)).has_attachments
        assert summarise(multipart(b"\ntext", b"Content-Disposition: attachment\n" + part)).has_attachments

    def test_html_only_mail_has_a_text(self) -> None:
        shown = preview(single(b"Content-Type: text/html", b'<p>Hi <a href="https://evil.example">bank</a>'))
        assert shown.text == "Hi bank <https://evil.example/>"

    def test_an_attached_message_is_a_file_and_so_are_its_files(self) -> None:
        inner = multipart(b"\ninner text", b"Content-Type: application/x-dosexec; name=evil.exe\n\nMZ")
        outer = multipart(b"\nouter text", b"Content-Type: message/rfc822\n\n" + inner, boundary=b"outer")
        assert [info.filename for info in summarise(outer).attachments] == ["message.eml", "evil.exe"]
        assert preview(outer).text == "outer text"
        assert attachment(outer, 0) == inner.removesuffix(b"\n") + b"\n"
        assert attachment(outer, 1) == b"MZ"

    @pytest.mark.parametrize(
        ("header", "auto", "is_list"),
        [
            (b"Auto-Submitted: auto-replied; x=y", True, False),
            (b"Auto-Submitted: no", False, False),
            (b"Precedence: bulk", True, False),
            (b"Precedence: list", True, True),
            (b"List-Id: <x.example>", True, True),
            (b"X-Other: y", False, False),
        ],
    )
    def test_mail_made_by_programs(self, header: bytes, auto: bool, is_list: bool) -> None:
        summary = summarise(single(header))
        assert (summary.auto_submitted, summary.is_list) == (auto, is_list)


class TestFrom:
    @pytest.mark.parametrize(
        ("headers", "address"),
        [
            (b"From: a@example.com", "a@example.com"),
            (b"From : a@example.com", "a@example.com"),
            (b"From: A B <A@Example.COM>", "a@example.com"),
            (b"From: Doe, Jane <a@example.com>", "a@example.com"),
            (b"From: b@example.com <a@example.com>", "a@example.com"),
            (b'From: "b@example.com" <a@example.com>', "a@example.com"),
            (b"From: (c) a (d) @ (e) example.com (f)", "a@example.com"),
            (b"From: <@relay.example:a@example.com>", "a@example.com"),
            (b'From: "a b"@example.com', '"a b"@example.com'),
            (b"From: a@example.com\nFrom: b@example.com", None),
            (b"From: a@example.com\nFrom: a@example.com", None),
            (b"From: a@example.com, b@example.com", None),
            (b"From: <a@example.com> <b@example.com>", None),
            (b"From: them: a@example.com, b@example.com;", None),
            (b"From: undisclosed:;", None),
            (b"From: <>", None),
            (b"From: root", None),
            (b"From:", None),
            (b'From: "a@example.com"', None),
            (b"From: =?utf-8?q?a=40example=2Ecom?=", None),
            (b"From: =?utf-8?q?x=3Cb=40example=2Ecom=3E=2C?= <a@example.com>", "a@example.com"),
            (b"From: (((( a@example.com", None),
            (b"X-From: a@example.com", None),
        ],
    )
    def test_exactly_one_or_none(self, headers: bytes, address: str | None) -> None:
        assert summarise(headers + b"\nSubject: x\n\nbody").from_address == address

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(b"<>", ""), (b"<a@B.example>", "a@b.example"), (b"x", None), (b"a@b.c, d@e.f", None)],
    )
    def test_return_path(self, value: bytes, expected: str | None) -> None:
        assert summarise(b"Return-Path: " + value + b"\n\n").return_path == expected

    def test_two_return_paths_are_none(self) -> None:
        assert summarise(b"Return-Path: <a@b.c>\nReturn-Path: <a@b.c>\n\n").return_path is None

    def test_delivered_to_goes_before_to(self) -> None:
        octets = b"Delivered-To: X@example.com\nDelivered-To: x@example.com\nTo: y@example.com\n\n"
        assert summarise(octets).recipients_in_headers == ("x@example.com",)

    @pytest.mark.parametrize(
        "unit",
        [
            "(",
            "((((\\",
            "<",
            "<@",
            "<,",
            ",",
            ";",
            ":",
            "a:",
            '"',
            '"\\',
            "<a@b>",
            "(\\",
            "a@b,",
            "=?a?q?",
            "=?",
            "@",
        ],
    )
    def test_no_address_header_hangs(self, unit: str) -> None:
        value = (unit * limits.HEADER)[: limits.HEADER]
        started = time.monotonic()
        addresses(value)
        summarise((b"To: " + value.encode() + b"\n") * 8 + b"\n")
        assert time.monotonic() - started < 10

    @pytest.mark.parametrize("value", ["a@one.example b@two.example", "Eve <a@one.example b @ two.example>"])
    def test_never_one_address_of_two(self, value: str) -> None:
        assert summarise(f"From: {value}\n\n".encode()).from_address is None
        assert next(address for address, _ in addresses(value)) == "a@one.example"

    @given(st.text('ab@.,;:<>()"\\ =?', max_size=60))
    def test_whatever_comes_each_address_was_written(self, value: str) -> None:
        for address, _ in addresses(value):
            assert len(address) <= len(value)
            assert set(address) <= set(value)


class TestEncodedWords:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("plain", "plain"),
            ("a =?utf-8?q?b_c?= d", "a b c d"),
            ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
            ("=?utf-8?b?w6k=?=x", "éx"),
            ("=?utf-8?b?w6?=", "\ufffd"),
            ("=?utf-8?q?=C3?=\t=?utf-8?q?=A9?=", "é"),
            ("=?utf-8?q?=C3?= =?iso-8859-1?q?=E9?=", "\ufffdé"),
            ("=?utf-8?q?really??=", "really?"),
            ("=?utf-8?q?=41?=", "A"),
            ("=?utf-8*en?q?x?=", "x"),
            ("=?x-nonsense?q?=E9?=", "é"),
            ("=?us-ascii?q?=93x=94?=", "“x”"),
            ("=?utf-8?q?=00=0D=0ABcc:?=", "\x00\r\nBcc:"),
            ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
            ("=?utf-8?q?abc", "=?utf-8?q?abc"),
            ("=?utf-8?q?é?= y", "=?utf-8?q?é?= y"),
            ("=?", "=?"),
            ("=?=?utf-8?q?x?=", "=?x"),
        ],
    )
    def test_examples(self, text: str, expected: str) -> None:
        assert decode_words(text) == expected

    def test_twenty_thousand_words(self) -> None:
        started = time.monotonic()
        summary = summarise(b"From: a@example.com\nSubject:" + b"\n =?utf-8?q?ab?=" * 20_000 + b"\n\nbody")
        assert time.monotonic() - started < 10
        assert summary.subject.startswith("abab")
        assert len(summary.subject) < limits.HEADER
        assert any("Subject was cut" in note for note in summary.notes)

    @given(st.text("=?utf-8qQbB_ \tAé", max_size=80))
    def test_whatever_comes_nothing_raises(self, text: str) -> None:
        decode_words(text)


class TestBase64:
    @pytest.mark.parametrize(
        ("octets", "expected"),
        [
            (b"QUJD", b"ABC"),
            (b"QUI=", b"AB"),
            (b"QUI", b"AB"),
            (b"QQ", b"A"),
            (b"QUJDQ", b"ABC"),
            (b"Q", b""),
            (b"===", b""),
            (b"Q!U\r\n\xffJD", b"ABC"),
        ],
    )
    def test_what_is_none_is_left_out(self, octets: bytes, expected: bytes) -> None:
        assert decode_base64(octets) == expected

    @given(st.lists(st.sampled_from([b"Q", b"UJ", b"=", b"==", b"-", b"\n"])).map(b"".join))
    def test_whatever_comes_nothing_raises(self, octets: bytes) -> None:
        assert len(decode_base64(octets)) <= len(octets) * 3 // 4


class TestCharsets:
    @pytest.mark.parametrize(
        ("charset", "octets", "expected"),
        [
            ("utf-8", "é".encode(), "é"),
            ("UTF8", "é".encode(), "é"),
            ("", "é".encode(), "é"),
            ("us-ascii", b"\xe9", "é"),
            ("iso-8859-1", b"\x93\xe9\x94", "“é”"),
            ("gb2312", "朝鎔".encode("gb18030"), "朝鎔"),
            ("iso-2022-jp", "日本".encode("iso-2022-jp"), "日本"),
            ("koi8-u", "Україна".encode("koi8-u"), "Україна"),
            ("ANSI_X3.4-1968", b"caf\xc3\xa9", "café"),
            ("x-unknown", b"caf\xe9", "café"),
            ("punycode", b"caf\xe9", "café"),
            ("unicode_escape", rb"\x41\d", r"\x41\d"),
            ("zlib", b"abc", "abc"),
            ("rot13", b"abc", "abc"),
            ("../../x", b"abc", "abc"),
            ("\x00", b"abc", "abc"),
            ("x" * 7000, b"abc", "abc"),
        ],
    )
    def test_text_is_readable_whatever_is_declared(self, charset: str, octets: bytes, expected: str) -> None:
        content_type = f'Content-Type: text/plain; charset="{charset}"'.encode()
        assert preview(single(content_type, octets)).text == expected

    def test_8_bit_headers(self) -> None:
        assert summarise("Subject: Grüße\n\n".encode()).subject == "Grüße"
        assert summarise("Subject: Grüße\n\n".encode("latin-1")).subject == "Grüße"

    def test_a_limit_does_not_spoil_a_character(self) -> None:
        subject = summarise(b"Subject: " + "é".encode() * limits.HEADER + b"\n\n").subject
        assert set(subject) == {"é"}

    def test_nul_and_surrogates_are_replaced_everywhere(self) -> None:
        octets = (
            b"From: a\0b <a\0@b.c>\nSubject: a\0=?utf-8?q?=00?==?utf-16?b?ANg=?=\nX-A: \0\n"
            b"Content-Type: application/x\0; name*=utf-8''%00x\n\n\0body"
        )
        summary, shown = summarise(octets), preview(octets)
        everything = f"{summary}{summary.header('x-a')}{shown.headers}{shown.text}{shown.attachments}"
        assert "\0" not in everything
        assert r"\x00" not in everything
        everything.encode()


class TestNames:
    @pytest.mark.parametrize(
        ("headers", "name", "extension"),
        [
            (b"Content-Disposition: attachment; filename=a.txt", "a.txt", "txt"),
            (b'Content-Disposition: attachment; filename="a;b\\"c.txt"', 'a;b"c.txt', "txt"),
            (b"Content-Disposition: attachment; filename==?utf-8?q?=C3=A9=2Eexe?=", "é.exe", "exe"),
            (b"Content-Disposition: attachment; filename*=iso-8859-1'de'%FC.txt", "ü.txt", "txt"),
            (b"Content-Disposition: attachment; filename*=x-bad'de'%FC.txt", "ü.txt", "txt"),
            (b"Content-Disposition: attachment; filename*=%FC.txt", "ü.txt", "txt"),
            (b"Content-Disposition: attachment; filename*='''", "'", ""),
            (
                b"Content-Disposition: attachment; filename*1*=%A9.e; filename*0*=utf-8''%C3; filename*2=xe",
                "é.exe",
                "exe",
            ),
            (b"Content-Disposition: attachment;\n\tfilename = a.EXE ;x=y", "a.EXE", "exe"),
            (b"Content-Type: application/x; name=b.zip", "b.zip", "zip"),
            (b"Content-Disposition: attachment; filename=a.exe. .", "a.exe. .", "exe"),
            ("Content-Disposition: attachment; filename=a.exe\u200b".encode(), "a.exe\u200b", "exe"),
            (b"Content-Disposition: attachment", "", ""),
            (b"Content-Disposition: attachment; filename=noext", "noext", ""),
        ],
    )
    def test_file_names(self, headers: bytes, name: str, extension: str) -> None:
        (info,) = summarise(multipart(headers + b"\n\nx")).attachments
        assert (info.filename, info.extension) == (name, extension)

    def test_a_message_that_is_one_file(self) -> None:
        octets = single(b"Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64", b"JVBERi0=")
        assert summarise(octets).has_attachments
        assert attachment(octets, 0) == b"%PDF-"
        assert preview(octets).text == ""

    def test_a_message_that_is_text_with_a_name_is_shown(self) -> None:
        octets = single(b"Content-Type: text/plain; name=a.txt")
        assert not summarise(octets).has_attachments
        assert preview(octets).text == "body\n"

    @pytest.mark.parametrize(
        ("encoding", "content", "decoded"),
        [
            (b"base64", b"QUJD", b"ABC"),
            (b"BASE64 ", b"Q U\nJ*D", b"ABC"),
            (b"base64", b"QUJDR", b"ABC"),
            (b"base64", b"QUJDRA", b"ABCD"),
            (b"base64", b"QQ==\nfooter of a list", b"A"),
            (b"base64", b"\xff\x00", b""),
            (b"quoted-printable", b"a=3D=\nb=zz=", b"a=b=zz"),
            (b"x-uuencode", b"begin 644 x", b"begin 644 x"),
            (b"", b"=41", b"=41"),
        ],
    )
    def test_transfer_encodings(self, encoding: bytes, content: bytes, decoded: bytes) -> None:
        header = b"Content-Type: a/b\nContent-Transfer-Encoding: " + encoding
        assert attachment(multipart(header + b"\n\n" + content), 0) == decoded

    @given(st.binary(max_size=300))
    def test_the_size_is_known_without_decoding(self, content: bytes) -> None:
        header = b"Content-Type: a/b\nContent-Transfer-Encoding: base64\n\n"
        octets = multipart(header + base64.encodebytes(content))
        assert summarise(octets).attachments[0].size == len(content)
        assert attachment(octets, 0) == content


class TestHostileMail:
    @pytest.mark.parametrize(
        ("octets", "text"),
        [
            (b"", ""),
            (b"\n", ""),
            (b"\0" * 1000, "\ufffd" * 1000),
            (b"no headers at all\n", "no headers at all\n"),
            (b"\nbody: only\n", "body: only\n"),
            (b"Subject: x\nno header\nTo: a@b.c\n\nbody", "no header\nTo: a@b.c\n\nbody"),
            (b"Subject: x", ""),
            (b" folded first\nSubject: x\n\nbody", "body"),
            (b"From me Mon Nov  2 10:00:00 2026\nSubject: x\n\nbody", "body"),
            (b"Subject: x\n \n\nbody", "body"),
        ],
    )
    def test_odd_headers(self, octets: bytes, text: str) -> None:
        summary = summarise(octets)
        assert summary.suspicious is None
        assert summary.subject == ("x" if b"Subject" in octets else "")
        assert preview(octets).text == text

    def test_long_headers_are_read_in_part_and_suspicious(self) -> None:
        octets = b"Subject: x\n" + b"A: b\n" * limits.HEADERS + b"From: a@b.c\n\nbody"
        summary = summarise(octets)
        assert summary.suspicious is not None
        assert "headers" in summary.suspicious
        assert summary.subject == "x"
        assert summary.from_address is None
        assert preview(octets).text == "body"

    def test_as_many_headers_as_allowed_are_fine(self) -> None:
        octets = b"A: b\n" * (limits.HEADERS // 5)
        octets += b"B:" + b"c" * (limits.HEADERS - len(octets) - 3) + b"\n"
        assert len(octets) == limits.HEADERS
        assert summarise(octets + b"\nbody").suspicious is None
        assert summarise(octets + b"D: e\n\nbody").suspicious is not None

    @pytest.mark.parametrize("parts", [limits.PARTS_TRUSTED, limits.PARTS_TRUSTED + 1])
    def test_many_parts_are_suspicious(self, parts: int) -> None:
        summary = summarise(multipart(*[b"Content-Type: a/b\n\nx"] * parts))
        assert (summary.suspicious is None) == (parts <= limits.PARTS_TRUSTED)
        assert len(summary.attachments) == parts

    def test_a_hundred_thousand_parts(self) -> None:
        started = time.monotonic()
        octets = multipart(*[b"Content-Type: a/b\n\nx"] * 100_000)
        summary, shown = summarise(octets), preview(octets)
        assert time.monotonic() - started < 10
        assert len(summary.attachments) == len(shown.attachments) == limits.PARTS_LISTED
        assert summary.suspicious is not None
        assert any(str(limits.PARTS_LISTED) in note for note in summary.notes)

    @pytest.mark.parametrize("depth", [limits.MIME_DEPTH, limits.MIME_DEPTH + 1, 5000])
    @pytest.mark.parametrize("kind", ["multipart", "message"])
    def test_deep_parts(self, depth: int, kind: str) -> None:
        started = time.monotonic()
        if kind == "message":
            octets = single(b"\n".join([b"Content-Type: message/rfc822\n"] * depth))
        else:
            octets = single(
                b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
            )
        summary = summarise(octets)
        preview(octets)
        assert time.monotonic() - started < 10
        assert (summary.suspicious is None) == (depth <= limits.MIME_DEPTH)

    def test_parameters_without_end(self) -> None:
        started = time.monotonic()
        for unit in (b";", b'; a="', b";a=b", b';a="\\', b"; ", b";name*0=x"):
            header = (unit * limits.HEADER)[: limits.HEADER - 50]
            part = b"Content-Type: a/b" + header + b"\nContent-Disposition: attachment" + header + b"\n\nx"
            summarise(multipart(*[part] * 50))
        assert time.monotonic() - started < 10

    @pytest.mark.parametrize(
        "header",
        [
            b"From: " + b"a" * limits.HEADER + b" <a@example.com>, b@example.com",
            b"Content-Disposition: attachment; x=" + b"y" * limits.HEADER + b"; filename=evil.exe",
            b"Content-Disposition: attachment" + b"; x=y" * 100 + b"; filename=evil.exe",
            b"Content-Type: multipart/mixed; boundary=b\n\n--b\nX: " + b"y" * 4 * limits.HEADER + b"\n\n",
        ],
    )
    def test_what_may_hide_something_is_suspicious(self, header: bytes) -> None:
        assert summarise(header + b"\n\nbody").suspicious is not None

    def test_a_long_subject_or_list_of_recipients_is_not(self) -> None:
        assert summarise(single(b"Content-Type: text/plain" + b";" * 1000)).suspicious is None
        octets = b"Subject: " + b"s" * (limits.HEADER + 1) + b"\nTo: " + b"a@example.com, " * 1000 + b"\n\nbody"
        summary = summarise(octets)
        assert summary.suspicious is None
        assert len(summary.notes) == 2

    def test_lines_that_only_start_like_a_delimiter(self) -> None:
        assert summarise(multipart(b"\nx\n--bc\n --b\ny--b\n--b-\n")).notes == ()
        assert summarise(multipart(b"\n" + b"--bc\n" * 100_000)).suspicious is not None

    def test_delimiters_as_they_come(self) -> None:
        for octets in (
            single(b"Content-Type: multipart/mixed; boundary=b", b"--b  \n\none\n--b\t\n\ntwo\n--b-- \nnot this"),
            single(b"Content-Type: multipart/mixed; boundary=b", b"--b\n\none\n--b\n\ntwo"),
            single(
                b'Content-Type: multipart/mixed; boundary="b"; x',
                b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--",
            ),
        ):
            assert preview(octets).text == "one\ntwo"

    def test_a_multipart_without_delimiters_is_text(self) -> None:
        for header in (b"Content-Type: multipart/mixed", b"Content-Type: multipart/mixed; boundary=b"):
            octets = single(header)
            assert preview(octets).text == "body\n"
            assert len(summarise(octets).notes) == 1

    def test_sixty_megabytes(self) -> None:
        started = time.monotonic()
        octets = multipart(b"Content-Type: a/b; name=x.bin\n\n" + b"0123456789abcde\n" * (60 * 65536))
        assert summarise(octets).attachments[0].size == 60 * limits.MIB
        assert preview(octets).attachments[0].size == 60 * limits.MIB
        assert time.monotonic() - started < 10

    def test_long_text_is_cut_and_said(self) -> None:
        shown = preview(single(b"X: y", b"a" * (limits.TEXT_SHOWN + 1)))
        assert len(shown.text) == limits.TEXT_SHOWN
        assert any("cut" in note for note in shown.notes)

    def test_long_html_gives_its_text(self) -> None:
        shown = preview(single(b"Content-Type: text/html", b"<b>x</b>" + b"a" * limits.HTML))
        assert shown.html is None
        assert shown.text.startswith("xaaa")
        assert any("HTML" in note for note in shown.notes)

    def test_fifty_thousand_tags(self) -> None:
        started = time.monotonic()
        shown = preview(single(b"Content-Type: text/html", b"<div>" * 50_000 + b"deep"))
        assert shown.html is not None
        assert safe_html(shown.html) is None
        assert shown.text == "deep"
        assert time.monotonic() - started < 10

    @pytest.mark.parametrize(
        "date",
        [b"", b"nonsense", b"9" * 8000, b"Mon, 2 Nov 99999 10:00:00 +0100", b"Mon, 2 Nov 1 0:0:0 +9900"],
    )
    def test_dates_that_are_none(self, date: bytes) -> None:
        assert summarise(b"Date: " + date + b"\n\n").date is None

    def test_a_date_without_zone_is_utc(self) -> None:
        assert summarise(b"Date: 2 Nov 2026 10:00:00\n\n").date == datetime(2026, 11, 2, 10, tzinfo=UTC)

    def test_a_fault_of_ours_holds_the_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> Any:
            raise RecursionError

        monkeypatch.setattr(mail, "read_structure", fail)
        assert summarise(ORDINARY).suspicious == "the message could not be parsed (RecursionError)"
        assert preview(ORDINARY).notes == ("the message could not be parsed (RecursionError)",)

    @given(
        st.lists(
            st.sampled_from(
                [
                    *re.split(rb"(\r\n|: |; |--)", ORDINARY),
                    b"\0",
                    b"\r",
                    b"\n",
                    b"\n\n",
                    b"\xff",
                    b"--alt\n",
                    b'"',
                ]
            ),
            max_size=60,
        ).map(b"".join)
    )
    def test_whatever_comes_nothing_is_taken_for_a_fault(self, octets: bytes) -> None:
        summary, shown = summarise(octets), preview(octets)
        assert summary.suspicious is None
        assert not any("could not be parsed" in note for note in shown.notes)
        for info in shown.attachments:
            assert hashlib.sha256(attachment(octets, info.index)).hexdigest() == info.sha256


class TestMbox:
    FIRST = b"From a@example.com Mon Nov  2 10:00:00 2026\n"

    def split(self, folder: Path, octets: bytes) -> list[tuple[int, bytes | None]]:
        path = folder / "box"
        path.write_bytes(octets)
        return list(split_mbox(path))

    @pytest.mark.parametrize(
        "separator",
        [
            b"From a@b Mon Nov  2 10:00:00 2026",
            b"From - Mon Nov  2 10:00:00 2026",
            b"From Mon Nov  2 10:00 2026",
            b"From a@b Mon Nov 02 10:00:00 CET 2026",
            b"From 12@xxx Mon Nov 02 10:00:00 +0000 2026\r",
            b"From a@b  Mon, 2 Nov 2026 10:00:00 +0100",
        ],
    )
    def test_separators(self, tmp_path: Path, separator: bytes) -> None:
        octets = separator + b"\nA: b\n\nbody\n\n" + separator + b"\nC: d\n\nend\n\n"
        second = octets.index(separator, 1)
        assert self.split(tmp_path, octets) == [(0, b"A: b\n\nbody\n"), (second, b"C: d\n\nend\n")]

    def test_from_in_a_body_separates_nothing(self, tmp_path: Path) -> None:
        body = (
            b"A: b\n\nFrom the start of a paragraph\n\nFrom here on: no date\n"
            b"text\n" + self.FIRST + b">" + self.FIRST + b"\n>" + self.FIRST
        )
        assert self.split(tmp_path, self.FIRST + body + b"\n") == [(0, body)]

    def test_octets_are_those_of_the_file(self, tmp_path: Path) -> None:
        one, two = b"A: b\r\n\r\nx\r\n\r\n\r\n", b"\x00\xff no line end"
        assert self.split(tmp_path, self.FIRST + one + b"\r\n" + self.FIRST + two) == [
            (0, one),
            (len(self.FIRST + one) + 2, two),
        ]

    def test_what_is_before_the_first_separator(self, tmp_path: Path) -> None:
        assert self.split(tmp_path, b"") == []
        assert self.split(tmp_path, b"\n\n" + self.FIRST + b"A: b\n") == [(2, b"A: b\n")]
        assert self.split(tmp_path, b"A: b\n\nbody") == [(0, b"A: b\n\nbody")]
        assert self.split(tmp_path, self.FIRST + self.FIRST) == [(0, self.FIRST)]
        assert self.split(tmp_path, self.FIRST + b"\n" + self.FIRST) == [(0, b""), (len(self.FIRST) + 1, b"")]

    def test_a_message_that_is_too_large_is_named_and_the_next_one_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MESSAGE", 1000)
        exact, more = b"x" * 999 + b"\n", b"x" * 1000 + b"\n"
        octets = self.FIRST + more + b"\n" + self.FIRST + exact + b"\n" + self.FIRST + b"y" * 500_000
        found = self.split(tmp_path, octets)
        assert [content for _, content in found] == [None, exact, None]

    @given(st.lists(st.sampled_from([b"A: b\n", b"\n", b"\r\n", b">From x\n", b"text\n", b"From x\n"]), max_size=8))
    def test_whatever_is_put_in_comes_out(self, tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
        message = b"".join(lines)
        octets = (self.FIRST + message + b"\n") * 3
        found = self.split(tmp_path_factory.mktemp("mbox"), octets)
        assert [content for _, content in found] == [message] * 3
        assert all(octets[offset:].startswith(self.FIRST) for offset, _ in found)


@pytest.fixture(scope="module")
def messages(corpus: Path) -> list[tuple[str, bytes, Message]]:
    paths = sorted(corpus.glob("*-1/*.eml"))
    assert paths
    return [(path.name, octets := path.read_bytes(), message_from_bytes(octets)) for path in paths]


@pytest.mark.corpus
class TestRealMail:
    """Of real mail we make what `email` with compat32 makes of it."""

    def test_header_names(self, messages: list[tuple[str, bytes, Message]]) -> None:
        for name, octets, message in messages:
            assert [field for field, _ in summarise(octets).headers.fields] == message.keys(), name

    def test_addresses(self, messages: list[tuple[str, bytes, Message]]) -> None:
        differing = []
        for name, octets, message in messages:
            if not octets.partition(b"\n\n")[0].isascii():
                continue
            summary = summarise(octets)
            theirs = getaddresses([str(value) for value in message.get_all("From", [])])
            if [address for address, _ in summary.header_from] != [address for _, address in theirs]:
                differing.append(name)
        assert not differing

    def test_structure_and_content(self, messages: list[tuple[str, bytes, Message]]) -> None:
        differing = []
        for name, octets, message in messages:
            leaves = read_structure(octets, read_headers(octets)).leaves
            ours = [(part.content_type, part.decoded(octets)) for part in leaves]
            theirs = [
                (part.get_content_type(), part.get_payload(decode=True))
                for part in message.walk()
                if not part.is_multipart()
            ]
            if ours != theirs:
                differing.append(name)
        # Faulty base64, which `email` leaves encoded; attached messages; one multipart without delimiters.
        assert len(differing) <= len(messages) // 100, differing

    def test_nothing_is_suspicious_and_all_can_be_shown(self, messages: list[tuple[str, bytes, Message]]) -> None:
        for name, octets, _ in messages:
            assert summarise(octets).suspicious is None, name
            shown = preview(octets)
            if shown.html is not None:
                assert safe_html(shown.html, cid_images=shown.images) is not None, name


class TestDeliveryReports:
    """What is read out of a report of a bounce: little, quickly, and never an error."""

    HEAD = b'Content-Type: multipart/report; report-type="Delivery-Status"; boundary=b\n\n'

    def report(self, groups: bytes) -> bytes:
        part = b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\n"
        return self.HEAD + part + groups + b"\n--b--\n"

    def test_groups_are_recipients(self) -> None:
        groups = b"Final-Recipient: rfc822;A@X.Example\nAction: Failed\nStatus: 5.0.0\n\n\n"
        groups += b"Original-Recipient: rfc822; <b@x.example>\nAction: delayed\nDiagnostic-Code: smtp; 4xx\n wait\n"
        first, second = mail.delivery_reports(self.report(groups))
        assert (first.recipients, first.action, first.status) == (("a@x.example",), "failed", "5.0.0")
        assert (second.recipients, second.action, second.diagnostic) == (("b@x.example",), "delayed", "4xx wait")

    def test_a_transfer_encoding_is_taken_off(self) -> None:
        groups = base64.b64encode(b"Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822;a@x.example\nAction: failed\n")
        encoded = b"--b\nContent-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n" + groups
        (found,) = mail.delivery_reports(self.HEAD + encoded + b"\n--b--\n")
        assert found.recipients == ("a@x.example",)

    def test_many_groups_are_read_up_to_a_limit(self) -> None:
        groups = b"Final-Recipient: rfc822;a@x.example\nAction: failed\n\n" * 5_000
        assert len(mail.delivery_reports(self.report(groups))) == limits.SMTP_RECIPIENTS

    @pytest.mark.parametrize(
        "octets",
        [b"", b"\0" * 1_000, HEAD, HEAD + b"--b\n" * 1_000, b"Content-Type: multipart/report\n\n", b"\xff\xfe" * 100],
    )
    def test_what_is_none_reports_nothing(self, octets: bytes) -> None:
        assert mail.delivery_reports(octets) == ()

    @pytest.mark.parametrize(
        "groups", [b"\n" * 100_000, b":" * 100_000, b"Final-Recipient: " + b"a@" * 50_000, b"\r" * 99]
    )
    def test_hostile_groups_are_read_at_once(self, groups: bytes) -> None:
        assert {report.action for report in mail.delivery_reports(self.report(groups))} <= {""}
