"""The structure of a message: its parts, found without decoding any, within limits of depth and number."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mimeportal import limits
from mimeportal.untrusted import clean
from mimeportal_server.mail_headers import PARAMETERS, Headers, decode_base64, parameter, parameters, read_headers

_PART_HEADERS = 4 * limits.HEADER
_FALSE_DELIMITERS = 10_000
_DELIMITER_TAIL = re.compile(rb"(--)?+[ \t]*+(?>\r\n|\r|\n|\Z)")
_REPORT_TYPES = {"message/delivery-status", "message/disposition-notification", "message/feedback-report"}


@dataclass(slots=True)
class Part:
    """One part without parts of its own; its content is `octets[start:end]`."""

    content_type: str
    charset: str
    encoding: str
    filename: str
    content_id: str
    start: int
    end: int
    is_attachment: bool
    inline: bool
    embedded: bool  # inside an attached message

    def decoded(self, octets: bytes, most: int | None = None) -> bytes:
        """The content without its transfer encoding; only about the first `most` octets are decoded."""
        # No encoding makes more than three octets (and a line end) of one.
        stop = self.end if most is None else min(self.end, self.start + 4 * most)
        content = octets[self.start : stop]
        if self.encoding == "base64":
            return decode_base64(content)
        if self.encoding == "quoted-printable":
            return binascii.a2b_qp(content)
        return content

    def size(self, octets: bytes) -> int:
        """How long `decoded` will be, reckoned without decoding: exact where the encoding is flawless."""
        length = self.end - self.start
        if self.encoding == "base64":
            tail = octets[max(self.start, self.end - 8) : self.end]
            line_ends = octets.count(b"\n", self.start, self.end) + octets.count(b"\r", self.start, self.end)
            return max(0, length - line_ends - tail.count(b"=")) * 3 // 4
        if self.encoding == "quoted-printable":
            equals = octets.count(b"=", self.start, self.end)
            return max(0, length - 2 * equals - octets.count(b"=\r\n", self.start, self.end))
        return length


def read_structure(octets: bytes, headers: Headers) -> Structure:
    """The parts of the message that has these headers."""
    structure = Structure(octets)
    structure.walk(headers, len(octets))
    return structure


class Structure:
    """The parts of one message.

    leaves      those without parts of their own, in their order
    notes       what was not read
    suspicious  why the message is held as Suspicious Message Structure (promises F.1), else None
    """

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.leaves: list[Part] = []
        self.notes: list[str] = []
        self.suspicious: str | None = None
        self.parts = 0
        self.false_delimiters = 0

    @property
    def files(self) -> list[Part]:
        """The attachments, by their index."""
        return [part for part in self.leaves if part.is_attachment]

    def walk(self, headers: Headers, end: int, *, depth: int = 0, parent: str = "", embedded: bool = False) -> None:
        default = "message/rfc822" if parent == "multipart/digest" else "text/plain"
        content_type, found = self._parameters(headers, "content-type")
        if content_type.count("/") != 1:
            content_type = default
        start = min(headers.body, end)
        if content_type.startswith("multipart/"):
            if depth >= limits.MIME_DEPTH:
                self._suspect(f"parts are nested deeper than {limits.MIME_DEPTH} levels")
                return
            if self._walk_multipart(content_type, found, start, end, depth, embedded):
                return
            content_type = "text/plain"
        part = self._leaf(content_type, found, headers, start, end, parent, embedded)
        self.leaves.append(part)
        if content_type == "message/rfc822" and part.encoding not in ("base64", "quoted-printable"):
            if depth >= limits.MIME_DEPTH:
                self._suspect(f"parts are nested deeper than {limits.MIME_DEPTH} levels")
            elif self._count():
                inner = self._headers_of_part(start, end)
                self.walk(inner, end, depth=depth + 1, embedded=True)

    def _leaf(
        self,
        content_type: str,
        found: dict[str, str],
        headers: Headers,
        start: int,
        end: int,
        parent: str,
        embedded: bool,
    ) -> Part:
        disposition, more = self._parameters(headers, "content-disposition")
        filename = (parameter(more, "filename") or parameter(found, "name")).strip()
        content_id = clean(headers.first("content-id").strip("<> \t"))
        return Part(
            content_type=clean(content_type),
            charset=found.get("charset", ""),
            encoding=parameters(headers.first("content-transfer-encoding"))[0],
            filename=filename or ("message.eml" if content_type == "message/rfc822" else ""),
            content_id=content_id,
            start=start,
            end=end,
            is_attachment=_is_attachment(content_type, disposition, filename, parent),
            inline=content_type.startswith("image/") and bool(content_id) and disposition != "attachment",
            embedded=embedded,
        )

    def _walk_multipart(
        self, content_type: str, found: dict[str, str], start: int, end: int, depth: int, embedded: bool
    ) -> bool:
        """Walk the parts between the delimiters; False when there are none, and it is text after all."""
        boundary = parameter(found, "boundary").rstrip()
        if not boundary:
            self.notes.append("a multipart names no boundary")
            return False
        any_part = False
        for part_start, part_end in self._delimited(boundary.encode("utf-8", "replace"), start, end):
            any_part = True
            if not self._count():
                break
            inner = self._headers_of_part(part_start, part_end)
            self.walk(inner, part_end, depth=depth + 1, parent=content_type, embedded=embedded)
        if not any_part:
            self.notes.append("the boundary of a multipart does not occur")
        return any_part

    def _delimited(self, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        octets, needle = self.octets, b"--" + boundary
        part_start = -1
        position = start
        while (found := octets.find(needle, position, end)) >= 0:
            position = found + len(needle)
            at_line = found == start or octets[found - 1] in b"\r\n"
            tail = _DELIMITER_TAIL.match(octets, position, end) if at_line else None
            if tail is None:
                self.false_delimiters += 1
                if self.false_delimiters > _FALSE_DELIMITERS:
                    self._suspect("the boundary of a multipart occurs too often in other lines")
                    break
                continue
            if part_start >= 0:
                yield part_start, max(part_start, found - self._line_end_before(found))
            part_start = -1 if tail[1] else tail.end()
            position = tail.end()
            if tail[1]:
                return
        if part_start >= 0:
            yield part_start, end

    def _line_end_before(self, position: int) -> int:
        return 2 if self.octets[max(0, position - 2) : position] == b"\r\n" else 1

    def _headers_of_part(self, start: int, end: int) -> Headers:
        headers = read_headers(self.octets, start, end, most=_PART_HEADERS)
        self.notes += headers.notes
        self.suspicious = self.suspicious or headers.suspicious
        return headers

    def _parameters(self, headers: Headers, name: str) -> tuple[str, dict[str, str]]:
        """The parameters of a header; more than are read could hide a file name from hold rules."""
        value = headers.first(name)
        if min(value.count(";"), value.count("=")) > PARAMETERS:
            self._suspect(f"the header {name} has more than {PARAMETERS} parameters")
        return parameters(value)

    def _count(self) -> bool:
        """Count one more part; False when no more are listed."""
        self.parts += 1
        if self.parts > limits.PARTS_TRUSTED:
            self.suspicious = self.suspicious or f"the message has more than {limits.PARTS_TRUSTED} parts"
        if self.parts == limits.PARTS_LISTED + 1:
            self.notes.append(f"only the first {limits.PARTS_LISTED} parts are listed")
        return self.parts <= limits.PARTS_LISTED

    def _suspect(self, reason: str) -> None:
        if reason not in self.notes:
            self.notes.append(reason)
        self.suspicious = self.suspicious or reason


def _is_attachment(content_type: str, disposition: str, filename: str, parent: str) -> bool:
    """Whether a part is a file: what no mail program shows as the text of the message."""
    if disposition == "attachment":
        return True
    alternative = content_type.startswith("text/") and parent in ("", "multipart/alternative")
    if alternative or content_type in ("text/plain", "text/html"):
        return bool(filename and parent)  # a message that is nothing but text is shown, whatever its name
    return bool(filename) or content_type not in _REPORT_TYPES
